import Foundation
import Testing

@testable import ABNKernels

/// Mean and variance of random rows in random orders, with elements far from all others anywhere, in every element
/// type, layout and instruction set: as good as two passes in the same precision, and right at the ends of
/// the range. Seeds and cases: `scripts/soak`.
@Suite struct StatisticsPropertyTests {
  private static let environment = ProcessInfo.processInfo.environment
  private static let factor = environment["ABN_SOAK"].flatMap(Int.init) ?? 1
  private static let firstSeed = environment["ABN_SOAK_SEED"].flatMap(UInt64.init) ?? 1

  /// One draw: what stands in a channel, in which order, and how the tensor is laid out.
  struct Case: CustomStringConvertible {
    var geometry: ABNGeometry
    var element: ABNElement
    var x: [[Double]]
    var description: String

    init(seed: UInt64) throws {
      var source = Source(state: seed &* 0x9E37_79B9)
      func pick<T>(_ list: [T]) -> T { list[Int(source.next() % UInt64(list.count))] }
      let element = pick(ABNElement.allCases)
      let outer = pick([1, 2, 3, 8, 16, 64, 129, 256])
      let spatial = pick([1, 1, 2, 5, 16, 49, 64])
      let geometry = try ABNGeometry(
        outer: max(outer, spatial == 1 ? 2 : 1), channels: pick([1, 3, 8, 16, 19, 32, 40]),
        spatial: spatial,
        layout: pick([.channelSecond, .channelLast, .channelLast, .blocked(8), .blocked(16)]))
      let m = geometry.countPerChannel
      let kind = pick(["normal", "few values", "heavy tails", "ramp", "sparse", "images"])
      // 16 bits hold no mean that is many deviations; float16 nothing above 65,504.
      let mean = pick(element.bytes == 2 ? [0, 1, -8] : [0, 1, -30, 1e4])
      let outliers = pick([0, 1, 1, 2, 3, 6, 8])
      let size = pick(element == .float16 ? [10, 100, 5000] : [10, 100, 5000, 1e8])
      let areFirst = source.next() & 1 == 0
      let places = (0..<outliers).map { index in
        areFirst
          ? index : pick([0, index, m - 1 - index, (m - 1) / 2, Int(source.next() % UInt64(m))])
      }.map { min(max($0, 0), m - 1) }
      x = (0..<geometry.channels).map { _ in
        let images = (0..<geometry.outer).map { _ in source.normal() }
        var values: [Double] = (0..<m).map { index in
          switch kind {
          case "normal": source.normal()
          case "few values": source.next() & 1 == 0 ? 1 : -1
          case "heavy tails": pow(source.normal(), 5)
          case "ramp": Double(index) / Double(m)
          case "sparse": max(0, source.normal() - 1)
          default: images[index / geometry.spatial] + 0.01 * source.normal()
          }
        }
        for place in places { values[place] = size * source.uniform(0.9, 1.1) }
        return values.map { element.rounded($0 + mean) }
      }
      (self.geometry, self.element) = (geometry, element)
      description =
        "seed \(seed): \(element) \(geometry) \(kind), mean \(mean), \(outliers) of \(size) at \(places)"
    }
  }

  /// The layer's own statistics: mean with what rounding took from it, variance.
  static func statistics(
    _ x: [[Double]], _ geometry: ABNGeometry, _ element: ABNElement, _ set: ABNInstructionSet,
    epsilon: Double = 1e-5
  ) throws -> (mean: [Double], variance: [Double]) {
    let kernel = try ABNKernel(
      geometry: geometry, element: element, activation: .identity, epsilon: epsilon,
      instructionSet: set)
    let tensor = Buffer(bytes: kernel.bufferBytes)
    tensor.base.initializeMemory(as: UInt8.self, repeating: 0, count: kernel.bufferBytes)
    for channel in x.indices {
      for index in x[channel].indices {
        element.store(tensor.base, geometry.offset(channel, index), x[channel][index])
      }
    }
    let number = element.statistics
    let rows = (0..<3).map { _ in Buffer(bytes: x.count * number.bytes) }
    let scratch = Buffer(bytes: kernel.scratchBytes)
    try kernel.statistics(
      of: tensor.base,
      into: ABNStatistics(
        mean: rows[0].base, variance: rows[1].base, meanRemainder: rows[2].base),
      workspace: ABNWorkspace(scratch: scratch.base))
    let areIntact = ([tensor, scratch] + rows).allSatisfy(\.isIntact)
    #expect(areIntact)
    let lists = rows.map { row in x.indices.map { number.load(row.base, $0) } }
    return (zip(lists[0], lists[2]).map { $0 + $1 }, lists[1])
  }

