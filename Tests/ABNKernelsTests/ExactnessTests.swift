import Foundation
import Testing

@testable import ABNKernels

/// The rows of "exact for every input": the in-place layer against the out-of-place one, both
/// measured against float64, in every element type, layout and instruction set.
@Suite struct ExactnessTests {
  struct Row: Sendable, CustomTestStringConvertible {
    var testDescription: String
    var activation: ABNActivation = .leakyReLU(alpha: 0.2)
    var mean = 0.5
    var deviation = 1.5
    var scale: [Double] = [1, -0.7, 1.3]
    var bias: [Double] = [0.5, -0.3, 0.2]
    /// Element types whose range holds the row.
    var elements: [ABNElement] = ABNElement.allCases
  }

  static let rows: [Row] = [
    Row(testDescription: "scale negative", scale: [-1, -0.5, -2]),
    Row(testDescription: "scale 0 and -0", scale: [0, -0.0, 1]),
    Row(testDescription: "scale 0, identity", activation: .identity, scale: [0, 1, -0.0]),
    Row(testDescription: "scale 0, elu", activation: .elu(alpha: 1), scale: [0, 1, -0.0]),
    Row(testDescription: "scale 0, stored y", activation: .swish, scale: [0, 1, -0.0]),
    Row(testDescription: "scale tiny", scale: [1e-5, -1e-6, 1e-8], bias: [0.5, 0.5, 0.5]),
    Row(
      testDescription: "scale tiny, stored y", activation: .relu, scale: [1e-5, -1e-6, 1e-8],
      bias: [0.5, 0.5, -0.5]),
    Row(
      testDescription: "bias over scale 1e4 ... 1e6", scale: [1e-3, -1e-2, 1e-3],
      bias: [10, 100, 1000]),
    Row(
      testDescription: "elu saturated", activation: .elu(alpha: 1), scale: [12, -12, 40],
      bias: [0, 1, -5]),
    Row(
      testDescription: "elu past exp's range", activation: .elu(alpha: 1), scale: [80, -60, 100],
      bias: [0, 1, 5]),
    // An alpha of 1 has kernels of its own.
    Row(
      testDescription: "elu saturated, alpha 0.5", activation: .elu(alpha: 0.5),
      scale: [12, -12, 40], bias: [0, 1, -5]),
    Row(
      testDescription: "elu past exp's range, alpha 0.5", activation: .elu(alpha: 0.5),
      scale: [80, -60, 100], bias: [0, 1, 5]),
    // The largest for which gradients are taken without y - bias: 2 times, or 8 in 16 bits, as in the rule of rescue.
    Row(testDescription: "bias 2 times scale", scale: [0.125, -0.5, 1], bias: [0.25, 1, -2]),
    Row(testDescription: "bias 8 times scale", scale: [0.125, -0.5, 1], bias: [1, 4, -7.9]),
    Row(
      testDescription: "bias 2 times scale, identity", activation: .identity,
      scale: [0.125, -0.5, 1], bias: [0.25, 1, -2]),
    Row(
      testDescription: "bias 2 times scale, elu", activation: .elu(alpha: 0.7),
      scale: [0.125, -0.5, 1], bias: [0.25, 1, -2]),
    Row(
      testDescription: "bias 8 times scale, elu", activation: .elu(alpha: 1),
      scale: [0.125, -0.5, 1], bias: [1, 4, 7.9]),
    Row(
      testDescription: "bias 8 times scale, prelu", activation: .prelu, scale: [0.125, -0.5, 1],
      bias: [1, 4, -7.9]),
    Row(testDescription: "leaky alpha 0", activation: .leakyReLU(alpha: 0)),
    Row(testDescription: "leaky alpha < 0", activation: .leakyReLU(alpha: -0.3)),
    Row(testDescription: "leaky alpha > 1", activation: .leakyReLU(alpha: 2)),
    Row(testDescription: "leaky alpha 1e-30", activation: .leakyReLU(alpha: 1e-30)),
    Row(testDescription: "elu alpha 0", activation: .elu(alpha: 0)),
    Row(testDescription: "elu alpha < 0", activation: .elu(alpha: -0.5)),
    Row(testDescription: "large mean", mean: 1e5, deviation: 1, elements: [.float32, .float64]),
    Row(testDescription: "large mean, half", mean: 1000, deviation: 3, elements: [.float16]),
    Row(testDescription: "small x", mean: 1e-3, deviation: 1e-3),
  ]

  static func geometries(_ channels: Int) throws -> [ABNGeometry] {
    try [
      ABNGeometry(outer: 4, channels: channels, spatial: 49, layout: .channelSecond),
      ABNGeometry(outer: 4, channels: channels, spatial: 49, layout: .channelLast),
      ABNGeometry(outer: 4, channels: channels, spatial: 49, layout: .blocked(8)),
      ABNGeometry(outer: 4, channels: channels, spatial: 49, layout: .blocked(16)),
    ]
  }

