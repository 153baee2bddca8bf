import ABNImages

/// The changes that policies draw from: torchvision's list for `TrivialAugmentWide` and
/// `RandAugment`.
enum PictureChange: CaseIterable {
  case none
  case shearX, shearY, translateX, translateY, rotate
  case brightness, saturation, contrast, sharpness
  case posterize, solarize, autocontrast, equalize

  /// The number of strengths, 0...30.
  static let magnitudes = 31

  /// A change with its strength.
  struct Strength: Equatable {
    let change: PictureChange
    /// Shears and shifts in pixels or shares, degrees, the difference of a factor from 1, bits, a
    /// threshold.
    let amount: Double
  }

  private var hasSign: Bool {
    switch self {
    case .shearX, .shearY, .translateX, .translateY, .rotate, .brightness, .saturation, .contrast,
      .sharpness:
      true
    case .none, .posterize, .solarize, .autocontrast, .equalize: false
    }
  }

  /// The strength `magnitude` of `TrivialAugmentWide`.
  func wide(_ magnitude: Int, isNegative: Bool) -> Strength {
    let share = Double(magnitude) / Double(Self.magnitudes - 1)
    let amount: Double =
      switch self {
      case .none, .autocontrast, .equalize: 0
      case .shearX, .shearY, .brightness, .saturation, .contrast, .sharpness: 0.99 * share
      case .translateX, .translateY: (32 * share).rounded(.towardZero)
      case .rotate: 135 * share
      case .posterize: 8 - (6 * share).rounded(.toNearestOrEven)
      case .solarize: 255 * (1 - share)
      }
    return Strength(change: self, amount: hasSign && isNegative ? -amount : amount)
  }

  /// The strength `magnitude` of `RandAugment`, for a picture of this size.
  func usual(_ magnitude: Int, isNegative: Bool, size: PictureSize) -> Strength {
    let share = Double(magnitude) / Double(Self.magnitudes - 1)
    let amount: Double =
      switch self {
      case .none, .autocontrast, .equalize: 0
      case .shearX, .shearY: 0.3 * share
      case .translateX: (150.0 / 331 * Double(size.width) * share).rounded(.towardZero)
      case .translateY: (150.0 / 331 * Double(size.height) * share).rounded(.towardZero)
      case .rotate: 30 * share
      case .brightness, .saturation, .contrast, .sharpness: 0.9 * share
      case .posterize: 8 - (4 * share).rounded(.toNearestOrEven)
      case .solarize: 255 * (1 - share)
      }
    return Strength(change: self, amount: hasSign && isNegative ? -amount : amount)
  }
}

extension PictureChange.Strength {
  /// The changed picture.
  func applied(to picture: Picture) -> Picture {
    switch change {
    case .none: picture
    // As torchvision has them: turns about the middle, shears about the upper left corner.
    case .shearX: picture.warped(.shear(x: amount, y: 0, picture.size))
    case .shearY: picture.warped(.shear(x: 0, y: amount, picture.size))
    case .translateX: picture.warped(Warp(x0: -amount))
    case .translateY: picture.warped(Warp(y0: -amount))
    case .rotate: picture.warped(.rotation(degrees: amount))
    case .brightness: picture.brightness(1 + amount)
    case .saturation: picture.saturation(1 + amount)
    case .contrast: picture.contrast(1 + amount)
    case .sharpness: picture.sharpness(1 + amount)
    case .posterize: picture.posterized(bits: Int(amount))
    case .solarize: picture.solarized(from: amount)
    case .autocontrast: picture.autocontrasted
    case .equalize: picture.equalized
    }
  }
}
