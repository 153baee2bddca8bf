/// How a stored picture is to be turned to be seen upright: the numbers of EXIF's tag 274.
///
/// Source: CIPA DC-008, "Exchangeable image file format for digital still cameras: Exif 2.32",
/// 4.6.4.
package enum Orientation: Int, Sendable {
  case upright = 1
  case mirrored, turnedAround, flipped, transposed, turnedLeft, transversed, turnedRight

  /// Whether rows become columns.
  var swapsSides: Bool { rawValue >= 5 }
}

extension Picture {
  /// The picture as it is to be seen.
  package func upright(from orientation: Orientation) -> Picture {
    if orientation == .upright { return self }
    let (rows, columns) = orientation.swapsSides ? (width, height) : (height, width)
    let (lastRow, lastColumn) = (height - 1, width - 1)
    return Picture(size: .init(height: rows, width: columns), channels: channels) { to in
      withPixels { from in
        for row in 0..<rows {
          for column in 0..<columns {
            let (y, x) =
              switch orientation {
              case .upright: (row, column)
              case .mirrored: (row, lastColumn - column)
              case .turnedAround: (lastRow - row, lastColumn - column)
              case .flipped: (lastRow - row, column)
              case .transposed: (column, row)
              case .turnedLeft: (lastRow - column, row)
              case .transversed: (lastRow - column, lastColumn - row)
              case .turnedRight: (column, lastColumn - row)
              }
            let (source, target) = ((y * width + x) * channels, (row * columns + column) * channels)
            for channel in 0..<channels { to[target + channel] = from[source + channel] }
          }
        }
      }
    }
  }
}

extension Orientation {
  /// The orientation in a JPEG's EXIF segment; upright where there is none or it makes no sense.
  static func ofJPEG(_ bytes: UnsafeRawBufferPointer) -> Orientation {
    var place = 2
    // Segments: 0xFF, a mark, the length with its own two bytes. Pixels begin behind 0xDA.
    while place + 4 <= bytes.count, bytes[place] == 0xff {
      let mark = bytes[place + 1]
      if mark == 0xff {
        place += 1
        continue
      }
      if mark == 0xda || mark == 0xd9 { break }
      let length = Int(bytes[place + 2]) << 8 | Int(bytes[place + 3])
      let end = place + 2 + length
      guard length >= 2, end <= bytes.count else { break }
      let exif: [UInt8] = [0x45, 0x78, 0x69, 0x66, 0, 0]
      if mark == 0xe1, bytes[(place + 4)..<end].starts(with: exif) {
        return ofTIFF(UnsafeRawBufferPointer(rebasing: bytes[(place + 10)..<end]))
      }
      place = end
    }
    return .upright
  }

  /// The orientation in a PNG's `eXIf` chunk; upright where there is none or it makes no sense.
  static func ofPNG(_ bytes: UnsafeRawBufferPointer) -> Orientation {
    var place = 8
    // Chunks: a length, a name, the content, a checksum.
    while place + 12 <= bytes.count {
      let length = (0..<4).reduce(0) { $0 << 8 | Int(bytes[place + $1]) }
      let name = bytes[(place + 4)..<(place + 8)]
      guard length <= bytes.count - place - 12, !name.elementsEqual("IDAT".utf8) else { break }
      if name.elementsEqual("eXIf".utf8) {
        return ofTIFF(UnsafeRawBufferPointer(rebasing: bytes[(place + 8)..<(place + 8 + length)]))
      }
      place += 12 + length
    }
    return .upright
  }

  /// Tag 274 of the first directory of a TIFF structure.
  private static func ofTIFF(_ bytes: UnsafeRawBufferPointer) -> Orientation {
    guard bytes.count >= 8 else { return .upright }
    let isLittle: Bool
    switch (bytes[0], bytes[1]) {
    case (0x49, 0x49): isLittle = true
    case (0x4d, 0x4d): isLittle = false
    default: return .upright
    }
    func number(_ place: Int, _ count: Int) -> Int? {
      guard place >= 0, place <= bytes.count - count else { return nil }
      return (0..<count).reduce(0) {
        $0 << 8 | Int(bytes[place + (isLittle ? count - 1 - $1 : $1)])
      }
    }
    guard let directory = number(4, 4), let entries = number(directory, 2) else { return .upright }
    for entry in 0..<entries {
      let place = directory + 2 + 12 * entry
      guard let tag = number(place, 2), let value = number(place + 8, 2) else { break }
      if tag == 274 { return Orientation(rawValue: value) ?? .upright }
    }
    return .upright
  }
}
