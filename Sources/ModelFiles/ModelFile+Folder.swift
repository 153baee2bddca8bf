import ABNFormats
import ABNGraph
import ABNRuntime
import ABNTensors
import Foundation

/// A model's folder: the model and, where it was trained here, the summary of its training.
extension ModelFile {
  /// Whether a folder holds a model or a summary, which `write` would replace.
  public static func isThere(inFolder folder: String) -> Bool {
    [name, TrainingSummary.name].contains {
      FileManager.default.fileExists(atPath: "\(folder)/\($0)")
    }
  }

  /// Makes a folder ready for a model, before hours are spent on it: makes it where there is none,
  /// removes what killed runs left in it, and checks that both files can be written there.
  ///
  /// - Throws: `ABNError(.file)` for a folder that cannot be made or written, and for what stands
  ///   in the place of a file and cannot be replaced; see `AtomicFile.check`.
  public static func prepare(folder: String) throws {
    do {
      try Folder.make(folder)
      TemporaryFiles.removeAbandoned(in: folder)
      for name in [name, TrainingSummary.name] { try AtomicFile.check("\(folder)/\(name)") }
    } catch let error as ABNError {
      throw ABNError(
        error.category, "output \(quoted(folder)): \(error.what)", got: error.got,
        wanted: "a folder that can be written, and files that can be replaced",
        fix: "Choose another folder with --output.")
    }
  }

  /// The checksum that the file bears.
  public var checksum: String { Safetensors.checksum(of: parameters, metadata: metadata) }

  /// Writes the model and its summary into a folder, which is made where there is none. Both change
  /// at once, also for one who looks after this process was killed; without a summary that of an
  /// older model is removed with the model.
  ///
  /// - Parameter replacing: false: a folder that has a model or a summary by then stays as it is.
  /// - Returns: whether it was written; true unless `replacing` is false.
  /// - Throws: `ABNError(.file)` where that is not possible.
  @discardableResult
  public func write(
    toFolder folder: String, summary: TrainingSummary? = nil, replacing: Bool = true
  ) throws -> Bool {
    try write(TensorStream(parameters), toFolder: folder, summary: summary, replacing: replacing)
  }

  /// The checksum that the file bears with these parameters in place of its own.
  package func checksum(of parameters: TensorStream) throws -> String {
    try Safetensors.checksum(of: parameters, metadata: metadata)
  }

  /// As `write(toFolder:)`, with parameters that are read one after the other in place of the
  /// file's own: those of a scope need no second place in memory.
  @discardableResult
  package func write(
    _ parameters: TensorStream, toFolder folder: String, summary: TrainingSummary? = nil,
    replacing: Bool = true
  ) throws -> Bool {
    try Self.prepare(folder: folder)
    let contents = try Safetensors.contents(
      parameters, metadata: metadata, for: "\(folder)/\(Self.name)")
    let text = try summary?.json()
    return try AtomicFiles.write(
      [
        .init(Self.name, contents: contents),
        .init(TrainingSummary.name, contents: text.map { text in { try $0.write(text) } }),
      ], in: folder, replacing: replacing)
  }
}

extension TensorStream {
  /// The values of variables in a scope, each copied when it is asked for, and shown to `check`.
  package init(
    _ variables: [Variable], in scope: Scope,
    check: @escaping (String, Tensor) throws -> Void = { _, _ in }
  ) {
    self.init(
      Dictionary(variables.map { ($0.name, $0.type) }, uniquingKeysWith: { first, _ in first })
    ) { name in
      guard let value = scope[name] else {
        throw ABNError(
          .name, "value of \(quoted(name))", got: "nothing in the scope", wanted: "a value",
          fix: "Run the startup program first.")
      }
      try check(name, value)
      return value
    }
  }
}
