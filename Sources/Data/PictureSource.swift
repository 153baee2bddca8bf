// Shapes: N pictures, C channels, H rows, W columns.

import ABNImages
import ABNTensors

/// Pictures one by one, wherever they are.
package protocol PictureSource: Sendable {
  /// The number of pictures, N.
  var count: Int { get }
  /// The channels of all of them, C.
  var channels: Int { get }
  /// The size of all of them; nil where they differ or are not known.
  var size: PictureSize? { get }
  /// Whether a picture that cannot be read is replaced by the next one that can.
  var skipsBroken: Bool { get }
  /// A picture, of `channels` channels.
  ///
  /// - Throws: `ABNError` that names it where it cannot be read.
  func picture(_ index: Int) throws -> Picture
  /// A picture at its whole size, and its kind: `JPEG`, `PNG` or `array`.
  ///
  /// - Throws: as `picture`.
  func original(_ index: Int) throws -> (picture: Picture, kind: String)
  /// What a picture is called in messages: its path.
  func name(of index: Int) -> String
  /// Takes note that a picture could not be read.
  func noteBroken(_ index: Int, _ error: ABNError)
  /// What was noted, in the order of the pictures.
  var broken: [ABNError] { get }
  /// The pictures that it was noted of.
  var unreadable: Set<Int> { get }
  /// These pictures in this order.
  func selecting(_ indices: [Int]) -> any PictureSource
  /// The same pictures for a network that takes this geometry.
  func prepared(for geometry: PictureGeometry) -> any PictureSource
  /// Whether both give the same pictures.
  func isSame(as other: any PictureSource) -> Bool
}

extension PictureSource {
  /// The picture at an index or, where broken ones are skipped, the next one that can be read, and
  /// its index.
  ///
  /// - Throws: `ABNError` where the picture, or every one, cannot be read.
  package func readable(from index: Int) throws -> (index: Int, picture: Picture) {
    for step in 0..<count {
      let place = (index + step) % count
      do {
        return (place, try picture(place))
      } catch let error as ABNError {
        guard skipsBroken else { throw error }
        noteBroken(place, error)
      }
    }
    throw ABNError(
      .data, "pictures", got: "\(count), none of which can be read", wanted: "at least one",
      fix: broken.first.map { "The first: \($0)" } ?? "")
  }
}

/// Pictures of one size in memory: uint8 [N, C, H, W].
struct PictureArray: PictureSource {
  let images: Tensor

  var count: Int { images.shape[0] }
  var channels: Int { images.shape[1] }
  var size: PictureSize? { PictureSize(height: images.shape[2], width: images.shape[3]) }
  var skipsBroken: Bool { false }
  var broken: [ABNError] { [] }
  var unreadable: Set<Int> { [] }

  func name(of index: Int) -> String { "picture \(index)" }
  func noteBroken(_ index: Int, _ error: ABNError) {}
  func prepared(for geometry: PictureGeometry) -> any PictureSource { self }

  func original(_ index: Int) -> (picture: Picture, kind: String) { (picture(index), "array") }

  func picture(_ index: Int) -> Picture {
    let size = PictureSize(height: images.shape[2], width: images.shape[3])
    let (plane, channels) = (size.height * size.width, channels)
    return Picture(size: size, channels: channels) { to in
      images.withUnsafeBytes { from in
        let start = index * plane * channels
        for channel in 0..<channels {
          for i in 0..<plane { to[i * channels + channel] = from[start + channel * plane + i] }
        }
      }
    }
  }

  func selecting(_ indices: [Int]) -> any PictureSource {
    var shape = images.shape
    shape[0] = indices.count
    var part = Tensor(uninitialized: shape, dtype: .uint8)
    let bytes = shape.dimensions.dropFirst().reduce(1, *)
    part.withUnsafeMutableBytes { to in
      images.withUnsafeBytes { from in
        for (place, index) in indices.enumerated() {
          UnsafeMutableRawBufferPointer(rebasing: to[place * bytes..<(place + 1) * bytes])
            .copyMemory(
              from: UnsafeRawBufferPointer(rebasing: from[index * bytes..<(index + 1) * bytes]))
        }
      }
    }
    return PictureArray(images: part)
  }

  func isSame(as other: any PictureSource) -> Bool {
    (other as? PictureArray).map { $0.images == images } ?? false
  }
}
