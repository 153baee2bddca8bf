import ABNTensors
import Testing

@testable import ABNData

/// Pictures that are turned, stretched and sheared.
@Suite struct DistortionTests {
  /// 40 pictures [2, 9, 7] whose bytes are the same plane, 3 y + 5 x + 20, and 10 more in the second channel:
  /// what lies between four pixels is on the plane too.
  private func loader(_ augmentation: Augmentation) throws -> BatchLoader {
    var plane: [UInt8] = []
    for y in 0..<9 {
      for x in 0..<7 { plane.append(UInt8(3 * y + 5 * x + 20)) }
    }
    let picture = plane + plane.map { $0 + 10 }
    let split = try DataSplit(
      images: Tensor((0..<40).flatMap { _ in picture }, shape: [40, 2, 9, 7]),
      labels: (0..<40).map { Int32($0 % 2) })
    return try BatchLoader(
      split, normalization: ChannelNormalization(mean: [20, 30], standardDeviation: [2, 4]),
      options: .init(batchSize: 40, seed: 4, augmentation: augmentation))
  }

  @Test(arguments: [false, true]) func whatIsSeenLiesWhereTheMatrixSays(mirrored: Bool) throws {
    let loader = try loader(
      Augmentation(cropPadding: 1, flipsHorizontally: mirrored, distortion: 0.2))
    let batch = loader.batch(0, ofEpoch: 2)
    let values = batch.images.elements(Float.self)
    let random = CounterRandom(seed: 4, stream: 0xDA7A_0002_0000_0002)
    var (seen, mirrors) = (0, 0)
    for (place, sample) in batch.samples.enumerated() {
      let d = try #require(loader.distortion(of: sample, loader.window(of: sample, random), random))
      mirrors += d.xx < 0 ? 1 : 0
      for (y, x) in (0..<63).map({ ($0 / 7, $0 % 7) }) {
        let (py, px) = (Double(y) - 4, Double(x) - 3)
        let row: Double = d.yy * py + d.yx * px + d.y0 + 4
        let column: Double = d.xy * py + d.xx * px + d.x0 + 3
        for channel in 0..<2 {
          let found = Double(values[place * 126 + channel * 63 + y * 7 + x])
          // Zero bytes beyond the picture: -10 and -7.5 in normalized values.
          if row < -1 || row > 9 || column < -1 || column > 7 {
            #expect(abs(found - (channel == 0 ? -10 : -7.5)) < 1e-5)
          }
          guard (0...8).contains(row), (0...6).contains(column) else { continue }
          let expected: Double = (3 * row + 5 * column) / (channel == 0 ? 2 : 4)
          #expect(abs(found - expected) < 1e-4, "\(sample): \(y), \(x)")
          seen += 1
        }
      }
    }
    #expect(seen > 40 * 60)
    #expect(mirrored ? (8...32).contains(mirrors) : mirrors == 0)
  }

  /// Every element takes both signs and stays in its range.
  @Test func theNumbersAreInTheirRange() throws {
    let loader = try loader(
      Augmentation(cropPadding: 2, flipsHorizontally: false, distortion: 0.25))
    let random = CounterRandom(seed: 4, stream: 1)
    let drawn = try (0..<200).map { sample in
      try #require(loader.distortion(of: sample, .init(), random))
    }
    for (limit, number) in [
      (0.25, drawn.map { $0.yy - 1 }), (0.25, drawn.map(\.yx)), (0.25, drawn.map(\.xy)),
      (0.25, drawn.map { $0.xx - 1 }), (2, drawn.map(\.y0)), (2, drawn.map(\.x0)),
    ] {
      #expect(number.allSatisfy { abs($0) <= limit })
      #expect(number.contains { $0 > limit / 2 } && number.contains { $0 < -limit / 2 })
      // The deviation of the mean of 200 is limit / 24.
      #expect(abs(number.reduce(0, +) / 200) < limit / 4)
    }
    // Without distortion nothing is drawn.
    let plain = try self.loader(Augmentation(cropPadding: 2, flipsHorizontally: false))
    #expect(plain.distortion(of: 3, .init(), random) == nil)
  }

  @Test func beyondTheRangeIsAnError() throws {
    for distortion in [-0.1, 1, .nan, .infinity] {
      #expect(throws: ABNError.self, "\(distortion)") {
        try loader(Augmentation(cropPadding: 0, flipsHorizontally: false, distortion: distortion))
      }
    }
  }
}
