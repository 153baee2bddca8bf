import ABNFormats
import ABNGraph
import ABNModelFiles
import ABNRuntime
import ABNTensors
import Foundation

/// Where a run stands beside its tensors: with both it goes on bit for bit.
///
/// Weights, order and augmentation are functions of the seed, the epoch and the sample, and all
/// other random state (dropout's counters) is among the program's persistables, so that there is no
/// generator to save.
package struct TrainingState: Codable, Sendable, Equatable {
  /// The best evaluation so far.
  package struct Best: Codable, Sendable, Equatable {
    /// The epoch after which it was, from 0.
    package var epoch: Int
    package var evaluation: Evaluation
  }

  /// The epoch that runs, from 0.
  package var epoch = 0
  /// Steps done in it; where these are all, its evaluation is still to come.
  package var step = 0
  /// Steps done in all epochs.
  package var stepsDone = 0
  /// Sums over the steps of this epoch.
  package var lossSum = 0.0
  package var accuracySum = 0.0
  /// Whole epochs done, evaluation included.
  package var epochsDone = 0
  /// The evaluation of the last whole epoch.
  package var evaluation: Evaluation?
  package var best: Best?
  /// Seconds that the run has taken in all processes.
  package var seconds = 0.0
  /// Where they went; nil of a run that an older version began.
  package var times: RunTimes? = RunTimes()
}

/// A run on disk: all persistables of its training program (parameters, statistics, the state of
/// optimizers, schedules, averages and dropout) and its `TrainingState`, in one safetensors file
/// with a checksum.
package struct Checkpoint {
  package var state: TrainingState
  /// The settings of the run, by their names on the command line.
  package var settings: [String: String]

  static let format = FileFormat(kind: "checkpoint", major: 1)
  private static let stateKey = "abn.state"
  private static let settingsKey = "abn.settings"

  package init(state: TrainingState, settings: [String: String]) {
    self.state = state
    self.settings = settings
  }

  /// Writes the file: to a temporary name, synced, renamed; the folder is synced last.
  ///
  /// The tensors are copied one at a time.
  ///
  /// - Throws: `ABNError(.file)` where it cannot be written, and then an older file is as it was;
  ///   `ABNError(.data)` with the name of a parameter or statistic that is not finite: what is on
  ///   disk is better.
  package func write(_ program: Program, _ scope: Scope, to path: String) throws {
    let metadata = [
      FileFormat.key: Self.format.description, Safetensors.checksumKey: "",
      Self.stateKey: try JSON(encoding: state).line,
      Self.settingsKey: try JSON(encoding: settings).line,
    ]
    let values = TensorStream(program.persistables, in: scope) { try NonFinite.require($0, $1) }
    try AtomicFile.write(
      to: path, Safetensors.contents(values, metadata: metadata, for: path))
  }

  /// Reads a file.
  ///
  /// - Throws: `ABNError(.file)` for one that is damaged or no checkpoint.
  package static func read(_ path: String) throws -> (Checkpoint, tensors: [String: Tensor]) {
    try requireFormat(Safetensors.names(path: path).metadata, path)
    let (tensors, metadata) = try Safetensors.read(path: path)
    let checkpoint = Checkpoint(
      state: try field(stateKey, of: metadata, path),
      settings: try field(settingsKey, of: metadata, path))
    return (checkpoint, tensors)
  }

  /// The settings of a file alone, without its tensors.
  ///
  /// - Throws: as `read`, but for damage among the tensors.
  static func settings(of path: String) throws -> [String: String] {
    let metadata = try Safetensors.names(path: path).metadata
    try requireFormat(metadata, path)
    return try field(settingsKey, of: metadata, path)
  }

  private static func requireFormat(_ metadata: [String: String], _ path: String) throws {
    _ = try FileFormat.read(metadata, kind: format.kind, newest: format.major, path: path)
  }

  private static func field<T: Decodable>(
    _ key: String, of metadata: [String: String], _ path: String
  ) throws -> T {
    guard let text = metadata[key],
      let value = try? JSONDecoder().decode(T.self, from: Data(text.utf8))
    else {
      throw ABNError(
        .file, "checkpoint \(quoted(path))", got: "\(key): \(metadata[key] ?? "nothing")",
        wanted: "a checkpoint that abn train wrote")
    }
    return value
  }

  /// Puts the tensors of a checkpoint into the scope of a program.
  ///
  /// - Throws: `ABNError(.file)` where they are not those of the program.
  static func restore(
    _ tensors: [String: Tensor], of program: Program, into scope: Scope, path: String
  ) throws {
    let what = "checkpoint \(quoted(path))"
    let fix = "Resume with the settings that the run was begun with."
    var names = Set(tensors.keys)
    for variable in program.persistables {
      names.remove(variable.name)
      let found = tensors[variable.name].map { TensorType($0.shape, $0.dtype) }
      guard found == variable.type else {
        throw ABNError(
          .file, "\(what): \(quoted(variable.name))", got: found.map { "\($0)" } ?? "nothing",
          wanted: "\(variable.type), as the model has it", fix: fix)
      }
    }
    if let more = names.min() {
      throw ABNError(
        .file, what, got: "\(quoted(more)), which the model does not have",
        wanted: "a checkpoint of this model", fix: fix)
    }
    for (name, value) in tensors { scope[name] = value }
  }
}
