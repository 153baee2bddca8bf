import ABNFormats
import ABNTensors
import Foundation

/// The CIFAR-10 pictures in their binary version: 3 x 32 x 32 pixels, 10 classes.
///
/// A file is a row of records: one byte of label, then 1024 bytes each of red, green and blue.
///
/// Source: A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images" (2009).
public enum CIFAR10 {
  /// The bytes of one picture with its label.
  static let recordBytes = 1 + 3 * 32 * 32

  /// The classes where the folder does not name them.
  static let classNames = [
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
  ]

  /// Reads the files of a folder: `data_batch_1.bin`, `data_batch_2.bin`, ... (any number, in the
  /// order of their numbers) are `train`, `test_batch.bin` is `test`, and `batches.meta.txt`, if
  /// there is one, holds the ten class names, one a line.
  ///
  /// - Throws: `ABNError(.file)` for missing files and for a size that is no multiple of 3073
  ///   bytes, `.data` for a label above 9, with its byte.
  public static func load(directory: String) throws -> Dataset {
    try checkDirectory(directory, what: "CIFAR-10")
    let names: [String]
    do {
      names = try FileManager.default.contentsOfDirectory(atPath: directory)
    } catch {
      throw ABNError(
        .file, "CIFAR-10 folder \(quoted(directory))", got: error.localizedDescription,
        wanted: "a folder that can be listed")
    }
    let batches = names.compactMap { name -> (number: Int, name: String)? in
      guard name.hasPrefix("data_batch_"), name.hasSuffix(".bin"),
        let number = Int(name.dropFirst("data_batch_".count).dropLast(".bin".count))
      else { return nil }
      return (number, name)
    }
    guard !batches.isEmpty else {
      throw ABNError(
        .file, "CIFAR-10 folder \(quoted(directory))", got: "no file data_batch_1.bin",
        wanted: "data_batch_1.bin, data_batch_2.bin, ... of the binary version")
    }
    let paths = batches.sorted { ($0.number, $0.name) < ($1.number, $1.name) }
      .map { "\(directory)/\($0.name)" }
    return try Dataset(
      name: "cifar10", classNames: readClassNames(directory), train: read(paths),
      test: read(["\(directory)/test_batch.bin"]))
  }

  /// The records of these files, one file after the other.
  static func read(_ paths: [String]) throws -> DataSplit {
    let sources = try paths.map { try ByteSource(path: $0, kind: "CIFAR-10") }
    for source in sources where source.byteCount % recordBytes != 0 || source.byteCount == 0 {
      throw source.fault(
        at: source.byteCount / recordBytes * recordBytes, got: "\(source.byteCount) bytes",
        wanted: "records of \(recordBytes) bytes, at least one",
        fix: "The file is cut off or not of the binary version.")
    }
    let count = sources.reduce(0) { $0 + $1.byteCount / recordBytes }
    var images = Tensor(uninitialized: [count, 3, 32, 32], dtype: .uint8)
    var labels: [Int32] = []
    labels.reserveCapacity(count)
    try images.withUnsafeMutableBytes { images in
      for source in sources {
        try readRecords(source, into: images, &labels)
      }
    }
    return try DataSplit(images: images, labels: labels)
  }

  private static func readRecords(
    _ source: ByteSource, into images: UnsafeMutableRawBufferPointer, _ labels: inout [Int32]
  ) throws {
    let chunkBytes = 256 * recordBytes
    let imageBytes = recordBytes - 1
    for offset in stride(from: 0, to: source.byteCount, by: chunkBytes) {
      let chunk = try source.bytes(at: offset, count: min(chunkBytes, source.byteCount - offset))
      try chunk.withUnsafeBytes { chunk in
        for place in stride(from: 0, to: chunk.count, by: recordBytes) {
          guard chunk[place] <= 9 else {
            throw source.fault(
              .data, at: offset + place, got: "label \(chunk[place])", wanted: "0...9")
          }
          let start = labels.count * imageBytes
          UnsafeMutableRawBufferPointer(rebasing: images[start..<start + imageBytes]).copyMemory(
            from: UnsafeRawBufferPointer(rebasing: chunk[place + 1..<place + recordBytes]))
          labels.append(Int32(chunk[place]))
        }
      }
    }
  }

  private static func readClassNames(_ directory: String) throws -> [String] {
    let path = "\(directory)/batches.meta.txt"
    guard FileManager.default.fileExists(atPath: path) else { return classNames }
    let source = try ByteSource(path: path, kind: "CIFAR-10")
    let bytes = try source.bytes(at: 0, count: min(source.byteCount, 1 << 16))
    let text = try String.checked(bytes) { source.fault(at: 0, got: $0, wanted: $1) }
    let lines = text.split(whereSeparator: \.isNewline)
      .map { $0.trimmingCharacters(in: .whitespaces) }.filter { !$0.isEmpty }
    guard lines.count == 10, Set(lines).count == 10 else {
      throw source.fault(at: 0, got: "\(lines.count) names", wanted: "10 different class names")
    }
    return lines
  }
}
