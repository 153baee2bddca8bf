import ABNFormats
import ABNTensors
import Foundation

/// Where the time of a run went, in seconds; all its parts before and after resumptions.
package struct RunTimes: Codable, Sendable, Equatable {
  /// Training steps, with the time that they waited for data.
  package var steps = 0.0
  /// Of that: waiting.
  package var waiting = 0.0
  package var evaluation = 0.0
  /// Checkpoints, and the best weights.
  package var checkpoints = 0.0

  package init() {}
}

/// What a training run gives, as `summary.json`.
public struct TrainingSummary: Codable, Sendable {
  /// The share of the held-out images that are classified right, 0...1, or what `metric` says; nil
  /// where a run was interrupted within an epoch, which is saved without an evaluation.
  public var accuracy: Double?
  /// The mean loss over the held-out images; nil with `accuracy`.
  public var loss: Double?
  /// Seconds of training, evaluation included.
  public var seconds: Double
  /// Training images a second.
  public var imagesPerSecond: Double
  /// What the run needs beside the base: a step or an evaluation, and the batches that are prepared
  /// ahead; known before the first step.
  public var plannedPeakBytes: Int
  /// Of that a training step: arena, parameters and state.
  public var plannedStepBytes: Int
  /// The largest resident size of the process (VmHWM).
  public var measuredPeakBytes: Int
  /// The resident size before the first step: program, libraries, compiled steps and data.
  public var baseBytes: Int
  /// The seed.
  public var seed: UInt64
  /// Whether Ctrl-C ended the run early.
  public var interrupted: Bool
  /// Why the run ended: `finished`, `earlyStopped`, `timeBudget` or `interrupted`; nil in files of
  /// older versions.
  package var stopReason: String?
  /// What `accuracy` and `bestAccuracy` are: nil: an accuracy; `meanIoU`: the mean over the classes
  /// of intersection over union.
  package var metric: String?
  /// The best accuracy after an epoch, and the number of that epoch, from 1; that model is in
  /// `best`.
  package var bestAccuracy: Double?
  package var bestEpoch: Int?
  /// Where the time went; nil in files of older versions.
  package var times: RunTimes?
  /// The whole epochs that were done.
  public var epochsDone: Int
  /// The saved model.
  public var modelPath: String
  /// The checksum in the saved model's metadata, by which the two are seen to belong together; nil
  /// in files of older versions.
  public var modelChecksum: String?
  /// The settings, by their names on the command line.
  public var settings: [String: String]

  package init(
    accuracy: Double?, loss: Double?, seconds: Double, imagesPerSecond: Double,
    plannedPeakBytes: Int, plannedStepBytes: Int, measuredPeakBytes: Int, baseBytes: Int,
    seed: UInt64, interrupted: Bool, epochsDone: Int, modelPath: String, modelChecksum: String?,
    settings: [String: String]
  ) {
    self.accuracy = accuracy
    self.loss = loss
    self.seconds = seconds
    self.imagesPerSecond = imagesPerSecond
    self.plannedPeakBytes = plannedPeakBytes
    self.plannedStepBytes = plannedStepBytes
    self.measuredPeakBytes = measuredPeakBytes
    self.baseBytes = baseBytes
    self.seed = seed
    self.interrupted = interrupted
    self.epochsDone = epochsDone
    self.modelPath = modelPath
    self.modelChecksum = modelChecksum
    self.settings = settings
  }

  /// The JSON text, keys sorted.
  public func json() throws -> String { try JSON(encoding: self).lines }

  /// The file's name in its folder.
  public static let name = "summary.json"

  /// Writes the JSON text; the file appears whole or not at all.
  public func write(to path: String) throws { try AtomicFile.write(try json(), to: path) }

  /// Reads a summary.
  ///
  /// - Throws: `ABNError(.file)` for a file that cannot be read or is none.
  package static func read(path: String) throws -> TrainingSummary {
    let source = try ByteSource(path: path, kind: "summary")
    let mostBytes = 1 << 20
    guard source.byteCount <= mostBytes,
      let summary = try? JSONDecoder().decode(
        TrainingSummary.self, from: Data(try source.bytes(at: 0, count: source.byteCount)))
    else {
      throw ABNError(
        .file, "summary \(quoted(path))", got: "another text", wanted: "what abn train writes",
        fix: "Train again.")
    }
    return summary
  }

  /// Reads the summary of the model in a folder.
  ///
  /// - Throws: `ABNError(.file)` for a folder without one, for a file that is none, and for one
  ///   that belongs to another model than the folder's.
  public static func read(folder: String) throws -> TrainingSummary {
    let path = "\(folder)/\(name)"
    let summary = try read(path: path)
    guard let checksum = summary.modelChecksum else { return summary }
    let model = "\(folder)/\(ModelFile.name)"
    let found = try Safetensors.read(path: model).metadata[Safetensors.checksumKey] ?? "none"
    guard found == checksum else {
      throw ABNError(
        .file, "summary \(quoted(path))", got: "the summary of a model with checksum \(checksum)",
        wanted: "that of \(quoted(model)), which has \(found)",
        fix: "One of the two was put there later.")
    }
    return summary
  }
}
