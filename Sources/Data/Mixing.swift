// Shapes: B pictures of a batch, K classes, C channels, H rows, W columns.

import ABNImages
import ABNTensors

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

/// How the pictures of a batch are mixed: each with the one before it, the first with the last.
enum Mixing {
  /// share x + (1 - share) y.
  case added(share: Float)
  /// y in a rectangle, x outside.
  case cut(PictureRegion, share: Float)

  /// The share of the picture's own class.
  var share: Float {
    switch self {
    case .added(let share), .cut(_, let share): share
    }
  }

  /// What a batch gets; nil where the settings mix nothing.
  init?(_ augmentation: Augmentation, _ draws: inout Draws, size: PictureSize) {
    guard augmentation.mixup > 0 || augmentation.cutmix > 0 else { return nil }
    let isCut =
      augmentation.mixup == 0 || augmentation.cutmix > 0 && draws.happens(0.5)
    let share = draws.beta(isCut ? augmentation.cutmix : augmentation.mixup)
    guard isCut else {
      self = .added(share: Float(share))
      return
    }
    // A rectangle of the picture's ratio and 1 - share of its area, around a point of the picture,
    // as far as it lies inside. The share is that of the pixels that are left.
    let side = (1 - share).squareRoot()
    let (height, width) = (
      Int(Double(size.height) * side), Int(Double(size.width) * side)
    )
    let (y, x) = (draws.below(size.height), draws.below(size.width))
    let (top, left) = (max(0, y - height / 2), max(0, x - width / 2))
    let (bottom, right) = (
      min(size.height, y + height / 2), min(size.width, x + width / 2)
    )
    let cut = PictureSize(height: bottom - top, width: right - left)
    let area = Double(cut.height * cut.width) / Double(size.height * size.width)
    self = .cut(PictureRegion(top: top, left: left, size: cut), share: Float(1 - area))
  }

  /// Mixes float32 [B, C, H, W] in its place.
  func mix(
    _ images: UnsafeMutableBufferPointer<Float>, count: Int, channels: Int, _ size: PictureSize
  ) {
    guard count > 1, let start = images.baseAddress else { return }
    let bytes = channels * size.height * size.width
    // The last one is changed first, and the first one needs it as it was.
    let last = Array(images[(count - 1) * bytes..<count * bytes])
    last.withUnsafeBufferPointer { last in
      for place in stride(from: count - 1, through: 0, by: -1) {
        let other = place > 0 ? UnsafePointer(start + (place - 1) * bytes) : last.baseAddress!
        mix(start + place * bytes, other, channels, size)
      }
    }
  }

  private func mix(
    _ own: UnsafeMutablePointer<Float>, _ other: UnsafePointer<Float>, _ channels: Int,
    _ size: PictureSize
  ) {
    switch self {
    case .added(let share):
      let rest = 1 - share
      for i in 0..<channels * size.height * size.width {
        own[i] = share * own[i] + rest * other[i]
      }
    case .cut(let region, _):
      for channel in 0..<channels {
        for row in region.top..<region.top + region.size.height {
          let place = (channel * size.height + row) * size.width + region.left
          (own + place).update(from: other + place, count: region.size.width)
        }
      }
    }
  }
}

extension Augmentation {
  /// The labels as shares of classes: float32 [B, K]. A label is 1 - s + s / K of its own class and
  /// s / K of every other, s being `labelSmoothing`, and then mixed as the pictures are.
  func softLabels(_ labels: [Int], classes: Int, _ mixing: Mixing?) -> [Float] {
    let rest = Float(labelSmoothing / Double(classes))
    let own = Float(1 - labelSmoothing) + rest
    var shares = [Float](repeating: rest, count: labels.count * classes)
    for (place, label) in labels.enumerated() { shares[place * classes + label] = own }
    guard let mixing, labels.count > 1 else { return shares }
    let before = shares
    for place in labels.indices {
      let other = (place + labels.count - 1) % labels.count
      for k in 0..<classes {
        let (a, b) = (before[place * classes + k], before[other * classes + k])
        shares[place * classes + k] = mixing.share * a + (1 - mixing.share) * b
      }
    }
    return shares
  }
}
