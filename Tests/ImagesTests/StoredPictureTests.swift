import ABNTensors
import ABNTestSupport
import Testing

@testable import ABNImages

/// Samples as they are stored, and pictures whose bytes are numbers of colours.
@Suite struct StoredPictureTests {
  private func stored(_ bytes: [UInt8]) throws -> StoredPicture {
    try bytes.withUnsafeBytes { try StoredPicture($0, path: "some/x.jpg") }
  }

  @Test(arguments: [1, 2, 4, 8])
  func everyDepthIsItsNumbers(depth: Int) throws {
    let samples = (0..<7).map { $0 * 37 % (1 << depth) }
    var bits = samples.flatMap { sample in (0..<depth).reversed().map { sample >> $0 & 1 } }
    while bits.count % 8 != 0 { bits.append(0) }
    let row = stride(from: 0, to: bits.count, by: 8).map { start in
      UInt8(bits[start..<start + 8].reduce(0) { $0 << 1 | $1 })
    }
    for colour in [0, 3] {
      var png = HandMadePNG(width: 7, height: 1, depth: depth, colour: colour, rows: [row])
      let palette = (0..<3 << depth).map { UInt8(truncatingIfNeeded: $0 * 5 + 1) }
      if colour == 3 { png.chunks = [("PLTE", palette), ("tRNS", [0, 51])] }
      let found = try stored(png.bytes)
      #expect(found.picture.pixels == samples.map { UInt8($0) } && found.picture.channels == 1)
      #expect(found.palette == (colour == 3 ? palette : nil))
    }
  }

  @Test func interlacedRows() throws {
    let png = HandMadePNG(
      width: 3, height: 2, depth: 8, colour: 3, isInterlaced: true,
      chunks: [("PLTE", [UInt8](repeating: 9, count: 180))],
      rows: [[10], [30], [20], [40, 50, 55]])
    #expect(try stored(png.bytes).picture.pixels == [10, 20, 30, 40, 50, 55])
  }

  @Test func coloursWithoutTheirAlpha() throws {
    let png = HandMadePNG(
      width: 2, height: 1, depth: 8, colour: 6, rows: [[1, 2, 3, 0, 4, 5, 6, 99]])
    let found = try stored(png.bytes)
    #expect(found.picture.pixels == [1, 2, 3, 4, 5, 6] && found.palette == nil)
  }

  @Test func whatIsNoNumberOfAByteIsRefused() throws {
    for (depth, colour, row) in [(16, 0, [UInt8](repeating: 1, count: 2)), (8, 4, [1, 2])] {
      let png = HandMadePNG(width: 1, height: 1, depth: depth, colour: colour, rows: [row])
      expectPictureError { _ = try stored(png.bytes) }
    }
    let whole = try smoothPicture(9, 9, channels: 1).encodedPNG()
    expectPictureError { _ = try stored(Array(whole.dropLast(30))) }
    expectPictureError { _ = try stored(try smoothPicture(9, 9, channels: 3).encodedJPEG()) }
    expectPictureError { _ = try stored([]) }
  }

  @Test func palettesComeBackAsTheyWere() throws {
    let palette: [UInt8] = [1, 2, 3, 100, 150, 200, 7, 8, 9, 0, 0, 0]
    let picture = Picture(
      size: PictureSize(height: 5, width: 7), channels: 1,
      bytes: randomBytes(35, seed: 4).map { $0 % 4 })
    let bytes = try picture.encodedPNG(palette: palette)
    let found = try stored(bytes)
    #expect(found.picture == picture && found.palette == palette)
    // Others see its colours.
    #expect(
      try decoded(bytes).pixels
        == picture.pixels.flatMap { palette[3 * Int($0)..<3 * Int($0) + 3] })
    #expect(throws: ABNError.self) { _ = try picture.encodedPNG(palette: []) }
  }

  /// The definition, place by place; of a part the same as of the whole.
  @Test(arguments: [(3, 5), (7, 4), (20, 33), (1, 1)])
  func nearestPixels(height: Int, width: Int) throws {
    let picture = Picture(
      size: PictureSize(height: 7, width: 5), channels: 1, bytes: randomBytes(35, seed: 2))
    let size = PictureSize(height: height, width: width)
    let found = picture.nearest(to: size)
    for row in 0..<height {
      for column in 0..<width {
        let y = Int(((Double(row) + 0.5) * 7 / Double(height)).rounded(.down))
        let x = Int(((Double(column) + 0.5) * 5 / Double(width)).rounded(.down))
        #expect(found[row, column] == picture[y, x])
      }
    }
    let part = PictureRegion(
      top: height / 2, left: width / 3,
      size: PictureSize(height: height - height / 2, width: width - width / 3))
    #expect(picture.nearest(to: size, part: part) == found.cut(part))
  }
}
