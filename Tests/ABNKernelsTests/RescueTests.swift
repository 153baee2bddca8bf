import Foundation
import Testing

@testable import ABNKernels

/// What is kept of x beside z: which channels, which elements, how many bytes; and the numbers that are wrong
/// without.
@Suite struct RescueTests {
  static let layouts: [ABNLayout] = [.channelSecond, .channelLast, .blocked(8), .blocked(16)]

  static func input(
    _ x: [Double], _ dz: [Double], _ element: ABNElement, _ activation: ABNActivation,
    _ layout: ABNLayout, scale: Double = 1, bias: Double = 0
  ) throws -> LayerInput {
    let geometry = try ABNGeometry(outer: x.count, channels: 1, spatial: 1, layout: layout)
    var input = LayerInput(geometry, element, activation)
    input.x = [x.map(element.rounded)]
    input.dz = [dz.map(element.rounded)]
    input.scale = [element.statistics.rounded(scale)]
    input.bias = [element.statistics.rounded(bias)]
    return input
  }

  /// Largest difference of dx from float64, in units of rounding of the largest.
  static func units(_ result: LayerResult, _ input: LayerInput) -> Double {
    relativeError(result.dx, input.reference.dx) / input.element.unitRoundoff
  }

  @Test(arguments: ABNElement.allCases)
  func saturatedChannelsNeedNoOutlier(_ element: ABNElement) throws {
    let x = [-1.5, -0.5, 0, 0.5, 1, 2]
    let dz = [1, -1, 0.5, 2, -0.5, 1]
    for layout in Self.layouts {
      for (scale, bias) in [(2.0, -10.0), (1, -4.4), (1.6, -2), (-2, -6), (0.5, -3)] {
        for alpha in [1, 0.5] {
          let input = try Self.input(
            x, dz, element, .elu(alpha: alpha), layout, scale: scale, bias: bias)
          for set in AgreementTests.sets {
            let error = Self.units(try LayerRun(input: input, set: set)(), input)
            #expect(error <= 16, "\(error) u: \(scale) \(bias) \(alpha) \(set) \(layout)")
          }
        }
      }
    }
  }

  /// One element of 2,000 far below the rest, then more: they are kept aside, and the channel is not rescued.
  @Test(arguments: ABNElement.allCases)
  func elementsFarBelowAreKeptAside(_ element: ABNElement) throws {
    for count in [1, 5, 40] {
      for alpha in [1, 0.5] {
        for layout in Self.layouts {
          var source = Source(state: 5)
          var x = (0..<2000).map { _ in min(2, max(-2, source.normal())) }
          let dz = x.map { 0.7 * $0 + 0.7 * source.normal() }
          for number in 0..<count { x[number * 49 % 2000] = -9 - Double(number % 7) }
          let input = try Self.input(x, dz, element, .elu(alpha: alpha), layout)
          for set in AgreementTests.sets {
            let result = try LayerRun(input: input, set: set)()
            let what = "\(count) \(element) \(alpha) \(layout) \(set)"
            #expect(result.rescued == 0 && result.asideCount == count, "\(what)")
            let outside = Self.units(
              try LayerRun(input: input, set: set, outOfPlace: true)(), input)
            let error = Self.units(result, input)
            #expect(error <= 16 + 2 * outside, "\(error) u, out of place \(outside): \(what)")
            for number in 0..<count {
              let at = number * 49 % 2000
              #expect(result.restored[0][at] == input.x[0][at], "\(what)")
            }
          }
        }
      }
    }
  }

