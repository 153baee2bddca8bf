import ABNFormats
import ABNTensors
import CJPEG
import CPNG

/// The kinds of pictures that are read.
package enum PictureFormat: String, Sendable, Codable {
  case jpeg = "JPEG"
  case png = "PNG"
}

/// What a picture's file says before its pixels.
package struct PictureHeader: Sendable, Hashable {
  package let format: PictureFormat
  /// As stored, before it is turned upright.
  package let storedSize: PictureSize
  /// Stored bytes of a pixel: 1 grey, 2 with alpha, 3 colours, 4 with alpha (PNG) or ink (JPEG).
  package let storedChannels: Int
  package let orientation: Orientation

  /// The size of the picture upright.
  package var size: PictureSize {
    orientation.swapsSides
      ? PictureSize(height: storedSize.width, width: storedSize.height) : storedSize
  }
}

/// How far the readers of pictures go, and to what.
package struct DecodingOptions: Sendable, Hashable {
  /// The channels of the result: 1, 3, or nil for grey pictures in one and all others in three.
  package var channels: Int?
  /// JPEG pictures are decoded at a half, a quarter or an eighth of their size where the shorter
  /// side of the result is at least this long; nil: at their whole size.
  package var leastShorterSide: Int?
  /// The most pixels of a picture that is decoded: a file of few bytes may ask for any number.
  package var mostPixels = 1 << 27

  package init(channels: Int? = 3, leastShorterSide: Int? = nil) {
    self.channels = channels
    self.leastShorterSide = leastShorterSide
  }

  /// What a JPEG's sides are divided by: a power of 2 up to 8.
  func denominator(for size: PictureSize) -> Int {
    guard let least = leastShorterSide else { return 1 }
    return [8, 4, 2].first { size.shorterSide / $0 >= least } ?? 1
  }
}

extension Picture {
  /// The most bytes of a picture's file.
  package static let mostFileBytes = 1 << 29

  /// Reads a JPEG or PNG file: see `init(decoding:path:options:)`.
  ///
  /// - Throws: `ABNError(.file)` with the path for what cannot be read or is no whole picture.
  package static func read(
    _ path: String, options: DecodingOptions = DecodingOptions()
  ) throws -> Picture {
    try readWithHeader(path, options: options).picture
  }

  /// The same, and what the file says before its pixels.
  package static func readWithHeader(
    _ path: String, options: DecodingOptions = DecodingOptions()
  ) throws -> (picture: Picture, header: PictureHeader) {
    try fileBytes(path).withUnsafeBytes { bytes in
      let header = try PictureHeader(bytes, path: path)
      return (try Picture(decoding: bytes, header, path: path, options: options), header)
    }
  }

  /// The header of a JPEG or PNG file.
  ///
  /// - Throws: as `read`.
  package static func readHeader(_ path: String) throws -> PictureHeader {
    try fileBytes(path).withUnsafeBytes { try PictureHeader($0, path: path) }
  }

  static func fileBytes(_ path: String) throws -> [UInt8] {
    let source = try ByteSource(path: path, kind: "picture")
    guard source.byteCount <= mostFileBytes else {
      throw pictureError(
        path, got: describeBytes(source.byteCount),
        wanted: "at most \(describeBytes(mostFileBytes))")
    }
    return try source.bytes(at: 0, count: source.byteCount)
  }

  /// Decodes a JPEG or PNG picture: upright, without alpha (upon white), 8 bits a channel; palettes
  /// and ink (CMYK) become colours, colour profiles are passed over. Which of the two it is, the
  /// bytes say.
  ///
  /// - Parameter path: what the picture is called, for errors.
  /// - Throws: `ABNError(.file)` for bytes that are no such picture, that end early or are damaged,
  ///   and for a picture of more than `options.mostPixels`.
  package init(
    decoding bytes: UnsafeRawBufferPointer, path: String,
    options: DecodingOptions = DecodingOptions()
  ) throws {
    try self.init(
      decoding: bytes, PictureHeader(bytes, path: path), path: path, options: options)
  }

  private init(
    decoding bytes: UnsafeRawBufferPointer, _ header: PictureHeader, path: String,
    options: DecodingOptions
  ) throws {
    let stored = header.storedSize
    guard stored.height * stored.width <= options.mostPixels else {
      throw pictureError(
        path, got: "\(stored) pixels", wanted: "at most \(options.mostPixels) pixels",
        fix: "Make the picture smaller.")
    }
    let picture =
      switch header.format {
      case .jpeg: try Self.decodeJPEG(bytes, header, path, options)
      case .png: try Self.decodePNG(bytes, header, path)
      }
    let upright = picture.upright(from: header.orientation)
    self = options.channels.map { upright.converted(toChannels: $0) } ?? upright
  }

