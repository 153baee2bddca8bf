import ABNFormats
import ABNTensors
import Foundation

/// The CIFAR-100 pictures in their binary version: 3 x 32 x 32 pixels, 100 classes.
///
/// A record of `train.bin` and `test.bin` is the coarse label (0...19), the fine label (0...99),
/// which is the one that is used, and 1024 bytes each of red, green and blue.
///
/// Source: A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images" (2009).
enum CIFAR100 {
  /// Reads `train.bin` and `test.bin` of a folder, and the class names in `fine_label_names.txt`,
  /// one a line; without it classes are called by their numbers.
  ///
  /// - Throws: `ABNError(.file)` for missing files and for a size that is no multiple of 3074
  ///   bytes, `.data` for a label above 99, with its byte.
  static func load(directory: String) throws -> Dataset {
    try checkDirectory(directory, what: "CIFAR-100")
    let format = CIFARRecords(kind: "CIFAR-100", labelBytes: 2, classes: 100)
    return try Dataset(
      name: "cifar100", classNames: classNames(directory),
      train: format.read(["\(directory)/train.bin"]), test: format.read(["\(directory)/test.bin"]))
  }

  private static func classNames(_ directory: String) throws -> [String] {
    let path = "\(directory)/fine_label_names.txt"
    guard FileManager.default.fileExists(atPath: path) else { return (0..<100).map(String.init) }
    return try readLines(path, count: 100, kind: "CIFAR-100")
  }
}

/// The records of CIFAR's binary files: labels, then red, green and blue.
struct CIFARRecords {
  let kind: String
  /// The bytes of labels; the last one is used.
  let labelBytes: Int
  let classes: Int

  private var imageBytes: Int { 3 * 32 * 32 }
  /// The bytes of one picture with its labels.
  var recordBytes: Int { labelBytes + imageBytes }

  /// The records of these files, one file after the other.
  func read(_ paths: [String]) throws -> DataSplit {
    let sources = try paths.map { try ByteSource(path: $0, kind: kind) }
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
      for source in sources { try read(source, into: images, &labels) }
    }
    return try DataSplit(images: images, labels: labels)
  }

  private func read(
    _ source: ByteSource, into images: UnsafeMutableRawBufferPointer, _ labels: inout [Int32]
  ) throws {
    let chunkBytes = 256 * recordBytes
    for offset in stride(from: 0, to: source.byteCount, by: chunkBytes) {
      let chunk = try source.bytes(at: offset, count: min(chunkBytes, source.byteCount - offset))
      try chunk.withUnsafeBytes { chunk in
        for place in stride(from: 0, to: chunk.count, by: recordBytes) {
          let label = chunk[place + labelBytes - 1]
          guard label < classes else {
            throw source.fault(
              .data, at: offset + place + labelBytes - 1, got: "label \(label)",
              wanted: "0...\(classes - 1)")
          }
          let start = labels.count * imageBytes
          UnsafeMutableRawBufferPointer(rebasing: images[start..<start + imageBytes]).copyMemory(
            from: UnsafeRawBufferPointer(
              rebasing: chunk[place + labelBytes..<place + recordBytes]))
          labels.append(Int32(label))
        }
      }
    }
  }
}

/// The lines of a text that are not empty: this many, all different.
func readLines(_ path: String, count: Int, kind: String) throws -> [String] {
  let source = try ByteSource(path: path, kind: kind)
  let bytes = try source.bytes(at: 0, count: min(source.byteCount, 1 << 16))
  let text = try String.checked(bytes) { source.fault(at: 0, got: $0, wanted: $1) }
  let lines = text.split(whereSeparator: \.isNewline)
    .map { $0.trimmingCharacters(in: .whitespaces) }.filter { !$0.isEmpty }
  guard lines.count == count, Set(lines).count == count else {
    throw source.fault(
      at: 0, got: "\(lines.count) names", wanted: "\(count) different class names")
  }
  return lines
}
