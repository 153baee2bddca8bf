// The changes of Pillow's ImageEnhance and ImageOps, which torchvision's policies are made of.

extension Picture {
  /// Every byte b becomes `table[c][b]`; one table serves all channels.
  private func mapped(_ tables: [[UInt8]]) -> Picture {
    var changed = self
    let channels = channels
    let flat = tables.flatMap { $0 }
    let isShared = tables.count == 1
    changed.withMutablePixels { pixels in
      flat.withUnsafeBufferPointer { table in
        if isShared {
          for i in pixels.indices { pixels[i] = table[Int(pixels[i])] }
        } else {
          for start in stride(from: 0, to: pixels.count, by: channels) {
            for c in 0..<channels {
              pixels[start + c] = table[256 * c + Int(pixels[start + c])]
            }
          }
        }
      }
    }
    return changed
  }

  /// a + factor (b - a), from 0 to 255, rounded down as Pillow's `Image.blend` does.
  private static func blend(_ a: UInt8, _ b: UInt8, _ factor: Float) -> UInt8 {
    UInt8(min(max(Float(a) + factor * (Float(b) - Float(a)), 0), 255))
  }

  /// Bytes times a factor; 0 is black.
  package func brightness(_ factor: Double) -> Picture {
    mapped([(0..<256).map { Self.blend(0, UInt8($0), Float(factor)) }])
  }

  /// Distances from the mean luma times a factor; 0 is an even grey.
  package func contrast(_ factor: Double) -> Picture {
    let count = width * height
    let sum = withPixels { pixels in
      (0..<count).reduce(0) { sum, i in
        sum
          + Int(
            channels == 3
              ? luma(pixels[3 * i], pixels[3 * i + 1], pixels[3 * i + 2]) : pixels[i * channels])
      }
    }
    let mean = UInt8((Double(sum) / Double(max(count, 1)) + 0.5).rounded(.down))
    return mapped([(0..<256).map { Self.blend(mean, UInt8($0), Float(factor)) }])
  }

  /// Distances from a pixel's own luma times a factor; 0 is grey. A picture in grey stays.
  package func saturation(_ factor: Double) -> Picture {
    guard channels == 3 else { return self }
    var changed = self
    changed.withMutablePixels { pixels in
      for start in stride(from: 0, to: pixels.count, by: 3) {
        let grey = luma(pixels[start], pixels[start + 1], pixels[start + 2])
        for c in 0..<3 {
          pixels[start + c] = Self.blend(grey, pixels[start + c], Float(factor))
        }
      }
    }
    return changed
  }

  /// Distances from a smoothed picture times a factor: 0 is smooth, 2 is sharp. The smooth one is
  /// the mean of 3 x 3 pixels, the middle one five times; the pixels of the edge stay.
  package func sharpness(_ factor: Double) -> Picture {
    guard width > 2, height > 2 else { return self }
    var changed = self
    let pitch = width * channels
    changed.withMutablePixels { to in
      withPixels { from in
        for row in 1..<height - 1 {
          for i in row * pitch + channels..<(row + 1) * pitch - channels {
            var sum = 4 * Int(from[i])
            for line in [i - pitch, i, i + pitch] {
              sum += Int(from[line - channels]) + Int(from[line]) + Int(from[line + channels])
            }
            to[i] = Self.blend(UInt8((sum + 6) / 13), from[i], Float(factor))
          }
        }
      }
    }
    return changed
  }

  /// The upper `bits` bits of each byte.
  package func posterized(bits: Int) -> Picture {
    let mask = UInt8(truncatingIfNeeded: 0xff << (8 - min(max(bits, 0), 8)))
    return mapped([(0..<256).map { UInt8($0) & mask }])
  }

  /// Bytes from a threshold on are inverted.
  package func solarized(from threshold: Double) -> Picture {
    mapped([(0..<256).map { Double($0) < threshold ? UInt8($0) : UInt8(255 - $0) }])
  }

  /// How often each byte is in each channel.
  private var histograms: [[Int]] {
    var counts = [Int](repeating: 0, count: 256 * channels)
    withPixels { pixels in
      counts.withUnsafeMutableBufferPointer { counts in
        for start in stride(from: 0, to: pixels.count, by: channels) {
          for c in 0..<channels { counts[256 * c + Int(pixels[start + c])] += 1 }
        }
      }
    }
    return (0..<channels).map { Array(counts[256 * $0..<256 * ($0 + 1)]) }
  }

  /// The bytes of each channel stretched from their least and largest to 0...255.
  package var autocontrasted: Picture {
    mapped(
      histograms.map { counts in
        guard let low = counts.firstIndex(where: { $0 > 0 }),
          let high = counts.lastIndex(where: { $0 > 0 }), high > low
        else { return (0..<256).map { UInt8($0) } }
        let scale = 255 / Double(high - low)
        return (0..<256).map { UInt8(min(max((Double($0) - Double(low)) * scale, 0), 255)) }
      })
  }

  /// Each channel with every byte about equally often, by Pillow's `ImageOps.equalize`.
  package var equalized: Picture {
    mapped(
      histograms.map { counts in
        let present = counts.filter { $0 > 0 }
        let step = (present.reduce(0, +) - (present.last ?? 0)) / 255
        guard present.count > 1, step > 0 else { return (0..<256).map { UInt8($0) } }
        var sum = step / 2
        return counts.map { count in
          defer { sum += count }
          return UInt8(min(sum / step, 255))
        }
      })
  }

  /// The hue turned by a share of the circle of colours, -0.5...0.5. A picture in grey stays.
  package func hue(_ turn: Double) -> Picture {
    guard channels == 3 else { return self }
    var changed = self
    changed.withMutablePixels { pixels in
      for start in stride(from: 0, to: pixels.count, by: 3) {
        let (r, g, b) = (
          Float(pixels[start]), Float(pixels[start + 1]), Float(pixels[start + 2])
        )
        let (high, low) = (max(r, g, b), min(r, g, b))
        let spread = high - low
        guard spread > 0 else { continue }
        // Sixths of the circle, from red.
        var hue: Float
        if high == r {
          hue = (g - b) / spread
        } else if high == g {
          hue = (b - r) / spread + 2
        } else {
          hue = (r - g) / spread + 4
        }
        hue += 6 * Float(turn) + 12
        // A channel is `high` where the hue is within a sixth, `low` beyond two, and linear
        // between.
        func channel(_ middle: Float) -> UInt8 {
          var distance = (hue - middle).truncatingRemainder(dividingBy: 6)
          distance = min(distance, 6 - distance)
          return UInt8(high - spread * min(max(distance - 1, 0), 1) + 0.5)
        }
        (pixels[start], pixels[start + 1], pixels[start + 2]) = (
          channel(0), channel(2), channel(4)
        )
      }
    }
    return changed
  }
}
