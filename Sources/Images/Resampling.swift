// Shapes: H rows, W columns, C channels of a picture.

/// Which pixels of a line make each pixel of a line of another length, and with which weights.
///
/// A pixel of the result covers `scale` = from / to pixels of the source. Its value is the mean
/// under a triangle around its middle that reaches as far as the neighbour's middle, but at least
/// to the next pixel:
///
///     centre = (i + 0.5) scale,  reach = max(scale, 1)
///     weight(j) = max(0, 1 - |j + 0.5 - centre| / reach), divided by the sum over the line
///
/// Source: Pillow's `Image.resize` with `BILINEAR`, which torchvision calls on pictures.
struct LineWeights {
  /// The first source pixel of each pixel of the result.
  var starts: [Int] = []
  /// The number of its source pixels.
  var counts: [Int] = []
  /// Its weights, `stride` numbers for each.
  var weights: [Float] = []
  let stride: Int

  /// - Parameter range: which pixels of the result are wanted.
  init(from: Int, to: Int, range: Range<Int>) {
    let scale = Double(from) / Double(to)
    let reach = max(scale, 1)
    stride = Int(reach.rounded(.up)) * 2 + 1
    weights.reserveCapacity(range.count * stride)
    starts.reserveCapacity(range.count)
    counts.reserveCapacity(range.count)
    // One array for all pixels of the line: each picture has several hundred.
    var values: [Double] = []
    values.reserveCapacity(stride)
    for i in range {
      let centre = (Double(i) + 0.5) * scale
      let first = max(0, Int(centre - reach + 0.5))
      let end = min(from, Int(centre + reach + 0.5))
      values.removeAll(keepingCapacity: true)
      var sum = 0.0
      for j in first..<end {
        let value = max(0, 1 - abs(Double(j) + 0.5 - centre) / reach)
        values.append(value)
        sum += value
      }
      starts.append(first)
      counts.append(values.count)
      for value in values { weights.append(Float(value / sum)) }
      for _ in values.count..<stride { weights.append(0) }
    }
  }
}

/// Added to a number in 0...255 it leaves the nearest whole number in the lower bits, as a float32
/// from 2^23 on has no fractions.
private let toWhole: Float = 0x1p23
/// Added before, it makes halves go up, as Pillow rounds them, and not to the even number.
private let upward: Float = 0x1p-12

extension Picture {
  /// A region of the picture at another size: bilinear, and the mean of what a pixel covers where
  /// it becomes smaller. Bytes are rounded to the nearest, after rows and after columns as Pillow
  /// does.
  ///
  /// - Parameters:
  ///   - region: nil: the whole picture.
  ///   - size: of the region in the result.
  ///   - part: what of the result is wanted; nil: all of it.
  package func resized(
    _ region: PictureRegion? = nil, to size: PictureSize, part: PictureRegion? = nil
  ) -> Picture {
    let region = region ?? PictureRegion(top: 0, left: 0, size: self.size)
    let part = part ?? PictureRegion(top: 0, left: 0, size: size)
    if region.size == size {
      return cut(
        PictureRegion(top: region.top + part.top, left: region.left + part.left, size: part.size))
    }
    let columns = LineWeights(
      from: region.size.width, to: size.width, range: part.left..<part.left + part.size.width)
    let rows = LineWeights(
      from: region.size.height, to: size.height, range: part.top..<part.top + part.size.height)
    let lineCount = part.size.width * channels
    // Source rows that are resampled already, as bytes in floats: row y in place y % ring.
    let ring = rows.stride
    return Picture(size: part.size, channels: channels) { to in
      withUnsafeTemporaryAllocation(of: Float.self, capacity: (ring + 1) * (lineCount + 4)) {
        lines in
        let pitch = lineCount + 4
        let sums = lines.baseAddress! + ring * pitch
        var done = 0
        bytes.withUnsafeBufferPointer { from in
          for row in 0..<part.size.height {
            let (first, count) = (rows.starts[row], rows.counts[row])
            for y in max(done, first)..<max(done, first + count) {
              let start = ((region.top + y) * width + region.left) * channels
              resampleLine(
                from.baseAddress! + start, to: lines.baseAddress! + y % ring * pitch, columns)
            }
            done = max(done, first + count)
            for k in 0..<count {
              addLine(
                lines.baseAddress! + (first + k) % ring * pitch,
                times: rows.weights[row * ring + k],
                to: sums, lineCount, isFirst: k == 0)
            }
            let target = to.baseAddress! + row * lineCount
            for i in 0..<lineCount {
              target[i] = UInt8(truncatingIfNeeded: (sums[i] + upward + toWhole).bitPattern)
            }
          }
        }
      }
    }
  }

  /// One row at its new length, rounded to whole numbers.
  private func resampleLine(
    _ from: UnsafePointer<UInt8>, to: UnsafeMutablePointer<Float>, _ line: LineWeights
  ) {
    line.weights.withUnsafeBufferPointer { weights in
      line.starts.withUnsafeBufferPointer { starts in
        line.counts.withUnsafeBufferPointer { counts in
          if channels == 3 {
            return resampleColours(from, to, starts, counts, weights, line.stride)
          }
          for i in starts.indices {
            for channel in 0..<channels {
              var sum = upward
              for k in 0..<counts[i] {
                sum +=
                  weights[i * line.stride + k]
                  * Float(from[(starts[i] + k) * channels + channel])
              }
              to[i * channels + channel] = sum + toWhole - toWhole
            }
          }
        }
      }
    }
  }
}

/// A row of three channels: the three bytes of a pixel, and one of the next, make one vector.
private func resampleColours(
  _ from: UnsafePointer<UInt8>, _ to: UnsafeMutablePointer<Float>,
  _ starts: UnsafeBufferPointer<Int>, _ counts: UnsafeBufferPointer<Int>,
  _ weights: UnsafeBufferPointer<Float>, _ stride: Int
) {
  for i in starts.indices {
    var sum = SIMD4<Float>(repeating: upward)
    let pixels = UnsafeRawPointer(from + 3 * starts[i])
    let row = weights.baseAddress! + i * stride
    for k in 0..<counts[i] {
      // A byte b in the lower bits of 2^23 is the number 2^23 + b.
      let pixel = pixels.loadUnaligned(fromByteOffset: 3 * k, as: SIMD4<UInt8>.self)
      let bits = SIMD4<UInt32>(truncatingIfNeeded: pixel) | SIMD4(repeating: toWhole.bitPattern)
      sum += (unsafeBitCast(bits, to: SIMD4<Float>.self) - toWhole) * row[k]
    }
    // The fourth number is overwritten by the next pixel.
    let whole = sum + toWhole - toWhole
    UnsafeMutableRawPointer(to + 3 * i).storeBytes(of: whole, as: SIMD4<Float>.self)
  }
}

/// to[i] = (isFirst ? 0 : to[i]) + from[i] weight.
private func addLine(
  _ from: UnsafePointer<Float>, times weight: Float, to: UnsafeMutablePointer<Float>, _ count: Int,
  isFirst: Bool
) {
  if isFirst {
    for i in 0..<count { to[i] = from[i] * weight }
  } else {
    for i in 0..<count { to[i] += from[i] * weight }
  }
}
