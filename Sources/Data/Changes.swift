// Shapes: C channels, H rows, W columns of a picture as the network sees it.

import ABNImages
import ABNTensors

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

extension BatchLoader {
  /// A picture as it is seen this time.
  ///
  /// - Parameters:
  ///   - random: draws cutting, mirroring and distortion.
  ///   - draws: all the rest.
  func seen(
    _ picture: Picture, _ sample: Int, _ random: CounterRandom, _ draws: inout Draws
  ) -> Picture {
    guard let augmentation = options.augmentation else { return split.geometry.centred(picture) }
    let size = split.geometry.size
    var seen =
      if let crop = augmentation.resizedCrop {
        picture.resized(crop.region(of: picture.size, &draws), to: size)
      } else {
        split.geometry.centred(picture)
      }
    let window = window(of: sample, random)
    if let distortion = distortion(of: sample, window, random) {
      seen = seen.warped(distortion, bilinear: true)
    } else {
      if window.isMirrored { seen = seen.mirrored }
      if window.rows != 0 || window.columns != 0 {
        // Counted from the right where the picture is mirrored, as `write` does.
        let left = window.isMirrored ? -window.columns : window.columns
        seen = seen.cut(PictureRegion(top: window.rows, left: left, size: size))
      }
    }
    augmentation.jitter?.apply(to: &seen, &draws)
    augmentation.policy?.apply(to: &seen, &draws)
    return seen
  }
}

extension ResizedCrop {
  /// The rectangle of a picture.
  func region(of size: PictureSize, _ draws: inout Draws) -> PictureRegion {
    let area = Double(size.height * size.width)
    for _ in 0..<10 {
      let target = area * draws.uniform(leastArea, mostArea)
      let ratio = exp(draws.uniform(log(leastRatio), log(mostRatio)))
      let width = Int((target * ratio).squareRoot().rounded(.toNearestOrEven))
      let height = Int((target / ratio).squareRoot().rounded(.toNearestOrEven))
      guard width > 0, width <= size.width, height > 0, height <= size.height else { continue }
      let top = draws.below(size.height - height + 1)
      let left = draws.below(size.width - width + 1)
      return PictureRegion(
        top: top, left: left, size: PictureSize(height: height, width: width))
    }
    let ratio = Double(size.width) / Double(size.height)
    var (height, width) = (size.height, size.width)
    if ratio < leastRatio {
      height = min(height, max(1, Int((Double(width) / leastRatio).rounded(.toNearestOrEven))))
    } else if ratio > mostRatio {
      width = min(width, max(1, Int((Double(height) * mostRatio).rounded(.toNearestOrEven))))
    }
    return PictureRegion(
      top: (size.height - height) / 2, left: (size.width - width) / 2,
      size: PictureSize(height: height, width: width))
  }
}

extension ColourJitter {
  /// Changes the colours of a picture; the hue of one in grey stays.
  func apply(to picture: inout Picture, _ draws: inout Draws) {
    var order = [0, 1, 2, 3]
    for i in stride(from: 3, to: 0, by: -1) { order.swapAt(i, draws.below(i + 1)) }
    let strengths = [brightness, contrast, saturation, hue]
    let drawn = strengths.map { draws.uniform(-$0, $0) }
    for change in order where strengths[change] > 0 {
      switch change {
      case 0: picture = picture.brightness(1 + drawn[0])
      case 1: picture = picture.contrast(1 + drawn[1])
      case 2: picture = picture.saturation(1 + drawn[2])
      default: picture = picture.hue(drawn[3])
      }
    }
  }
}

extension AugmentationPolicy {
  /// Changes a picture.
  func apply(to picture: inout Picture, _ draws: inout Draws) {
    switch self {
    case .trivial:
      let change = PictureChange.allCases[draws.below(PictureChange.allCases.count)]
      let magnitude = draws.below(PictureChange.magnitudes)
      let isNegative = draws.happens(0.5)
      picture = change.wide(magnitude, isNegative: isNegative).applied(to: picture)
    case .random(let changes, let magnitude):
      for _ in 0..<changes {
        let change = PictureChange.allCases[draws.below(PictureChange.allCases.count)]
        let isNegative = draws.happens(0.5)
        picture = change.usual(magnitude, isNegative: isNegative, size: picture.size)
          .applied(to: picture)
      }
    }
  }
}

extension Augmentation {
  /// Erases a rectangle of float32 [C, H, W], with the probability `erasing`.
  func erase(
    _ image: UnsafeMutableBufferPointer<Float>, channels: Int, _ size: PictureSize,
    _ draws: inout Draws
  ) {
    guard erasing > 0, draws.happens(erasing) else { return }
    let area = Double(size.height * size.width)
    for _ in 0..<10 {
      let target = area * draws.uniform(0.02, 0.33)
      let ratio = exp(draws.uniform(log(0.3), log(3.3)))
      let height = Int((target * ratio).squareRoot().rounded(.toNearestOrEven))
      let width = Int((target / ratio).squareRoot().rounded(.toNearestOrEven))
      guard height > 0, height < size.height, width > 0, width < size.width else { continue }
      let top = draws.below(size.height - height + 1)
      let left = draws.below(size.width - width + 1)
      for channel in 0..<channels {
        for row in top..<top + height {
          let start = (channel * size.height + row) * size.width + left
          for i in start..<start + width { image[i] = 0 }
        }
      }
      return
    }
  }
}
