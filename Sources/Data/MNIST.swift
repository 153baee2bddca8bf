import ABNFormats
import ABNTensors
import Foundation

/// The MNIST digits, or data in the same files (Fashion-MNIST, KMNIST): 28 x 28 pixels, 10 classes.
///
/// Source: Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits".
public enum MNIST {
  /// Reads the files of a folder.
  ///
  /// The files are called `train-images-idx3-ubyte`, `train-labels-idx1-ubyte`,
  /// `t10k-images-idx3-ubyte` and `t10k-labels-idx1-ubyte`, each with or without `.gz`; a dot in
  /// place of the second hyphen is accepted. With all four, `train` and `test` are the usual ones.
  /// With the two `t10k` files only, the first four fifths (8,000 of 10,000) are `train` and the
  /// rest is `test`.
  ///
  /// - Parameter limits: what may be taken from each file, unpacked.
  /// - Throws: `ABNError(.file)` for missing or damaged files, `.shape` for pictures and labels
  ///   that do not fit, `.data` for a label above 9.
  public static func load(
    directory: String, limits: ReadLimits = ReadLimits()
  ) throws -> Dataset {
    try checkDirectory(directory, what: "MNIST")
    // One of the two without the other is a mistake, and `split` names what is missing.
    let hasTrain =
      file(in: directory, "train-images", "idx3") != nil
      || file(in: directory, "train-labels", "idx1") != nil
    let test = try split(in: directory, "t10k", limits)
    let name = "mnist"
    let classNames = (0..<10).map(String.init)
    if hasTrain {
      return try Dataset(
        name: name, classNames: classNames, train: split(in: directory, "train", limits), test: test
      )
    }
    let border = test.count * 4 / 5
    return try Dataset(
      name: name, classNames: classNames, train: test.slice(0..<border),
      test: test.slice(border..<test.count))
  }

  private static func split(
    in directory: String, _ part: String, _ limits: ReadLimits
  ) throws -> DataSplit {
    let imagePath = try existing(directory, "\(part)-images", "idx3")
    let labelPath = try existing(directory, "\(part)-labels", "idx1")
    let images = try IDX.read(imagePath, limits: limits)
    guard images.dtype == .uint8, images.shape.rank == 3 else {
      throw ABNError(
        .shape, "IDX file \(quoted(imagePath))", got: "\(images.dtype)\(images.shape)",
        wanted: "uint8[N, H, W]")
    }
    let labels = try IDX.read(labelPath, limits: limits)
    guard labels.dtype == .uint8, labels.shape.rank == 1 else {
      throw ABNError(
        .shape, "IDX file \(quoted(labelPath))", got: "\(labels.dtype)\(labels.shape)",
        wanted: "uint8[N]")
    }
    guard labels.elementCount == images.shape[0] else {
      throw ABNError(
        .shape, "IDX file \(quoted(labelPath))", got: "\(labels.elementCount) labels",
        wanted: "\(images.shape[0]), as many as there are pictures")
    }
    let values = labels.elements(UInt8.self)
    if let place = values.firstIndex(where: { $0 > 9 }) {
      throw ABNError(
        .data, "IDX file \(quoted(labelPath))", at: "label \(place)", got: "\(values[place])",
        wanted: "0...9")
    }
    let shape = images.shape
    return try DataSplit(
      images: images.reshaped([shape[0], 1, shape[1], shape[2]]), labels: values.map(Int32.init))
  }

  private static func names(_ start: String, _ kind: String) -> [String] {
    ["-", "."].flatMap { separator in
      ["", ".gz"].map { "\(start)\(separator)\(kind)-ubyte\($0)" }
    }
  }

  private static func file(in directory: String, _ start: String, _ kind: String) -> String? {
    names(start, kind).map { "\(directory)/\($0)" }
      .first { FileManager.default.fileExists(atPath: $0) }
  }

  private static func existing(
    _ directory: String, _ start: String, _ kind: String
  ) throws -> String {
    if let path = file(in: directory, start, kind) { return path }
    throw ABNError(
      .file, "MNIST folder \(quoted(directory))", got: "no file \(start)-\(kind)-ubyte",
      wanted: "one of \(names(start, kind).joined(separator: ", "))")
  }
}

/// Checks that a folder is there.
func checkDirectory(_ path: String, what: String) throws {
  var isFolder: ObjCBool = false
  let exists = FileManager.default.fileExists(atPath: path, isDirectory: &isFolder)
  guard exists, isFolder.boolValue else {
    throw ABNError(
      .file, "\(what) folder \(quoted(path))", got: exists ? "a file" : "nothing there",
      wanted: "a folder")
  }
}
