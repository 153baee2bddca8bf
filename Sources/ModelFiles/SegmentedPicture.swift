import ABNImages
import ABNTensors

/// A picture with the class of each pixel.
package struct SegmentedPicture: Sendable, Encodable {
  /// The share of the pixels that a class has.
  package struct Share: Sendable, Encodable {
    package let name: String
    package let number: Int
    package let share: Double
  }

  /// The picture's file.
  package let path: String
  /// Its height and width.
  package let size: PictureSize
  /// The classes that are there, the largest share first; of equal ones the lower number.
  package let classes: [Share]

  /// - Parameters:
  ///   - mask: the class of each pixel.
  ///   - names: of the classes.
  package init(path: String, mask: Picture, names: (Int) -> String) {
    (self.path, size) = (path, mask.size)
    var counts = [Int](repeating: 0, count: 256)
    mask.withPixels { for pixel in $0 { counts[Int(pixel)] += 1 } }
    let count = Double(max(mask.width * mask.height, 1))
    classes = counts.indices.filter { counts[$0] > 0 }
      .sorted { (-counts[$0], $0) < (-counts[$1], $1) }
      .map { Share(name: names($0), number: $0, share: Double(counts[$0]) / count) }
  }
}