  /// At most a fifth of a channel is kept aside, whatever the data; what is kept does not depend on threads.
  @Test func noMoreThanAFifthIsKeptAside() throws {
    for share in [0.05, 0.15, 0.19, 0.25, 0.4] {
      var source = Source(state: 8)
      let geometry = try ABNGeometry(outer: 3, channels: 3, spatial: 700, layout: .channelSecond)
      var input = LayerInput(geometry, .float32, .elu(alpha: 1), mean: 0, deviation: 1)
      input.x = input.x.map { _ in
        (0..<2100).map { _ in
          let below = source.uniform(0, 1) < share
          return ABNElement.float32.rounded((below ? -3 : 1) + 0.1 * source.normal())
        }
      }
      input.scale = [1.2, 2, 2.8]
      input.bias = [0, -0.3, -1]
      let one = try LayerRun(input: input, set: .baseline)()
      let many = try LayerRun(
        input: input, set: .baseline, team: KernelTeam(count: 3, run: manyThreads),
        caches: Caches(coreBytes: 100))()
      #expect(one.asideCount <= 3 * 2100 / 5, "\(share): \(one.asideCount)")
      #expect(one.asideCount == many.asideCount && one.isRescued == many.isRescued)
      #expect(relativeError(one.dx, input.reference.dx) <= 16 * 0x1p-24, "\(share)")
      #expect(relativeError(many.dx, input.reference.dx) <= 16 * 0x1p-24, "\(share)")
    }
  }

  /// Members of a team are handed rows while others ask how many there are. Few rows, often: the list of
  /// them moves in memory when it grows.
  @Test func rowsAreCountedWhileTheyAreHandedOut() throws {
    let (channels, parts) = (512, 4)
    let geometry = try ABNGeometry(outer: 1, channels: channels, spatial: 2, layout: .channelSecond)
    let kernel = try ABNKernel(geometry: geometry, element: .float32, activation: .identity)
    for _ in 0..<300 {
      let rescue = ABNRescue(kernel)
      // The second time all rows are spare ones.
      for _ in 0..<2 {
        manyThreads(parts) { part in
          for own in 0..<channels / parts {
            rescue.take(part + own * parts)
            for _ in 0..<8 {
              let (count, bytes) = (rescue.count, rescue.bytes)
              if !(own + 1...channels).contains(count) || bytes < (own + 1) * 8 {
                Issue.record("\(count) rows, \(bytes) bytes, of which \(own + 1) are this part's")
                return
              }
            }
          }
        }
        #expect(rescue.count == channels && rescue.bytes == channels * 8)
        rescue.clear()
        #expect(rescue.count == 0)
      }
    }
  }

  /// A deviation far below the root of epsilon, or of a moving variance: y is bias in the stored bits.
  @Test(arguments: ABNElement.allCases)
  func smallDeviationsAreRescued(_ element: ABNElement) throws {
    for activation in [ABNActivation.identity, .leakyReLU(alpha: 0.1), .relu, .elu(alpha: 1)] {
      for isGiven in [false, true] {
        for layout in Self.layouts {
          var source = Source(state: 3)
          let geometry = try ABNGeometry(outer: 4, channels: 3, spatial: 49, layout: layout)
          var input = LayerInput(geometry, element, activation, mean: 0, deviation: 1e-4)
          input.dz = input.x.map { $0.map { element.rounded($0 * 5e3 + source.normal()) } }
          input.scale = [1, -1, 1]
          input.bias = [0.5, 1, 0]
          if isGiven { input.given = ([0, 0, 0], [1, 1, 1]) } else { input.epsilon = 0.1 }
          let reference = input.reference
          for set in AgreementTests.sets {
            let result = try LayerRun(input: input, set: set)()
            let what = "\(element) \(activation) \(isGiven) \(layout) \(set)"
            // Whether float16 has the digits of the third one's y, 1e-4 or so, hangs on the slope.
            #expect(result.isRescued[0] && result.isRescued[1], "\(what)")
            #expect(element == .float16 || !result.isRescued[2], "\(what)")
            for channel in 0..<3 {
              let error = abs(result.dscale[channel] / reference.dscale[channel] - 1)
              #expect(error <= 16 * element.unitRoundoff + 1e-6, "\(error) \(channel) \(what)")
            }
          }
        }
      }
    }
  }