  private static func decodeJPEG(
    _ bytes: UnsafeRawBufferPointer, _ header: PictureHeader, _ path: String,
    _ options: DecodingOptions
  ) throws -> Picture {
    let stored = header.storedSize
    let denominator = options.denominator(for: stored)
    let size = PictureSize(
      height: (stored.height + denominator - 1) / denominator,
      width: (stored.width + denominator - 1) / denominator)
    var said = abn_jpeg_header(
      width: UInt32(stored.width), height: UInt32(stored.height),
      channels: UInt32(header.storedChannels))
    func decode(_ to: UnsafeMutableBufferPointer<UInt8>) throws {
      try withMessage(Int(ABN_JPEG_MESSAGE_BYTES), path, .jpeg) { message in
        abn_jpeg_decode(
          bytes.bindMemory(to: UInt8.self).baseAddress, bytes.count, &said, UInt32(denominator),
          to.baseAddress, to.count, message)
      }
    }
    guard header.storedChannels == 4 else {
      return try Picture(size: size, channels: header.storedChannels, fill: decode)
    }
    let ink = try Picture(size: size, channels: 4, fill: decode)
    return ink.withPixels { fromInvertedInk(size, $0) }
  }

  private static func decodePNG(
    _ bytes: UnsafeRawBufferPointer, _ header: PictureHeader, _ path: String
  ) throws -> Picture {
    let size = header.storedSize
    var said = abn_png_header(
      width: UInt32(size.width), height: UInt32(size.height),
      channels: UInt32(header.storedChannels))
    let picture = try Picture(size: size, channels: header.storedChannels) { to in
      try withMessage(Int(ABN_PNG_MESSAGE_BYTES), path, .png) { message in
        abn_png_decode(
          bytes.bindMemory(to: UInt8.self).baseAddress, bytes.count, &said, to.baseAddress,
          to.count, message)
      }
    }
    guard header.storedChannels % 2 == 0 else { return picture }
    return picture.withPixels { uponWhite(size, channels: header.storedChannels, $0) }
  }
}

extension PictureHeader {
  /// Reads the header in a picture's bytes.
  ///
  /// - Throws: `ABNError(.file)` for bytes that are neither JPEG nor PNG, or whose header is
  ///   damaged.
  package init(_ bytes: UnsafeRawBufferPointer, path: String) throws {
    let start = bytes.bindMemory(to: UInt8.self).baseAddress
    if bytes.starts(with: [0xff, 0xd8, 0xff] as [UInt8]) {
      var header = abn_jpeg_header()
      try withMessage(Int(ABN_JPEG_MESSAGE_BYTES), path, .jpeg) {
        abn_jpeg_probe(start, bytes.count, &header, $0)
      }
      self.init(
        format: .jpeg,
        storedSize: PictureSize(height: Int(header.height), width: Int(header.width)),
        storedChannels: Int(header.channels), orientation: .ofJPEG(bytes))
    } else if bytes.starts(with: [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a] as [UInt8]) {
      var header = abn_png_header()
      try withMessage(Int(ABN_PNG_MESSAGE_BYTES), path, .png) {
        abn_png_probe(start, bytes.count, &header, $0)
      }
      self.init(
        format: .png,
        storedSize: PictureSize(height: Int(header.height), width: Int(header.width)),
        storedChannels: Int(header.channels), orientation: .ofPNG(bytes))
    } else {
      throw pictureError(path, got: otherFormat(bytes), wanted: "a JPEG or PNG picture")
    }
  }
}

/// What bytes are that are no picture.
private func otherFormat(_ bytes: UnsafeRawBufferPointer) -> String {
  if bytes.isEmpty { return "an empty file" }
  func has(_ text: String, at place: Int = 0) -> Bool {
    bytes.dropFirst(place).starts(with: text.utf8)
  }
  if has("GIF8") { return "a GIF picture" }
  if has("BM") { return "a BMP picture" }
  if has("RIFF"), has("WEBP", at: 8) { return "a WebP picture" }
  if has("II*\0") || has("MM\0*") { return "a TIFF picture" }
  if has("ftyp", at: 4) { return "a HEIF or AVIF picture, or a film" }
  let start = bytes.prefix(16)
  if start.allSatisfy({ (0x20..<0x7f).contains($0) || (0x09...0x0d).contains($0) }) {
    return "text that begins with \(quoted(String(decoding: start, as: UTF8.self)))"
  }
  return
    "bytes that begin with \(start.prefix(4).map { String($0, radix: 16) }.joined(separator: " "))"
}

func pictureError(_ path: String, got: String, wanted: String, fix: String = "") -> ABNError {
  ABNError(.file, "picture \(quoted(path))", got: got, wanted: wanted, fix: fix)
}

/// Calls a function of a library that gives 0 or writes a reason.
func withMessage(
  _ count: Int, _ path: String, _ format: PictureFormat,
  _ body: (UnsafeMutablePointer<CChar>) -> Int32
) throws {
  try withUnsafeTemporaryAllocation(of: CChar.self, capacity: count) { message in
    message.initialize(repeating: 0)
    guard body(message.baseAddress!) != 0 else { return }
    throw pictureError(
      path,
      got: "\(format.rawValue) data with this fault: \(String(cString: message.baseAddress!))",
      wanted: "a whole picture", fix: "The file is cut off or damaged.")
  }
}