  /// Two passes in the precision of sums, in chunks of 64 that are added in float64.
  static func twoPasses(_ x: [Double], _ number: ABNElement) -> (mean: Double, variance: Double) {
    func sum(_ term: (Double) -> Double) -> Double {
      var total = 0.0
      for first in stride(from: 0, to: x.count, by: 64) {
        var chunk = 0.0
        for value in x[first..<min(first + 64, x.count)] {
          chunk = number.rounded(chunk + number.rounded(term(value)))
        }
        total += chunk
      }
      return total
    }
    let m = Double(x.count)
    let mean = number.rounded(sum { $0 } / m)
    let rest = sum { $0 - mean } / m
    let square = sum {
      let d = number.rounded($0 - mean)
      return d * d
    }
    return (mean + rest, number.rounded(square / m - rest * rest))
  }

  /// Of all channels and sets together the error is at most that of two passes, 2.5 times as squares may be that much
  /// more before a second pass is made, and 24 units: the longest chain of roundings has up to 128 steps, as many
  /// as a chunk and the ends of its runs have, of which 24 is what random roundings reach.
  @Test func isAsGoodAsTwoPasses() throws {
    for number in 0..<30 * Self.factor {
      let each = try Case(seed: Self.firstSeed &+ UInt64(number))
      let right = each.x.map { ExactStatistics($0) }
      let two = each.x.map { Self.twoPasses($0, each.element.statistics) }
      let unit = each.element.statistics.unitRoundoff
      func error(_ variance: [Double], _ mean: [Double]) -> (variance: Double, mean: Double) {
        var worst = (variance: 0.0, mean: 0.0)
        for (channel, truth) in right.enumerated() where truth.variance > 0 {
          worst.variance = max(worst.variance, abs(truth.relativeError(variance[channel])) / unit)
          // In units of the deviation, and of the mean itself.
          let size = truth.variance.squareRoot() + abs(truth.mean)
          worst.mean = max(worst.mean, abs(truth.distance(mean[channel])) / size / unit)
        }
        return worst
      }
      let allowed = error(two.map(\.variance), two.map(\.mean))
      for set in AgreementTests.sets {
        let got = try Self.statistics(each.x, each.geometry, each.element, set)
        let mine = error(got.variance, got.mean)
        #expect(
          mine.variance <= 2.5 * allowed.variance + 24,
          "variance off by \(mine.variance) u, two passes by \(allowed.variance) \(set) \(each)")
        #expect(
          mine.mean <= 2.5 * allowed.mean + 8,
          "mean off by \(mine.mean) u, two passes by \(allowed.mean) \(set) \(each)")
        for (channel, truth) in right.enumerated() where truth.variance == 0 {
          #expect(got.variance[channel] == 0 && got.mean[channel] == truth.mean, "\(set) \(each)")
        }
      }
    }
  }

  /// Elements times a power of two give statistics times it, and the same z and gradients, up to the ends of the range:
  /// squares that are no number of float32 are none of the layer's concern. In and out of place.
  @Test(arguments: [ABNElement.bfloat16, .float32])
  func powersOfTwoChangeNothing(_ element: ABNElement) throws {
    for number in 0..<4 * Self.factor {
      let seed = Self.firstSeed &+ UInt64(number)
      var source = Source(state: seed &+ 99)
      let channels = [3, 8, 16, 19, 40][Int(source.next() % 5)]
      let layouts = [ABNLayout.channelSecond, .channelLast, .blocked(8), .blocked(16)]
      let geometry = try ABNGeometry(
        outer: 2 + Int(source.next() % 60), channels: channels,
        spatial: 1 + Int(source.next() % 9), layout: layouts[number % 4])
      var input = LayerInput(
        geometry, element, [.identity, .leakyReLU(alpha: 0.25), .tanh][number % 3], seed: seed)
      input.epsilon = 0
      let reference = input.reference
      for exponent in [-110, -90, -66, -60, -40, 40, 58, 64, 66, 100, 120, 124] {
        var moved = input
        let factor = Double(sign: .plus, exponent: exponent, significand: 1)
        moved.x = input.x.map { $0.map { $0 * factor } }
        // dx in proportion, so that it has a number.
        moved.dz = input.dz.map { $0.map { element.rounded($0 * (exponent > 0 ? 0x1p20 : 1)) } }
        for set in AgreementTests.sets {
          for outOfPlace in [false, true] {
            var run = LayerRun(input: moved, set: set, outOfPlace: outOfPlace)
            run.moving = (input.bias.map { _ in 0 }, input.bias.map { _ in 0 })
            run.momentum = 0
            let result = try run()
            let gradient = exponent > 0 ? 0x1p20 : 1
            let tolerance = 2 * AgreementTests.tolerance(element, input.activation)
            let what =
              "\(set) \(element) \(input.activation) \(geometry) 2^\(exponent) out \(outOfPlace) seed \(seed)"
            let errors = [
              ("z", relativeError(result.z, reference.z)),
              (
                "dx",
                relativeError(
                  result.dx.map { $0.map { $0 * factor / gradient } }, reference.dx)
              ),
              ("dscale", relativeError(result.dscale.map { $0 / gradient }, reference.dscale)),
              ("mean", relativeError(result.mean.map { $0 / factor }, reference.mean)),
            ]
            for (name, error) in errors {
              // Of dx beyond these float32 has no numbers, or few.
              if name == "dx" && (exponent < -100 || exponent > 120) { continue }
              #expect(error <= tolerance, "\(name) off by \(error): \(what)")
            }
            for (channel, variance) in reference.variance.enumerated() {
              let right = Float(variance * factor * factor)
              let got = Float(result.moving.variance[channel])
              #expect(
                right.isInfinite ? got.isInfinite : abs(got - right) <= 64 * right.ulp,
                "variance \(got), not \(right): \(what)")
            }
          }
        }
      }
    }
  }

  /// The largest numbers themselves, whose distances from the mean are none: z is right, the variance infinite, in
  /// every layout; and the smallest ones that keep their digits.
  @Test(arguments: [ABNElement.bfloat16, .float32])
  func theEndsOfTheRange(_ element: ABNElement) throws {
    let most = element.greatest
    let columns: [[Double]] = [
      [most, most, -most, 1], [most, -most, 0, 0], [most, -most, -most, -most],
      [0x1p-125, -0x1p-125, 0x1p-124, 0], [most, most, most, most / 2], [most, 1, 2, 3],
      [1, 2, 3, 4],
    ]
    for channels in [7, 16, 20] {
      for rows in [4, 80] {
        for layout in [ABNLayout.channelSecond, .channelLast, .blocked(8), .blocked(16)] {
          for spatial in [1, 4] {
            let geometry = try ABNGeometry(
              outer: rows / spatial, channels: channels, spatial: spatial, layout: layout)
            if geometry.countPerChannel < 2 { continue }
            var input = LayerInput(geometry, element, .identity)
            input.epsilon = 0
            for channel in 0..<channels {
              input.x[channel] = input.x[channel].indices.map {
                columns[channel % columns.count][$0 % 4]
              }
            }
            input.scale = input.scale.map { _ in 1 }
            input.bias = input.bias.map { _ in 0.5 }
            let reference = input.reference
            for set in AgreementTests.sets {
              for outOfPlace in [false, true] {
                let result = try LayerRun(input: input, set: set, outOfPlace: outOfPlace)()
                for channel in 0..<channels {
                  let error = relativeError(result.z[channel], reference.z[channel])
                  #expect(
                    error <= max(8 * element.unitRoundoff, 0x1p-18),
                    "z off by \(error), channel \(channel): \(set) \(element) \(geometry)")
                  if !outOfPlace { continue }
                  let gradient = relativeError(
                    [result.dscale[channel]], [reference.dscale[channel]])
                  let size = input.dz[channel].reduce(0) { $0 + abs($1) }
                  #expect(
                    gradient * abs(reference.dscale[channel]) <= 0x1p-17 * size,
                    "dscale \(result.dscale[channel]) for \(reference.dscale[channel]), channel \(channel): \(set) \(element) \(geometry)"
                  )
                }
              }
            }
          }
        }
      }
    }
  }

  /// float64's own end is the same in every layout: sums that are infinite make the variance infinite and y bias.
  @Test func beyondFloat64TheLayoutsAgree() throws {
    for channels in [3, 8, 16, 19, 40] {
      for layout in [ABNLayout.channelSecond, .channelLast, .blocked(8), .blocked(16)] {
        let geometry = try ABNGeometry(outer: 30, channels: channels, spatial: 2, layout: layout)
        var input = LayerInput(geometry, .float64, .identity)
        input.x = input.x.map { $0.map { $0 * 1e200 } }
        for set in AgreementTests.sets {
          let result = try LayerRun(input: input, set: set)()
          for channel in 0..<channels {
            #expect(result.inverse[channel] == 0, "\(set) \(geometry)")
            let isBias = result.z[channel].allSatisfy { $0 == input.bias[channel] }
            #expect(isBias, "\(set) \(geometry)")
          }
        }
      }
    }
  }

  /// What the second pass over a group of channels finds in one changes nothing in its neighbours.
  @Test(arguments: [Double.nan, .infinity, 1e30])
  func oneChannelIsSummedAgainAlone(_ bad: Double) throws {
    for element in [ABNElement.bfloat16, .float32, .float64] {
      for geometry in try ExactnessTests.geometries(19) {
        let clean = LayerInput(geometry, element, .identity)
        var dirty = clean
        dirty.x[7][0] = bad
        for set in AgreementTests.sets {
          let a = try LayerRun(input: clean, set: set)()
          let b = try LayerRun(input: dirty, set: set)()
          for channel in 0..<19 where channel != 7 {
            #expect(a.z[channel] == b.z[channel], "\(set) \(element) \(geometry.layout)")
          }
          let isNothing = b.z[7].allSatisfy(\.isNaN)
          #expect(b.mean[7].isFinite == bad.isFinite && isNothing != bad.isFinite)
        }
      }
    }
  }

  /// Sums that two passes have exactly, or nearly.
  @Test func namedExamples() throws {
    var source = Source(state: 4)
    let first = (0..<40).map { _ in (0..<256).map { $0 == 0 ? 100 : source.normal() } }
    let signs = (0..<3).map { _ in (0..<16).map { $0 == 0 ? 5000.0 : ($0 % 2 == 0 ? 1 : -1) } }
    for element in ABNElement.allCases {
      for (values, units) in [(first, 24.0), (signs, 4)] {
        let x = values.map { $0.map(element.rounded) }
        let geometry = try ABNGeometry(
          outer: x[0].count, channels: x.count, spatial: 1, layout: .channelSecond)
        let right = x.map { ExactStatistics($0) }
        for set in AgreementTests.sets {
          let got = try Self.statistics(x, geometry, element, set)
          for channel in x.indices {
            let error = abs(right[channel].relativeError(got.variance[channel]))
            #expect(
              error <= units * element.statistics.unitRoundoff,
              "\(got.variance[channel]), not \(right[channel].variance): \(set) \(element)")
          }
        }
      }
    }
  }
}

/// Mean and variance to twice the digits of float64: each a number and what its rounding took.
struct ExactStatistics {
  let mean: Double
  private let meanRest: Double
  let variance: Double
  private let varianceRest: Double

  init(_ x: [Double]) {
    let m = Double(x.count)
    var sum = LongSum()
    for value in x { sum.add(value) }
    mean = sum.value / m
    meanRest = sum.minus(mean, m) / m
    var square = LongSum()
    for value in x {
      let d = value - mean
      // What its rounding took, and what rounding took from the mean.
      let back = d - value
      let rest = (value - (d - back)) - (mean + back) - meanRest
      let product = d * d
      square.add(product)
      square.add((-product).addingProduct(d, d))
      square.add(2 * d * rest)
    }
    variance = square.value / m
    varianceRest = square.minus(variance, m) / m
  }

  func relativeError(_ other: Double) -> Double { ((other - variance) - varianceRest) / variance }
  func distance(_ other: Double) -> Double { (other - mean) - meanRest }
}