  @Test(arguments: rows)
  func isAsGoodAsOutOfPlace(_ row: Row) throws {
    for element in row.elements {
      for geometry in try Self.geometries(row.scale.count) {
        for isGiven in [false, true] {
          var input = LayerInput(
            geometry, element, row.activation, seed: 3, mean: row.mean, deviation: row.deviation)
          if isGiven && row.mean < 10 { input = input.withGivenStatistics() }
          input.scale = row.scale.map(element.statistics.rounded)
          input.bias = row.bias.map(element.statistics.rounded)
          let reference = input.reference
          for set in AgreementTests.sets {
            try compare(row, input, reference, set, leastDirectCount: .max)
            if AgreementTests.hasTwoRoads(row.activation) && !isGiven {
              try compare(row, input, reference, set, leastDirectCount: 1)
            }
          }
        }
      }
    }
  }

  func compare(
    _ row: Row, _ input: LayerInput, _ reference: ReferenceLayer, _ set: ABNInstructionSet,
    leastDirectCount: Int
  ) throws {
    let inside = try LayerRun(input: input, set: set, leastDirectCount: leastDirectCount)()
    let outside = try LayerRun(input: input, set: set, outOfPlace: true)()
    // What one rounding of the stored element costs, whoever does it, and the eight-fold of it that
    // the rule of rescue lets pass.
    let floor = 16 * input.element.unitRoundoff
    let what =
      "\(row.testDescription): \(set) \(input.element) \(input.geometry.layout) \(leastDirectCount)"
    for channel in input.x.indices {
      let pairs: [(String, [Double], [Double], [Double])] = [
        ("dx", inside.dx[channel], outside.dx[channel], reference.dx[channel]),
        ("z", inside.z[channel], outside.z[channel], reference.z[channel]),
      ]
      for (name, mine, other, truth) in pairs {
        let error = relativeError(mine, truth)
        let allowed = 2 * relativeError(other, truth) + floor
        #expect(error <= allowed, "\(name) \(channel) off by \(error), allowed \(allowed); \(what)")
      }
      // A sum is as exact as its terms, not as its value.
      let size = zip(reference.dx[channel], input.dz[channel]).reduce(0) { $0 + abs($1.1) }
      let mine = abs(inside.dscale[channel] - reference.dscale[channel])
      let other = abs(outside.dscale[channel] - reference.dscale[channel])
      #expect(
        mine <= 2 * other + floor * size / 4,
        "dscale \(channel): \(mine) against \(other); \(what)")
      if input.scale[channel] == 0 {
        #expect(inside.dx[channel].allSatisfy { $0 == 0 }, "dx is not 0: \(what)")
      }
    }
    #expect(inside.isIntact && outside.isIntact, "wrote outside: \(what)")
  }

  @Test(arguments: ABNElement.allCases)
  func aConstantChannelHasAnExactGradient(_ element: ABNElement) throws {
    for geometry in try Self.geometries(3) {
      for activation in [
        ABNActivation.identity, .leakyReLU(alpha: 0.01), .elu(alpha: 1), .prelu, .relu, .gelu,
      ] {
        var input = LayerInput(geometry, element, activation)
        for channel in 0..<3 {
          let value = element.rounded([0.1, -1234.567, 3e-5][channel])
          input.x[channel] = input.x[channel].map { _ in value }
        }
        for set in AgreementTests.sets {
          for outOfPlace in [false, true] {
            let result = try LayerRun(
              input: input, set: set, outOfPlace: outOfPlace, leastDirectCount: 1)()
            #expect(
              result.dscale.allSatisfy { $0 == 0 },
              "\(result.dscale) \(set) \(element) \(activation) \(geometry.layout)")
          }
        }
      }
    }
  }

  @Test(arguments: [Double.nan, .infinity, -.infinity])
  func oneBadNumberStaysInItsChannel(_ bad: Double) throws {
    for element in ABNElement.allCases {
      for geometry in try Self.geometries(19) {
        for activation in [
          ABNActivation.leakyReLU(alpha: 0.2), .elu(alpha: 1), .elu(alpha: 0.3), .mish,
        ] {
          let clean = LayerInput(geometry, element, activation)
          var dirty = clean
          dirty.x[7][30] = bad
          for set in AgreementTests.sets {
            let a = try LayerRun(input: clean, set: set, leastDirectCount: 1)()
            let b = try LayerRun(input: dirty, set: set, leastDirectCount: 1)()
            let what = "\(set) \(element) \(activation) \(geometry.layout)"
            for channel in 0..<19 where channel != 7 {
              #expect(a.z[channel] == b.z[channel] && a.dx[channel] == b.dx[channel], "\(what)")
              #expect(a.dscale[channel] == b.dscale[channel], "\(what)")
            }
            #expect(b.z[7].contains { $0.isNaN } && b.dscale[7].isNaN, "\(what)")
          }
        }
      }
    }
  }

  /// With given statistics an element's z and dx do not depend on its neighbours: whatever road a
  /// layout takes (one channel in all lanes, several, rows), the bits are the same.
  @Test(arguments: ABNElement.allCases)
  func layoutsAgreeBitByBit(_ element: ABNElement) throws {
    for (channels, spatial) in [(19, 1), (19, 49), (19, 150), (54, 150)] {
      for activation in [ABNActivation.identity, .leakyReLU(alpha: 0.2), .elu(alpha: 1), .prelu] {
        for set in AgreementTests.sets {
          let results = try [ABNLayout.channelSecond, .channelLast, .blocked(8), .blocked(16)].map {
            let geometry = try ABNGeometry(
              outer: 3, channels: channels, spatial: spatial, layout: $0)
            let input = LayerInput(geometry, element, activation).withGivenStatistics()
            return try LayerRun(input: input, set: set)()
          }
          for result in results {
            let what = "\(set) \(element) \(activation) \(channels) x \(spatial)"
            #expect(result.z == results[0].z && result.dx == results[0].dx, "\(what)")
            #expect(result.restored == results[0].restored, "\(what)")
          }
        }
      }
    }
  }

  /// 1.5 x and 1.25 x: in float16 and bfloat16 the product is exact before it is stored, and many lie
  /// in the middle between two elements.
  @Test(arguments: [ABNElement.float16, .bfloat16, .float32])
  func theNearestElementIsStored(_ element: ABNElement) throws {
    for layout in [ABNLayout.channelSecond, .channelLast, .blocked(8), .blocked(16)] {
      let geometry = try ABNGeometry(outer: 3, channels: 3, spatial: 333, layout: layout)
      var input = LayerInput(geometry, element, .identity, mean: 0, deviation: 1)
      var source = Source(state: 9)
      input.x = input.x.map { $0.map { element.rounded($0 * source.uniform(0.01, 100)) } }
      input.x[1][40] = .infinity
      input.x[1][41] = -.infinity
      input.x[1][70] = element.greatest
      input.x[2][7] = .nan
      input.epsilon = 0
      input.given = ([0, 0, 0], [1, 1, 1])
      input.scale = [1.5, 1.25, -1.5]
      input.bias = [0, 0, 0]
      let wanted = input.x.enumerated().map { channel, values in
        values.map { element.rounded($0 * input.scale[channel]) }
      }
      for set in AgreementTests.sets {
        var run = LayerRun(input: input, set: set)
        run.rescues = false
        let stored = try run().stored
        for (got, right) in zip(stored.joined(), wanted.joined()) {
          #expect(
            got == right || got.isNaN && right.isNaN,
            "\(got) for \(right): \(set) \(element) \(layout)")
        }
      }
    }
  }

  /// One element far below the others, in a channel that is not rescued: z is -alpha, and y is taken as
  /// the largest number that is stored so. With a rescue its x is kept.
  @Test(arguments: ABNElement.allCases, [1, 0.75, 0.85, 1.7, 2.93])
  func aSaturatedElementIsTheLargestPossible(_ element: ABNElement, _ alpha: Double) throws {
    let stored = element.rounded(element.statistics.rounded(alpha))
    for geometry in try Self.geometries(3) {
      var input = LayerInput(geometry, element, .elu(alpha: alpha), mean: 0, deviation: 1)
      input.x[1][5] = -60
      input.epsilon = 0
      input.given = ([0, 0, 0], [1, 1, 1])
      input.scale = [1, 1, 1]
      input.bias = [0, 0, 0]
      // Where alpha times its rounded inverse is below 1, -alpha is the number next to -1.
      let number = element.statistics
      let inverse = number.rounded(1 / number.rounded(alpha))
      let product = number.rounded(number.rounded(alpha) * inverse)
      let largest = log(product < 1 ? 1 - product : element.unitRoundoff / 2)
      for set in AgreementTests.sets {
        let kept = try LayerRun(input: input, set: set)()
        #expect(kept.rescued + kept.asideCount > 0 && kept.restored[1][5] == -60)
        var run = LayerRun(input: input, set: set)
        run.rescues = false
        let result = try run()
        #expect(result.stored[1][5] == -stored)
        // In 16 bits an alpha that is no element is rounded, and -alpha then stands for another y.
        if stored != element.statistics.rounded(alpha) { continue }
        let restored = result.restored[1][5]
        #expect(
          abs(restored / largest - 1) < element.unitRoundoff + 1e-6,
          "\(restored), not \(largest): \(set) \(element) \(geometry.layout)")
        #expect(result.dx[1][5] == 0)
      }
    }
  }

  /// Which channels' gradients are taken without y - bias, one condition after another.
  @Test func whatIsDirect() throws {
    struct Case {
      var isDirect: Bool
      var scale = 1.0
      var bias = 0.5
      var slope = 0.25
      var inverse = 1.0
      var isRescued = false
    }
    let cases = [
      Case(isDirect: true), Case(isDirect: true, scale: -0.5, bias: -0.375),
      Case(isDirect: false, scale: 0.5, bias: 0.4), Case(isDirect: false, scale: 0),
      // A variance of epsilon, 2^-11, and of a little less.
      Case(isDirect: true, inverse: 32), Case(isDirect: false, inverse: 32.1),
      Case(isDirect: false, slope: 0x1p-21), Case(isDirect: true, slope: 0x1p-20),
      Case(isDirect: false, slope: 0x1p21), Case(isDirect: false, scale: 0x1p-61, bias: 0),
      Case(isDirect: false, scale: 0x1p61), Case(isDirect: false, isRescued: true),
      // All is NaN there whatever the road, and its neighbours do not change.
      Case(isDirect: true, inverse: .nan),
    ]
    let geometry = try ABNGeometry(outer: 600, channels: 1, spatial: 1, layout: .channelSecond)
    for each in cases {
      let kernel = try ABNKernel(
        geometry: geometry, element: .float64, activation: .prelu, epsilon: 0x1p-11)
      var numbers = [each.scale, each.bias, each.slope, each.inverse]
      let rescue = ABNRescue(kernel)
      if each.isRescued { rescue.take(0) }
      numbers.withUnsafeMutableBytes { numbers in
        guard let base = numbers.baseAddress else { return }
        let engine = Engine(
          kernel,
          ABNParameters(scale: base, bias: base + 8, slopes: base + 16, slopeCount: 1),
          ABNSavedStatistics(mean: base, meanRemainder: base, inverseDeviation: base + 24), rescue)
        #expect(engine.canBeDirect && engine.isDirect(0) == each.isDirect, "\(each)")
      }
    }
    for (activation, element, count, canBeDirect) in [
      (ABNActivation.identity, ABNElement.float32, 512, true), (.prelu, .float16, 600, true),
      (.leakyReLU(alpha: 0.1), .bfloat16, 600, true), (.identity, .float32, 511, false),
      (.leakyReLU(alpha: -0.1), .float32, 600, false), (.elu(alpha: 1), .float32, 600, true),
      (.gelu, .float32, 600, false),
    ] {
      let kernel = try ABNKernel(
        geometry: ABNGeometry(outer: count, channels: 2, spatial: 1, layout: .channelSecond),
        element: element, activation: activation)
      #expect(Engine.canBeDirect(kernel) == canBeDirect, "\(activation) \(count)")
    }
  }

  @Test func rescuedChannelsAreCounted() throws {
    let geometry = try ABNGeometry(outer: 4, channels: 4, spatial: 9, layout: .channelSecond)
    var input = LayerInput(geometry, .float32, .leakyReLU(alpha: 0.1))
    input.scale = [1, 0, 0.01, -2]
    input.bias = [0, 1, 1, 15]
    let result = try LayerRun(input: input)()
    #expect(result.rescued == 2)
    // Rescued channels come back bit for bit.
    #expect(result.restored[1] == input.x[1] && result.restored[2] == input.x[2])
  }

  @Test(arguments: ABNElement.allCases)
  func theUsualLayerRescuesNothing(_ element: ABNElement) throws {
    let geometry = try ABNGeometry(outer: 4, channels: 6, spatial: 9, layout: .channelLast)
    for activation in [
      ABNActivation.identity, .leakyReLU(alpha: 0.01), .elu(alpha: 1), .prelu, .relu, .swish,
    ] {
      var input = LayerInput(geometry, element, activation)
      input.scale = input.scale.map { _ in 1 }
      input.bias = input.bias.map { _ in 0 }
      #expect(try LayerRun(input: input)().rescued == 0, "\(activation)")
    }
  }

  @Test func slopesOfEitherSignHaveTheirGradient() throws {
    for geometry in try Self.geometries(4) {
      for count in [1, 4] {
        var input = LayerInput(geometry, .float32, .prelu)
        input.slopes = count == 1 ? [0.25] : [0.25, -0.5, 0, 2]
        let reference = input.reference
        for set in AgreementTests.sets {
          let result = try LayerRun(input: input, set: set)()
          #expect(result.rescued == (count == 1 ? 0 : 2))
          #expect(relativeError(result.dslope, reference.dslope) < 2e-6)
          #expect(relativeError(result.dx, reference.dx) < 2e-6)
        }
      }
    }
  }
}
