import ABNTestSupport
import Testing

@testable import ABNImages

@Suite struct PNGTests {
  private let size = PictureSize(height: 5, width: 7)

  @Test(arguments: 1...4)
  func comesBackAsItWas(channels: Int) throws {
    let picture = Picture(
      size: size, channels: channels, bytes: randomBytes(35 * channels, seed: UInt64(channels)))
    let bytes = try picture.encodedPNG()
    let header = try bytes.withUnsafeBytes { try PictureHeader($0, path: "x") }
    #expect(header.format == .png && header.size == size && header.storedChannels == channels)
    let found = try decoded(bytes)
    if channels % 2 == 1 {
      #expect(found == picture)
    } else {
      // Alpha is upon white.
      let colours = channels - 1
      #expect(found.channels == colours)
      for i in 0..<35 {
        let alpha = Int(picture.pixels[i * channels + colours])
        for c in 0..<colours {
          let value = Int(picture.pixels[i * channels + c]) * alpha + 255 * (255 - alpha)
          #expect(abs(Int(found.pixels[i * colours + c]) * 255 - value) <= 127)
        }
      }
    }
  }

  /// The same seven samples in every depth: 16 bits keep their upper byte, fewer bits become the nearest shares of 255.
  @Test func everyDepthOfGrey() throws {
    for depth in [1, 2, 4, 8, 16] {
      let most = depth == 16 ? 255 : (1 << depth) - 1
      let samples = (0..<7).map { $0 * 37 % (most + 1) }
      var row: [UInt8] = []
      if depth == 16 {
        // The lower byte equals the upper one: the value is v / 255 of 65535.
        row = samples.flatMap { [UInt8($0), UInt8($0)] }
      } else {
        var bits = samples.flatMap { sample in (0..<depth).reversed().map { sample >> $0 & 1 } }
        while bits.count % 8 != 0 { bits.append(0) }
        row = stride(from: 0, to: bits.count, by: 8).map { start in
          UInt8(bits[start..<start + 8].reduce(0) { $0 << 1 | $1 })
        }
      }
      let png = HandMadePNG(width: 7, height: 1, depth: depth, colour: 0, rows: [row])
      #expect(try decoded(png.bytes).pixels == samples.map { UInt8($0 * 255 / most) }, "\(depth)")
    }
  }

  @Test func paletteAndItsTransparency() throws {
    let palette: [UInt8] = [1, 2, 3, 100, 150, 200, 7, 8, 9]
    var png = HandMadePNG(
      width: 3, height: 1, depth: 8, colour: 3, chunks: [("PLTE", palette)], rows: [[2, 1, 0]])
    #expect(try decoded(png.bytes).pixels == [7, 8, 9, 100, 150, 200, 1, 2, 3])
    // Colour 0 is seen through, colour 1 by a fifth.
    png.chunks.append(("tRNS", [0, 51]))
    #expect(try decoded(png.bytes).pixels == [7, 8, 9, 224, 234, 244, 255, 255, 255])
    png.rows = [[2, 1, 3]]
    #expect(throws: Never.self) { _ = try decoded(png.bytes) }
  }

  @Test func sixteenBitsOfColour() throws {
    let png = HandMadePNG(
      width: 1, height: 1, depth: 16, colour: 2, rows: [[0x80, 0x80, 0x00, 0xff, 0xff, 0x00]])
    #expect(try decoded(png.bytes).pixels == [128, 1, 254])
  }

  /// Adam7: of 3 x 2 pixels the passes hold (0,0), then (0,2), then (0,1), then row 1.
  @Test func interlacedRows() throws {
    let png = HandMadePNG(
      width: 3, height: 2, depth: 8, colour: 0, isInterlaced: true,
      rows: [[10], [30], [20], [40, 50, 60]])
    #expect(try decoded(png.bytes).pixels == [10, 20, 30, 40, 50, 60])
  }

  @Test func orientationInItsChunk() throws {
    let tiff: [UInt8] =
      Array("MM\0*".utf8) + [0, 0, 0, 8, 0, 1, 1, 18, 0, 3, 0, 0, 0, 1, 0, 6, 0, 0]
    let png = HandMadePNG(
      width: 2, height: 1, depth: 8, colour: 0, chunks: [("eXIf", tiff)], rows: [[1, 2]])
    let found = try decoded(png.bytes)
    #expect(found.size == PictureSize(height: 2, width: 1) && found.pixels == [1, 2])
  }

  @Test func everyCutIsAnError() throws {
    let bytes = try smoothPicture(20, 15, channels: 3).encodedPNG()
    for count in 0..<bytes.count {
      expectPictureError { _ = try decoded(Array(bytes.prefix(count))) }
    }
  }

  /// A wrong checksum of anything that the picture needs is found; of a text it does not matter.
  @Test func wrongChecksumsAreErrors() throws {
    var png = HandMadePNG(
      width: 4, height: 4, depth: 8, colour: 2, chunks: [("tEXt", Array("a\0b".utf8))],
      rows: (0..<4).map { randomBytes(12, seed: UInt64($0)) })
    let good = png.bytes
    let wanted = try decoded(good)
    var place = 8
    var refused: [String] = []
    while place < good.count {
      let length = good[place..<place + 4].reduce(0) { $0 << 8 | Int($1) }
      let name = String(decoding: good[place + 4..<place + 8], as: UTF8.self)
      var bytes = good
      bytes[place + 8 + length] ^= 1
      if name == "tEXt" {
        #expect(try decoded(bytes) == wanted)
      } else {
        let error = expectPictureError { _ = try decoded(bytes) }
        if name == "IDAT" { #expect(error?.got.contains("CRC") == true) }
        refused.append(name)
      }
      place += 12 + length
    }
    #expect(refused == ["IHDR", "IDAT", "IEND"])
    png.chunks = []
    #expect(try decoded(png.bytes) == wanted)
  }

  @Test func sizesBeyondTheLimitAreErrors() throws {
    let png = HandMadePNG(width: 60000, height: 60000, depth: 1, colour: 0, rows: [[0]])
    let error = expectPictureError { _ = try decoded(png.bytes) }
    #expect(error?.got == "60000 x 60000 pixels")
    // The header alone makes no room for a row.
    let long = HandMadePNG(width: 1 << 30, height: 1, depth: 16, colour: 6, rows: [[0]])
    #expect(expectPictureError { _ = try decoded(long.bytes) }?.got == "1073741824 x 1 pixels")
  }
}
