// Shapes: H rows, W columns, C channels of a picture.

/// Height and width in pixels.
package struct PictureSize: Sendable, Hashable, Codable, CustomStringConvertible {
  package var height: Int
  package var width: Int

  package init(height: Int, width: Int) {
    self.height = height
    self.width = width
  }

  /// A square.
  package init(side: Int) { self.init(height: side, width: side) }

  /// The shorter of the two sides.
  package var shorterSide: Int { min(height, width) }

  /// As tools say it, width first: `500 x 343`.
  package var description: String { "\(width) x \(height)" }
}

/// A rectangle of a picture, in pixels from its upper left corner.
package struct PictureRegion: Sendable, Hashable {
  package var top: Int
  package var left: Int
  package var size: PictureSize

  package init(top: Int, left: Int, size: PictureSize) {
    self.top = top
    self.left = left
    self.size = size
  }
}

/// A picture in memory: uint8 [H, W, C], rows from the top, the channels of a pixel side by side.
///
/// One channel is grey, three are red, green and blue. Arrays in memory may have any other number;
/// nothing but cutting and resizing is known of these.
package struct Picture: Sendable, Hashable {
  package let size: PictureSize
  package let channels: Int
  /// The pixels, and `padding` more bytes, so that a pixel can be read four bytes at a time.
  package private(set) var bytes: [UInt8]

  /// The bytes behind the last pixel.
  static let padding = 4

  package var width: Int { size.width }
  package var height: Int { size.height }
  /// The bytes of the pixels.
  package var byteCount: Int { size.height * size.width * channels }

  /// A picture of the bytes that `fill` writes: H W C of them.
  package init(
    size: PictureSize, channels: Int, fill: (UnsafeMutableBufferPointer<UInt8>) throws -> Void
  ) rethrows {
    let count = size.height * size.width * channels
    self.size = size
    self.channels = channels
    bytes = try [UInt8](unsafeUninitializedCapacity: count + Self.padding) { buffer, filled in
      for i in count..<count + Self.padding { buffer[i] = 0 }
      try fill(UnsafeMutableBufferPointer(rebasing: buffer[..<count]))
      filled = count + Self.padding
    }
  }

  /// A picture of these bytes, H W C of them.
  package init(size: PictureSize, channels: Int, bytes: [UInt8]) {
    precondition(bytes.count == size.height * size.width * channels, "\(bytes.count) bytes")
    self.size = size
    self.channels = channels
    self.bytes = bytes + [UInt8](repeating: 0, count: Self.padding)
  }

  /// A picture of one colour.
  package init(size: PictureSize, colour: [UInt8]) {
    self.init(size: size, channels: colour.count) { to in
      for i in to.indices { to[i] = colour[i % colour.count] }
    }
  }

  /// The channels of a pixel.
  package subscript(row: Int, column: Int) -> [UInt8] {
    let start = (row * width + column) * channels
    return Array(bytes[start..<start + channels])
  }

  /// Calls `body` with the pixels.
  package func withPixels<R>(_ body: (UnsafeBufferPointer<UInt8>) throws -> R) rethrows -> R {
    try bytes.withUnsafeBufferPointer {
      try body(UnsafeBufferPointer(rebasing: $0[..<byteCount]))
    }
  }

  /// Calls `body` with the pixels, to be changed in their place.
  package mutating func withMutablePixels<R>(
    _ body: (UnsafeMutableBufferPointer<UInt8>) throws -> R
  ) rethrows -> R {
    let count = byteCount
    return try bytes.withUnsafeMutableBufferPointer {
      try body(UnsafeMutableBufferPointer(rebasing: $0[..<count]))
    }
  }

  /// The bytes of the pixels alone.
  package var pixels: [UInt8] { Array(bytes.dropLast(Self.padding)) }

  /// The part of the picture in a region; what of the region lies outside of the picture is 0.
  package func cut(_ region: PictureRegion) -> Picture {
    Picture(size: region.size, channels: channels) { to in
      to.initialize(repeating: 0)
      let columns = max(0, region.left)..<max(0, min(width, region.left + region.size.width))
      guard !columns.isEmpty else { return }
      withPixels { from in
        for row in 0..<region.size.height {
          let source = row + region.top
          guard source >= 0, source < height else { continue }
          let target = (row * region.size.width + columns.lowerBound - region.left) * channels
          let start = (source * width + columns.lowerBound) * channels
          let count = columns.count * channels
          to.baseAddress!.advanced(by: target)
            .update(from: from.baseAddress! + start, count: count)
        }
      }
    }
  }

  /// The picture mirrored left to right.
  package var mirrored: Picture {
    Picture(size: size, channels: channels) { to in
      withPixels { from in
        for row in 0..<height {
          for column in 0..<width {
            let source = (row * width + width - 1 - column) * channels
            let target = (row * width + column) * channels
            for channel in 0..<channels { to[target + channel] = from[source + channel] }
          }
        }
      }
    }
  }

  /// The picture laid upon another one, from a row and a column on; what stands out is cut off.
  package mutating func paste(_ other: Picture, top: Int, left: Int) {
    precondition(channels == other.channels)
    let rows = max(0, -top)..<max(0, min(other.height, height - top))
    let columns = max(0, -left)..<max(0, min(other.width, width - left))
    guard !rows.isEmpty, !columns.isEmpty else { return }
    let (width, channels) = (width, channels)
    withMutablePixels { to in
      other.withPixels { from in
        for row in rows where !columns.isEmpty {
          let target = ((row + top) * width + columns.lowerBound + left) * channels
          let start = (row * other.width + columns.lowerBound) * channels
          let count = columns.count * channels
          to.baseAddress!.advanced(by: target)
            .update(from: from.baseAddress! + start, count: count)
        }
      }
    }
  }
}
