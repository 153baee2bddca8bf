extension Picture {
  /// The picture in grey (1) or in red, green and blue (3).
  ///
  /// Grey is (19595 R + 38470 G + 7471 B + 32768) / 65536, the luma of ITU-R 601 as Pillow rounds
  /// it.
  ///
  /// - Precondition: the picture has one or three channels.
  package func converted(toChannels wanted: Int) -> Picture {
    if wanted == channels { return self }
    precondition(wanted == 1 && channels == 3 || wanted == 3 && channels == 1)
    let count = width * height
    return Picture(size: size, channels: wanted) { to in
      withPixels { from in
        if wanted == 3 {
          for i in 0..<count {
            (to[3 * i], to[3 * i + 1], to[3 * i + 2]) = (from[i], from[i], from[i])
          }
        } else {
          for i in 0..<count { to[i] = luma(from[3 * i], from[3 * i + 1], from[3 * i + 2]) }
        }
      }
    }
  }

  /// The colours of a picture of four channels of inverted ink (255 is none): each times black,
  /// over 255.
  static func fromInvertedInk(_ size: PictureSize, _ ink: UnsafeBufferPointer<UInt8>) -> Picture {
    Picture(size: size, channels: 3) { to in
      for i in 0..<size.height * size.width {
        let black = Int(ink[4 * i + 3])
        for channel in 0..<3 {
          to[3 * i + channel] = dividedBy255(Int(ink[4 * i + channel]) * black)
        }
      }
    }
  }

  /// The colours of a picture whose last channel is alpha (255 covers), upon white.
  static func uponWhite(
    _ size: PictureSize, channels: Int, _ from: UnsafeBufferPointer<UInt8>
  ) -> Picture {
    let colours = channels - 1
    return Picture(size: size, channels: colours) { to in
      for i in 0..<size.height * size.width {
        let alpha = Int(from[i * channels + colours])
        for c in 0..<colours {
          to[i * colours + c] = dividedBy255(
            Int(from[i * channels + c]) * alpha + 255 * (255 - alpha))
        }
      }
    }
  }
}

/// The luma of a colour: see `converted(toChannels:)`.
@inline(__always)
func luma(_ red: UInt8, _ green: UInt8, _ blue: UInt8) -> UInt8 {
  UInt8(
    truncatingIfNeeded: (Int(red) * 19595 + Int(green) * 38470 + Int(blue) * 7471 + 0x8000) >> 16)
}

/// A product of two bytes over 255, rounded to the nearest.
@inline(__always)
private func dividedBy255(_ product: Int) -> UInt8 {
  UInt8(truncatingIfNeeded: (product + 127) / 255)
}
