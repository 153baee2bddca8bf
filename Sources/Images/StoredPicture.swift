import ABNTensors
import CPNG

/// The samples of a PNG file as they are stored: numbers of a palette are not made colours, and 1,
/// 2 and 4 bits are not stretched to 8. Files of masks hold classes in this way.
package struct StoredPicture: Sendable {
  /// The samples: of one channel, or of three where they are colours.
  package let picture: Picture
  /// Red, green and blue of each number of the palette; nil where there is none.
  package let palette: [UInt8]?

  /// Reads a PNG file.
  ///
  /// - Throws: `ABNError(.file)` with the path for what is no whole PNG picture, for samples of 16
  ///   bits, and for grey ones with alpha.
  package static func read(_ path: String) throws -> StoredPicture {
    try Picture.fileBytes(path).withUnsafeBytes { try StoredPicture($0, path: path) }
  }

  /// Decodes a PNG.
  ///
  /// - Parameters:
  ///   - path: what the picture is called, for errors.
  ///   - mostPixels: of a picture that is decoded: a file of few bytes may ask for any number.
  /// - Throws: as `read`.
  package init(
    _ bytes: UnsafeRawBufferPointer, path: String,
    mostPixels: Int = DecodingOptions().mostPixels
  ) throws {
    let format = try PictureHeader(bytes, path: path).format
    guard format == .png else {
      throw pictureError(
        path, got: "a \(format.rawValue) picture", wanted: "PNG, which keeps each number as it is")
    }
    let start = bytes.bindMemory(to: UInt8.self).baseAddress
    var header = abn_png_stored_header()
    try withMessage(Int(ABN_PNG_MESSAGE_BYTES), path, .png) {
      abn_png_probe_stored(start, bytes.count, &header, $0)
    }
    let kinds = [Int(ABN_PNG_GREY), Int(ABN_PNG_PALETTE), Int(ABN_PNG_COLOURS)]
    guard header.bits <= 8, kinds.contains(Int(header.kind)) else {
      throw pictureError(
        path, got: header.bits > 8 ? "\(header.bits) bits a sample" : "grey with alpha",
        wanted: "grey or colours of 8 bits, or a palette")
    }
    let size = PictureSize(height: Int(header.height), width: Int(header.width))
    guard size.height * size.width <= mostPixels else {
      throw pictureError(path, got: "\(size) pixels", wanted: "at most \(mostPixels) pixels")
    }
    let channels = Int(header.kind) == Int(ABN_PNG_COLOURS) ? 3 : 1
    picture = try Picture(size: size, channels: channels) { to in
      try withMessage(Int(ABN_PNG_MESSAGE_BYTES), path, .png) {
        abn_png_decode_stored(start, bytes.count, &header, to.baseAddress, to.count, $0)
      }
    }
    palette =
      Int(header.kind) == Int(ABN_PNG_PALETTE)
      ? withUnsafeBytes(of: header.colours) { Array($0.prefix(3 * Int(header.colour_count))) }
      : nil
  }
}

extension Picture {
  /// The picture at another size, each pixel the nearest one of this picture: of classes there is
  /// no mean.
  ///
  ///     result[y, x] = self[floor((y + 0.5) H / h), floor((x + 0.5) W / w)]
  ///
  /// - Parameters:
  ///   - size: h and w.
  ///   - part: what of the result is wanted, inside of it; nil: all of it.
  package func nearest(to size: PictureSize, part: PictureRegion? = nil) -> Picture {
    let part = part ?? PictureRegion(top: 0, left: 0, size: size)
    let columns = (part.left..<part.left + part.size.width).map {
      (2 * $0 + 1) * width / (2 * size.width)
    }
    return Picture(size: part.size, channels: channels) { to in
      withPixels { from in
        var target = 0
        for row in part.top..<part.top + part.size.height {
          let line = (2 * row + 1) * height / (2 * size.height) * width
          for column in columns {
            let source = (line + column) * channels
            for channel in 0..<channels { to[target + channel] = from[source + channel] }
            target += channels
          }
        }
      }
    }
  }
}
