import ABNTensors
import Testing

@testable import ABNImages

@Suite struct ResamplingTests {
  /// Rows and columns by the formula in float64, bytes rounded after each.
  private func reference(
    _ picture: Picture, _ region: PictureRegion, to size: PictureSize
  ) -> [UInt8] {
    func line(_ values: [Double], to count: Int) -> [Double] {
      let scale = Double(values.count) / Double(count)
      let reach = max(scale, 1)
      return (0..<count).map { i in
        let centre = (Double(i) + 0.5) * scale
        let weights = values.indices.map { max(0, 1 - abs(Double($0) + 0.5 - centre) / reach) }
        let sum = zip(values, weights).reduce(0) { $0 + $1.0 * $1.1 }
        return (sum / weights.reduce(0, +) + 0.5).rounded(.down)
      }
    }
    let channels = picture.channels
    var result = [UInt8](repeating: 0, count: size.height * size.width * channels)
    for channel in 0..<channels {
      let rows = (0..<region.size.height).map { y in
        line(
          (0..<region.size.width).map {
            Double(picture[y + region.top, $0 + region.left][channel])
          }, to: size.width)
      }
      for x in 0..<size.width {
        for (y, value) in line(rows.map { $0[x] }, to: size.height).enumerated() {
          result[(y * size.width + x) * channels + channel] = UInt8(value)
        }
      }
    }
    return result
  }

  @Test func isTheFormula() {
    var random = SequentialRandom(CounterRandom(seed: 3, stream: 9))
    for step in 0..<40 {
      func draw(_ range: ClosedRange<Int>) -> Int { Int.random(in: range, using: &random) }
      let (height, width, channels) = (draw(1...30), draw(1...30), draw(1...4))
      let picture = Picture(
        size: PictureSize(height: height, width: width), channels: channels,
        bytes: randomBytes(height * width * channels, seed: UInt64(step)))
      let (top, left) = (draw(0...height - 1), draw(0...width - 1))
      let region = PictureRegion(
        top: top, left: left,
        size: PictureSize(height: draw(1...height - top), width: draw(1...width - left)))
      let size = PictureSize(height: draw(1...40), width: draw(1...40))
      let found = picture.resized(region, to: size)
      let wanted = reference(picture, region, to: size)
      let far = zip(found.pixels, wanted).map { abs(Int($0) - Int($1)) }.max() ?? 0
      #expect(found.size == size && far <= 1, "\(height)x\(width)x\(channels) \(region) \(size)")
      // A part of the result is that part.
      let part = PictureRegion(
        top: size.height / 3, left: size.width / 2,
        size: PictureSize(
          height: size.height - size.height / 3, width: size.width - size.width / 2))
      #expect(picture.resized(region, to: size, part: part) == found.cut(part))
    }
  }

  @Test func cuttingAndPasting() {
    let picture = smoothPicture(6, 8, channels: 3)
    let cut = picture.cut(PictureRegion(top: -2, left: 5, size: PictureSize(height: 5, width: 6)))
    for row in 0..<5 {
      for column in 0..<6 {
        let isInside = row >= 2 && column < 3
        #expect(cut[row, column] == (isInside ? picture[row - 2, column + 5] : [0, 0, 0]))
      }
    }
    var sheet = Picture(size: PictureSize(height: 4, width: 4), colour: [1, 2, 3])
    sheet.paste(picture, top: 2, left: -7)
    #expect(sheet[2, 0] == picture[0, 7] && sheet[2, 1] == [1, 2, 3] && sheet[1, 0] == [1, 2, 3])
    #expect(picture.mirrored[3, 1] == picture[3, 6] && picture.mirrored.mirrored == picture)
  }

  @Test func hueTurnsRedToGreen() {
    let red = Picture(
      size: PictureSize(height: 1, width: 2), channels: 3, bytes: [200, 20, 20, 90, 90, 90])
    #expect(red.hue(1.0 / 3).pixels == [20, 200, 20, 90, 90, 90])
    #expect(red.hue(-1.0 / 3).pixels == [20, 20, 200, 90, 90, 90])
    #expect(red.hue(0.5).pixels == [20, 200, 200, 90, 90, 90])
    #expect(red.hue(0) == red)
  }
}
