import ABNFormats
import ABNTensors
import Foundation

/// The CIFAR-10 pictures in their binary version: 3 x 32 x 32 pixels, 10 classes.
///
/// A file is a row of records: one byte of label, then 1024 bytes each of red, green and blue.
///
/// Source: A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images" (2009).
public enum CIFAR10 {
  private static let records = CIFARRecords(kind: "CIFAR-10", labelBytes: 1, classes: 10)

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
      name: "cifar10", classNames: readClassNames(directory), train: records.read(paths),
      test: records.read(["\(directory)/test_batch.bin"]))
  }

  private static func readClassNames(_ directory: String) throws -> [String] {
    let path = "\(directory)/batches.meta.txt"
    guard FileManager.default.fileExists(atPath: path) else { return classNames }
    return try readLines(path, count: 10, kind: "CIFAR-10")
  }
}