  /// y beyond the largest number of the element type, where x is not.
  @Test func whatOverflowsInStorageIsRescued() throws {
    let cases: [(ABNElement, [Double], Double, Double)] = [
      (.float16, [-700, 0.5, 1], 1, 1e-6), (.float16, [-60000, 2, 1], 1.5, 1),
      (.float32, [-2e38, 0.5, 1], 4, 1), (.bfloat16, [-0x1p126, 0.5, 1], 8, 1),
      (.float64, [-0x1p1022, 0.5, 1], 8, 1),
    ]
    for (element, x, scale, variance) in cases {
      for activation in [ABNActivation.relu, .relu6, .hardSwish, .elu(alpha: 1)] {
        for layout in Self.layouts {
          var input = try Self.input(x, [1, 1, 0.5], element, activation, layout, scale: scale)
          input.given = ([0], [element.statistics.rounded(variance)])
          for set in AgreementTests.sets {
            let result = try LayerRun(input: input, set: set)()
            let what = "\(element) \(activation) \(layout) \(set)"
            #expect(result.rescued == 1, "\(what)")
            let right = input.reference.dscale[0]
            let error = abs(result.dscale[0] - right)
            #expect(error <= 4 * element.unitRoundoff * (1 + abs(right)), "\(error) \(what)")
          }
        }
      }
    }
  }

  /// An infinite x with given statistics: xhat is infinite where dy is 0, so that dscale is no number.
  @Test(arguments: ABNElement.allCases)
  func infiniteElementsGiveNoNumber(_ element: ABNElement) throws {
    for activation in [ABNActivation.elu(alpha: 1), .elu(alpha: 0.5), .relu] {
      for layout in Self.layouts {
        var input = try Self.input(
          [-.infinity, 0.5, 1, -0.25], [1, 1, 0.5, 1], element, activation, layout)
        input.given = ([0], [1])
        for set in AgreementTests.sets {
          let result = try LayerRun(input: input, set: set)()
          let what = "\(activation) \(layout) \(set)"
          #expect(result.dscale[0].isNaN && input.reference.dscale[0].isNaN, "\(what)")
          #expect(result.dbias[0].isFinite && result.dx[0].allSatisfy(\.isFinite), "\(what)")
          #expect(result.dx[0][0] == 0, "\(what)")
        }
      }
    }
  }

  /// Bytes are asked for when they are needed, and used again.
  @Test func bytesAreCounted() throws {
    let geometry = try ABNGeometry(outer: 2, channels: 3, spatial: 50, layout: .channelSecond)
    let kernel = try ABNKernel(geometry: geometry, element: .float32, activation: .identity)
    let rescue = ABNRescue(kernel)
    #expect(rescue.bytes == 0 && rescue.count == 0 && rescue.mostBytes == 3 * 100 * 4)
    rescue.take(1)
    #expect(rescue.isRescued(1) && !rescue.isRescued(0))
    #expect(rescue.bytes == 400 && rescue.count == 1)
    rescue.clear()
    rescue.take(2)
    rescue.take(0)
    #expect(rescue.bytes == 800 && rescue.count == 2 && !rescue.isRescued(1))
    rescue.clear()
    #expect(rescue.bytes == 800 && rescue.count == 0 && rescue.bytes <= rescue.mostBytes)
  }

  @Test func placesAndOffsetsUndoOneAnother() throws {
    for layout in Self.layouts {
      let geometry = try ABNGeometry(outer: 3, channels: 19, spatial: 7, layout: layout)
      var seen = Set<Int>()
      for channel in 0..<19 {
        for index in 0..<21 {
          let offset = geometry.offset(channel, index)
          let place = geometry.place(offset)
          #expect(place.channel == channel && place.index == index, "\(layout)")
          seen.insert(offset)
        }
      }
      #expect(seen.count == 19 * 21 && seen.allSatisfy { $0 >= 0 && $0 < geometry.elementCount })
    }
  }
}
