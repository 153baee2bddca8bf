import ABNFormats
import ABNTensors

/// The 1,797 handwritten digits that come with the package: 8 x 8 pixels, values 0...16.
///
/// The last 360 pictures, in the order of the source, are held out: 1,437 to learn from. Each class
/// is there 141 to 146 times among those to learn from, and 33 to 37 times among those held out.
///
/// Source: E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine
/// Learning Repository (1998), its test set; licence CC BY 4.0. See Resources/README.md.
public enum Digits {
  /// The pictures held out from learning.
  package static let testCount = 360

  /// The digits: pictures uint8 [1437, 1, 8, 8] and [360, 1, 8, 8], classes "0"..."9".
  public static let dataset: Dataset = {
    do {
      return try decoded(PackageResources.digits_bin)
    } catch {
      // The bytes are part of the program.
      preconditionFailure("the built-in digits: \(error)")
    }
  }()

  /// The data set in a zlib stream of the labels and then the pixels.
  static func decoded(_ bytes: [UInt8]) throws -> Dataset {
    let (count, side) = (1797, 8)
    let source = ByteSource(bytes, path: "digits.bin", kind: "built-in")
    let stream = try ByteStream(source, coding: .zlib)
    let labels = try stream.bytes(count)
    var images = Tensor(uninitialized: [count, 1, side, side], dtype: .uint8)
    try images.withUnsafeMutableBytes { try stream.read(into: $0) }
    try stream.finish()
    let all = try DataSplit(images: images, labels: labels.map(Int32.init))
    var dataset = try Dataset(
      name: "digits", classNames: (0..<10).map(String.init),
      train: all.slice(0..<count - testCount), test: all.slice(count - testCount..<count))
    dataset.white = 16
    return dataset
  }
}
