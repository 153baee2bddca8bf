import ABNTensors
import Foundation
import Testing

@testable import ABNFormats

/// A folder that is removed with everything in it when the value goes away.
final class TemporaryFolder {
  let path: String

  init() throws {
    path = FileManager.default.temporaryDirectory.path + "/abn-tests-\(UUID().uuidString)"
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }

  func file(_ name: String) -> String { "\(path)/\(name)" }

  var contents: [String] {
    get throws { try FileManager.default.contentsOfDirectory(atPath: path).sorted() }
  }
}

/// The folder of data that lies beside the package, where there is one.
enum SharedFolder {
  static let path: String? = {
    let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent()
    let path =
      ProcessInfo.processInfo.environment["ABN_SHARED"]
      ?? root.deletingLastPathComponent().appending(path: "shared").path
    return FileManager.default.fileExists(atPath: path) ? path : nil
  }()

  /// The files in a folder of it that end in `suffix`; empty where there is no such folder.
  static func files(in folder: String, suffix: String) -> [String] {
    guard let path else { return [] }
    let names = (try? FileManager.default.contentsOfDirectory(atPath: "\(path)/\(folder)")) ?? []
    return names.filter { $0.hasSuffix(suffix) }.sorted().map { "\(path)/\(folder)/\($0)" }
  }
}

func contents(of path: String) throws -> [UInt8] {
  [UInt8](try Data(contentsOf: URL(filePath: path)))
}

/// A tensor of random bits; booleans are 0 or 1.
func randomTensor(_ dtype: DType, _ shape: Shape, seed: UInt64) -> Tensor {
  var random = SequentialRandom(CounterRandom(seed: seed, stream: 0xF0))
  var tensor = Tensor(uninitialized: shape, dtype: dtype)
  tensor.withUnsafeMutableBytes { bytes in
    for i in bytes.indices {
      let byte = UInt8(truncatingIfNeeded: random.next())
      bytes[i] = dtype == .bool ? byte & 1 : byte
    }
  }
  return tensor
}

/// Runs `body`, which must throw an `ABNError` of this category, and returns the error.
@discardableResult
func expectError(
  _ category: ABNError.Category, sourceLocation: Testing.SourceLocation = #_sourceLocation,
  _ body: () throws -> Void
) -> ABNError? {
  let error = #expect(throws: ABNError.self, sourceLocation: sourceLocation) { try body() }
  if let error {
    #expect(error.category == category, "\(error)", sourceLocation: sourceLocation)
  }
  return error
}

/// Reads every shortened and many bit-flipped copies of a file: each must be read or refused with
/// a typed error, none may crash. Returns how many were refused.
func countRefusals(
  of bytes: [UInt8], flips: [UInt8] = [0x01, 0x80, 0xff], _ read: ([UInt8]) throws -> Void
) -> (truncated: Int, flipped: Int, untyped: [any Error]) {
  var result = (truncated: 0, flipped: 0, untyped: [any Error]())
  func attempt(_ copy: [UInt8]) -> Int {
    do {
      try read(copy)
      return 0
    } catch {
      if !(error is ABNError) { result.untyped.append(error) }
      return 1
    }
  }
  for count in 0..<bytes.count { result.truncated += attempt(Array(bytes.prefix(count))) }
  for i in bytes.indices {
    for flip in flips {
      var copy = bytes
      copy[i] ^= flip
      result.flipped += attempt(copy)
    }
  }
  return result
}
