#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

/// Where the pixel of row y and column x comes from, both counted from the middle of the picture:
/// (yy y + yx x + y0, xy y + xx x + x0).
package struct Warp: Sendable, Equatable {
  package var (yy, yx, y0) = (1.0, 0.0, 0.0)
  package var (xy, xx, x0) = (0.0, 1.0, 0.0)

  package init(
    yy: Double = 1, yx: Double = 0, y0: Double = 0, xy: Double = 0, xx: Double = 1, x0: Double = 0
  ) {
    (self.yy, self.yx, self.y0) = (yy, yx, y0)
    (self.xy, self.xx, self.x0) = (xy, xx, x0)
  }

  /// A turn about the middle, counterclockwise.
  package static func rotation(degrees: Double) -> Warp {
    let (sine, cosine) = (sin(degrees * .pi / 180), cos(degrees * .pi / 180))
    return Warp(yy: cosine, yx: sine, xy: -sine, xx: cosine)
  }

  /// Rows are moved left by x of their distance from the top, columns up by y of theirs from the
  /// left.
  package static func shear(x: Double, y: Double, _ size: PictureSize) -> Warp {
    // From the middle the corner is at (-H / 2, -W / 2).
    Warp(yx: y, y0: y * Double(size.width) / 2, xy: x, x0: x * Double(size.height) / 2)
  }
}

extension Picture {
  /// The picture with its pixels elsewhere; 0 for what comes from outside.
  ///
  /// - Parameter bilinear: the four pixels around a place, weighted by how near they are; else the
  ///   nearest one.
  package func warped(_ warp: Warp, bilinear: Bool = false) -> Picture {
    let (middleY, middleX) = (Double(height - 1) / 2, Double(width - 1) / 2)
    return Picture(size: size, channels: channels) { to in
      withPixels { from in
        for row in 0..<height {
          let y = Double(row) - middleY
          var target = row * width * channels
          for column in 0..<width {
            let x = Double(column) - middleX
            let sourceY = warp.yy * y + warp.yx * x + warp.y0 + middleY
            let sourceX = warp.xy * y + warp.xx * x + warp.x0 + middleX
            if bilinear {
              blend(from, sourceY, sourceX, to: to.baseAddress! + target)
            } else {
              let (nearY, nearX) = (
                Int((sourceY + 0.5).rounded(.down)), Int((sourceX + 0.5).rounded(.down))
              )
              let isInside = nearY >= 0 && nearY < height && nearX >= 0 && nearX < width
              let source = (nearY * width + nearX) * channels
              for channel in 0..<channels {
                to[target + channel] = isInside ? from[source + channel] : 0
              }
            }
            target += channels
          }
        }
      }
    }
  }

  private func blend(
    _ from: UnsafeBufferPointer<UInt8>, _ y: Double, _ x: Double, to: UnsafeMutablePointer<UInt8>
  ) {
    let (row, column) = (Int(y.rounded(.down)), Int(x.rounded(.down)))
    let (down, right) = (Float(y - Double(row)), Float(x - Double(column)))
    func value(_ row: Int, _ column: Int, _ channel: Int) -> Float {
      let isInside = row >= 0 && row < height && column >= 0 && column < width
      return isInside ? Float(from[(row * width + column) * channels + channel]) : 0
    }
    for channel in 0..<channels {
      let upper =
        value(row, column, channel) * (1 - right) + value(row, column + 1, channel) * right
      let lower =
        value(row + 1, column, channel) * (1 - right) + value(row + 1, column + 1, channel) * right
      to[channel] = UInt8(upper * (1 - down) + lower * down + 0.5)
    }
  }
}
