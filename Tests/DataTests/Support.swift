import ABNTensors
import ABNTestSupport
import Foundation
import Testing

@testable import ABNData

/// A folder that is removed with everything in it when the value goes away.
final class TemporaryFolder {
  let path: String

  init() throws {
    path = FileManager.default.temporaryDirectory.path + "/abn-tests-\(UUID().uuidString)"
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }

  func write(_ name: String, _ bytes: [UInt8]) throws {
    try Data(bytes).write(to: URL(filePath: "\(path)/\(name)"))
  }

  func remove(_ name: String) throws {
    try FileManager.default.removeItem(atPath: "\(path)/\(name)")
  }
}

/// A folder of the data that lies beside the package, where there is one.
func sharedFolder(_ name: String) -> String? {
  let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent()
  let shared =
    ProcessInfo.processInfo.environment["ABN_SHARED"]
    ?? root.deletingLastPathComponent().appending(path: "shared").path
  let path = "\(shared)/\(name)"
  return FileManager.default.fileExists(atPath: path) ? path : nil
}

/// Random bytes, the same for the same seed.
func randomBytes(_ count: Int, seed: UInt64) -> [UInt8] {
  var random = SequentialRandom(CounterRandom(seed: seed, stream: 0xB7))
  return (0..<count).map { _ in UInt8(truncatingIfNeeded: random.next()) }
}

/// Pictures of random bytes with random labels below 10.
func randomSplit(_ shape: Shape, seed: UInt64) throws -> DataSplit {
  let labels = randomBytes(shape[0], seed: seed ^ 0xFF).map { Int32($0 % 10) }
  return try DataSplit(
    images: Tensor(randomBytes(shape.elementCount, seed: seed), shape: shape), labels: labels)
}

/// The bytes in a gzip frame.
func gzipped(_ bytes: [UInt8]) -> [UInt8] { packed(bytes, windowBits: 31) }

/// An IDX file of bytes.
func idx(_ dimensions: [Int], _ elements: [UInt8], type: UInt8 = 8) -> [UInt8] {
  [0, 0, type, UInt8(dimensions.count)]
    + dimensions.flatMap { d in [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: d >> $0) } }
    + elements
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
