// Shapes: C channels, H rows, W columns of a picture.

import ABNImages
import ABNTensors

extension BatchLoader {
  /// The part of a padded picture that is seen.
  struct Window: Equatable {
    var rows = 0
    var columns = 0
    var isMirrored = false
  }

  func window(of sample: Int, _ random: CounterRandom) -> Window {
    guard let augmentation = options.augmentation else { return Window() }
    let words = random.words(block: UInt64(sample))
    let padding = augmentation.cropPadding
    func shift(_ word: UInt32) -> Int {
      Int(word.multipliedFullWidth(by: UInt32(2 * padding + 1)).high) - padding
    }
    return Window(
      rows: shift(words[0]), columns: shift(words[1]),
      isMirrored: augmentation.flipsHorizontally && words[2] >> 31 == 1)
  }

  /// Writes a picture: out[c, y, x] = value[c][in[c, y + rows, x + columns]], x counted from the
  /// right where it is mirrored, and 0 for the byte outside of the picture.
  func write(
    _ from: UnsafeRawBufferPointer, to: UnsafeMutableBufferPointer<Float>, _ window: Window
  ) {
    let (channels, height, width) = (split.imageShape[0], split.imageShape[1], split.imageShape[2])
    values.withUnsafeBufferPointer { values in
      for channel in 0..<channels {
        let table = UnsafeBufferPointer(rebasing: values[channel * 256..<channel * 256 + 256])
        let plane = channel * height * width
        if window == Window() {
          for i in plane..<plane + height * width { to[i] = table[Int(from[i])] }
          continue
        }
        for y in 0..<height {
          let sourceRow = y + window.rows
          let row = plane + y * width
          guard sourceRow >= 0 && sourceRow < height else {
            for x in 0..<width { to[row + x] = table[0] }
            continue
          }
          let source = plane + sourceRow * width
          for x in 0..<width {
            let column = (window.isMirrored ? width - 1 - x : x) + window.columns
            let isInside = column >= 0 && column < width
            to[row + x] = isInside ? table[Int(from[source + column])] : table[0]
          }
        }
      }
    }
  }

  /// nil where pictures are not distorted.
  func distortion(of sample: Int, _ window: Window, _ random: CounterRandom) -> Warp? {
    guard let augmentation = options.augmentation, augmentation.distortion > 0 else { return nil }
    // Six numbers of two blocks that no window reads: there are fewer than 2^40 samples.
    let first = UInt64(sample) | 1 << 40
    let words = [random.words(block: first), random.words(block: first | 1 << 41)]
    func uniform(_ word: UInt32, _ limit: Double) -> Double {
      (Double(word) * 0x1p-31 - 1) * limit
    }
    let (size, shift) = (augmentation.distortion, Double(augmentation.cropPadding))
    let sign = window.isMirrored ? -1.0 : 1.0
    return Warp(
      yy: 1 + uniform(words[0][0], size), yx: sign * uniform(words[0][1], size),
      y0: uniform(words[1][0], shift),
      xy: uniform(words[0][2], size), xx: sign * (1 + uniform(words[0][3], size)),
      x0: uniform(words[1][1], shift))
  }

  /// Writes a picture: the four pixels around each place, weighted by how near they are; 0 for the
  /// byte outside of the picture.
  func write(
    _ from: UnsafeRawBufferPointer, to: UnsafeMutableBufferPointer<Float>, _ d: Warp
  ) {
    let (channels, height, width) = (split.imageShape[0], split.imageShape[1], split.imageShape[2])
    let (middleY, middleX) = (Double(height - 1) / 2, Double(width - 1) / 2)
    for y in 0..<height {
      for x in 0..<width {
        let (py, px) = (Double(y) - middleY, Double(x) - middleX)
        let sourceY = d.yy * py + d.yx * px + d.y0 + middleY
        let sourceX = d.xy * py + d.xx * px + d.x0 + middleX
        let (row, column) = (sourceY.rounded(.down), sourceX.rounded(.down))
        let (downShare, rightShare) = (Float(sourceY - row), Float(sourceX - column))
        for channel in 0..<channels {
          let plane = channel * height * width
          func value(_ row: Int, _ column: Int) -> Float {
            let isInside = (0..<height).contains(row) && (0..<width).contains(column)
            return values[channel * 256 + (isInside ? Int(from[plane + row * width + column]) : 0)]
          }
          let (r, c) = (Int(row), Int(column))
          let upper = value(r, c) * (1 - rightShare) + value(r, c + 1) * rightShare
          let lower = value(r + 1, c) * (1 - rightShare) + value(r + 1, c + 1) * rightShare
          to[plane + y * width + x] = upper * (1 - downShare) + lower * downShare
        }
      }
    }
  }
}
