import Testing

@testable import ABNKernels

/// Sums over many runs, ends of runs, and numbers that sums are not made for.
@Suite struct SumTests {
  /// Runs of less than a vector: 20,000 of them, whose sum in float32 alone would be off by 1e-4.
  @Test(arguments: [ABNElement.float32, .bfloat16])
  func manyShortRuns(_ element: ABNElement) throws {
    let geometries = try [
      ABNGeometry(outer: 20_000, channels: 2, spatial: 4, layout: .channelSecond),
      ABNGeometry(outer: 20_000, channels: 2, spatial: 15, layout: .channelSecond),
      ABNGeometry(outer: 20_000, channels: 2, spatial: 17, layout: .channelSecond),
      ABNGeometry(outer: 20_000, channels: 3, spatial: 1, layout: .blocked(8)),
      ABNGeometry(outer: 20_000, channels: 3, spatial: 3, layout: .blocked(8)),
      ABNGeometry(outer: 20_000, channels: 3, spatial: 1, layout: .channelLast),
    ]
    for geometry in geometries {
      for activation in [ABNActivation.identity, .prelu] {
        var input = LayerInput(geometry, element, activation)
        input.dz = input.dz.map { $0.map { _ in element.rounded(0.1) } }
        let reference = input.reference
        for set in AgreementTests.sets {
          let result = try LayerRun(input: input, set: set)()
          let what = "\(set) \(element) \(activation) \(geometry)"
          // At most 128 additions follow one another, each of which may round the same way.
          #expect(relativeError(result.dbias, reference.dbias) < 1e-6, "\(what)")
          if activation == .identity { continue }
          #expect(
            relativeError(result.dslope, reference.dslope) < 40 * element.unitRoundoff, "\(what)")
        }
      }
    }
  }

  /// Every end of a run counts: dbias of ones is a number of elements, exactly.
  @Test func everyElementIsCounted() throws {
    for layout in [ABNLayout.channelSecond, .channelLast, .blocked(8), .blocked(16)] {
      for outer in [1, 2, 17, 65] {
        for spatial in [1, 3, 16, 31, 36, 49, 196] {
          let geometry = try ABNGeometry(
            outer: outer, channels: 3, spatial: spatial, layout: layout)
          var input = LayerInput(geometry, .float32, .identity).withGivenStatistics()
          input.dz = input.dz.map { $0.map { _ in 1 } }
          for set in AgreementTests.sets {
            let result = try LayerRun(input: input, set: set)()
            #expect(
              result.dbias.allSatisfy { $0 == Double(outer * spatial) },
              "\(result.dbias) \(set) \(geometry)")
          }
        }
      }
    }
  }

  /// The first, or the last, element is far from all others: statistics are those of two passes.
  @Test func oneElementFarFromAllOthers() throws {
    for layout in [ABNLayout.channelSecond, .channelLast, .blocked(8), .blocked(16)] {
      let geometry = try ABNGeometry(outer: 8, channels: 3, spatial: 5000, layout: layout)
      for place in [0, 8 * 5000 - 1] {
        var input = LayerInput(geometry, .float64, .identity, mean: 0, deviation: 1)
        for channel in 0..<3 { input.x[channel][place] = [1e8, -1e3, 1e12][channel] }
        let reference = input.reference
        for set in AgreementTests.sets {
          let result = try LayerRun(input: input, set: set)()
          for channel in 0..<3 {
            let inverse = 1 / (reference.variance[channel] + input.epsilon).squareRoot()
            #expect(
              abs(result.inverse[channel] / inverse - 1) < 1e-13,
              "\(channel) \(set) \(layout) \(place)")
          }
        }
      }
    }
  }

  /// With given statistics dx = gain * dy and nothing else: an infinite x has one too.
  @Test(arguments: ABNElement.allCases)
  func anInfiniteElementHasItsGradientWithGivenStatistics(_ element: ABNElement) throws {
    for geometry in try ExactnessTests.geometries(3) {
      for activation in [
        ABNActivation.identity, .leakyReLU(alpha: 0.2), .leakyReLU(alpha: 0), .relu, .prelu,
      ] {
        var clean = LayerInput(geometry, element, activation).withGivenStatistics()
        clean.scale = [1, -0.5, 2]
        clean.x[1][30] = 60
        clean.x[1][31] = -60
        var dirty = clean
        dirty.x[1][30] = .infinity
        dirty.x[1][31] = -.infinity
        for set in AgreementTests.sets {
          for outOfPlace in [false, true] {
            let a = try LayerRun(input: clean, set: set, outOfPlace: outOfPlace)()
            let b = try LayerRun(input: dirty, set: set, outOfPlace: outOfPlace)()
            let what = "\(set) \(element) \(activation) \(geometry.layout) \(outOfPlace)"
            #expect(a.dx == b.dx, "\(what)")
            #expect(b.z[1][31] == .infinity, "\(what)")
            let negative = activation.isInvertible ? -Double.infinity : 0
            #expect(b.z[1][30] == negative, "\(what)")
          }
        }
      }
    }
  }

  /// A gradient that is not a number stays in its channel, and in its element with given statistics.
  @Test(arguments: [Double.nan, .infinity])
  func oneBadGradientStaysInItsChannel(_ bad: Double) throws {
    for element in ABNElement.allCases {
      for geometry in try ExactnessTests.geometries(19) {
        for isGiven in [false, true] {
          var clean = LayerInput(geometry, element, .leakyReLU(alpha: 0.2))
          if isGiven { clean = clean.withGivenStatistics() }
          var dirty = clean
          dirty.dz[7][30] = bad
          for set in AgreementTests.sets {
            let a = try LayerRun(input: clean, set: set)()
            let b = try LayerRun(input: dirty, set: set)()
            let what = "\(set) \(element) \(geometry.layout) \(isGiven)"
            for channel in 0..<19 where channel != 7 {
              #expect(a.dx[channel] == b.dx[channel], "\(what)")
              #expect(a.dscale[channel] == b.dscale[channel], "\(what)")
              #expect(a.dbias[channel] == b.dbias[channel], "\(what)")
            }
            #expect(!b.dbias[7].isFinite && !b.dscale[7].isFinite, "\(what)")
            for index in b.dx[7].indices {
              #expect(b.dx[7][index].isFinite == (isGiven && index != 30), "\(what)")
            }
          }
        }
      }
    }
  }

  /// The derivative of hardSwish where its pieces meet, numbers that 16 bits often hold.
  @Test(arguments: ABNElement.allCases)
  func hardSwishBendsWhereItsFormulaSays(_ element: ABNElement) throws {
    let geometry = try ABNGeometry(outer: 2, channels: 1, spatial: 32, layout: .channelSecond)
    var input = LayerInput(geometry, element, .hardSwish)
    input.given = ([0], [1])
    input.epsilon = 0
    input.scale = [1]
    input.bias = [0]
    input.x[0] = input.x[0].indices.map { [-3, 3, 0, -4, 4, 1.5, -1.5, 2][$0 % 8] }
    input.dz[0] = input.dz[0].map { _ in 1 }
    for set in AgreementTests.sets {
      let result = try LayerRun(input: input, set: set)()
      for (index, dx) in result.dx[0].enumerated() {
        let right = [0, 1, 0.5, 0, 1, 1, 0, 7.0 / 6][index % 8]
        #expect(abs(dx - right) <= 4 * element.unitRoundoff, "\(input.x[0][index]): \(dx) \(set)")
      }
    }
  }

  /// Slopes next to nothing: their inverse is no number of float32, and such channels are rescued.
  @Test func slopesWithoutAnInverseAreRescued() throws {
    let cases: [(ABNElement, ABNActivation, [Double], Double)] = [
      (.float32, .leakyReLU(alpha: 2e-39), [], 30), (.bfloat16, .leakyReLU(alpha: 2e-39), [], 30),
      (.float32, .prelu, [2e-39], 30), (.float64, .leakyReLU(alpha: 1e-310), [], 1000),
      (.float32, .leakyReLU(alpha: 2e38), [], 1e-3), (.float32, .elu(alpha: 2e-39), [], 3),
    ]
    for (element, activation, slopes, scale) in cases {
      for geometry in try ExactnessTests.geometries(2) {
        var input = LayerInput(geometry, element, activation)
        input.scale = [scale, -scale].map(element.statistics.rounded)
        input.bias = [0, 0]
        input.slopes = slopes.map(element.statistics.rounded)
        input.dz = input.dz.map { $0.map { element.rounded($0 * 1e-3) } }
        let reference = input.reference
        for set in AgreementTests.sets {
          let result = try LayerRun(input: input, set: set)()
          let what = "\(set) \(element) \(activation) \(geometry.layout)"
          #expect(result.rescued == 2, "\(what)")
          let error = relativeError(result.dx, reference.dx)
          #expect(error < 60 * element.unitRoundoff, "\(error) \(what)")
        }
      }
    }
  }

  /// Without its row such a channel is an error, not wrong numbers.
  @Test func slopesThatAreNotPositiveNeedTheirRow() throws {
    let geometry = try ABNGeometry(outer: 4, channels: 2, spatial: 9, layout: .channelSecond)
    for slopes in [[-0.5], [0.0], [0.25, -0.5]] {
      var input = LayerInput(geometry, .float32, .prelu)
      input.slopes = slopes
      var run = LayerRun(input: input)
      run.rescues = false
      let error = #expect(throws: KernelError.self) { try run() }
      #expect(error?.what == "channel \(slopes.count - 1)")
      #expect(error?.got == "slope \(slopes.last!)")
      #expect(error?.fix.contains("ABNRescue") == true)
    }
  }
}
