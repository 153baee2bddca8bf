import ABNImages
import ABNTensors

extension PixelClasses {
  /// Classes that nobody has named; nil for more than there may be.
  package init?(numbered count: Int) {
    self.init(text: (0..<count).map { "\($0): \($0)\n" }.joined())
  }

  /// The bytes of a PNG file with the numbers that masks of the data hold for these classes, their
  /// colours as its palette.
  package func encodedMask(_ classes: Picture) throws -> [UInt8] {
    let values = (0..<count).map { UInt8(value(of: $0)) }
    var palette = [UInt8](repeating: 0, count: 3 * (Int(values.max() ?? 0) + 1))
    for (number, value) in values.enumerated() {
      for channel in 0..<3 { palette[3 * Int(value) + channel] = colours[number][channel] }
    }
    let stored = Picture(size: classes.size, channels: 1) { to in
      classes.withPixels { from in for i in 0..<from.count { to[i] = values[Int(from[i])] } }
    }
    return try stored.encodedPNG(palette: palette)
  }

  /// A picture with the colours of its pixels' classes upon it; where they do not count it stays.
  ///
  /// - Parameter share: of the classes' colours, 0...1.
  package func overlay(_ classes: Picture, upon picture: Picture, share: Double = 0.5) -> Picture {
    precondition(classes.size == picture.size)
    let weight = Int((min(max(share, 0), 1) * 256).rounded())
    var drawn = picture.converted(toChannels: 3)
    drawn.withMutablePixels { to in
      classes.withPixels { classes in
        for i in 0..<classes.count where Int(classes[i]) < colours.count {
          let colour = colours[Int(classes[i])]
          for channel in 0..<3 {
            let mixed =
              Int(to[3 * i + channel]) * (256 - weight) + Int(colour[channel]) * weight
            to[3 * i + channel] = UInt8((mixed + 128) >> 8)
          }
        }
      }
    }
    return drawn
  }
}

extension Picture {
  /// The classes of one picture of a batch, as `PixelClasses` has them in bytes.
  ///
  /// - Parameter labels: int64 [B, 1, H, W].
  package init(classes labels: Tensor, of index: Int) {
    let size = PictureSize(height: labels.shape[2], width: labels.shape[3])
    let plane = size.height * size.width
    self.init(size: size, channels: 1) { to in
      labels.withUnsafeBytes { bytes in
        let numbers = bytes.bindMemory(to: Int64.self)
        for i in 0..<plane { to[i] = UInt8(truncatingIfNeeded: numbers[index * plane + i]) }
      }
    }
  }
}
