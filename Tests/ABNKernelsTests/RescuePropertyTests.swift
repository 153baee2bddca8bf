import Foundation
import Testing

@testable import ABNKernels

/// The error bounds of `Documentation/InPlaceABN.md` for layers drawn at random: the in-place layer against
/// the out-of-place one, both against float64. `ABN_SOAK` multiplies the cases, `ABN_SOAK_SEED` begins them.
@Suite struct RescuePropertyTests {
  static let factor = ProcessInfo.processInfo.environment["ABN_SOAK"].flatMap { Int($0) } ?? 1
  static let firstSeed =
    ProcessInfo.processInfo.environment["ABN_SOAK_SEED"].flatMap { UInt64($0) } ?? 1

  /// One layer, whose channels each have a deviation, scale, bias, outliers and gradient of their own.
  struct Case {
    var input: LayerInput
    var set: ABNInstructionSet
    var leastDirectCount: Int
    var threads: Int

    init(seed: UInt64) throws {
      var source = Source(state: seed &* 0x9E37_79B9)
      func pick<T>(_ list: [T]) -> T { list[Int(source.next() % UInt64(list.count))] }
      let element = pick(ABNElement.allCases)
      let activation = pick(AgreementTests.activations + [.elu(alpha: 1), .elu(alpha: 0.5)])
      let (outer, spatial) = pick(
        [(2, 1), (6, 1), (4, 5), (33, 1), (3, 49), (4, 49), (40, 1), (2, 300), (2, 300), (7, 100)])
      let channels = pick([1, 3, 8, 16, 19])
      let layout = pick([ABNLayout.channelSecond, .channelLast, .blocked(8), .blocked(16)])
      let geometry = try ABNGeometry(
        outer: outer, channels: channels, spatial: spatial, layout: layout)
      input = LayerInput(geometry, element, activation, seed: source.next())
      input.epsilon = pick([1e-5, 1e-5, 1e-5, 1e-3, 1e-8, 1, 10])
      set = pick(AgreementTests.sets)
      leastDirectCount = pick([1, 512, Int.max])
      threads = pick([1, 3])
      var given = ([Double](), [Double]())
      for channel in 0..<channels {
        let deviation = Self.fill(&input, channel, &source)
        let number = element.statistics
        let values = input.x[channel]
        let mean = values.reduce(0, +) / Double(values.count)
        given.0.append(number.rounded(mean + deviation * pick([0, 0, 1, -3]) * source.normal()))
        given.1.append(
          number.rounded(
            pick([deviation * deviation, deviation * deviation, 1, 1e-6])
              * pow(10, source.uniform(-1, 1))))
      }
      if source.next() % 3 == 0 { input.given = given }
    }

    /// Draws one channel; returns its deviation.
    private static func fill(
      _ input: inout LayerInput, _ channel: Int, _ source: inout Source
    ) -> Double {
      func pick<T>(_ list: [T]) -> T { list[Int(source.next() % UInt64(list.count))] }
      let element = input.element
      let number = element.statistics
      let m = input.geometry.countPerChannel
      let isHalf = element == .float16
      let deviation =
        pick([true, false]) ? 1 : pow(10, source.uniform(isHalf ? -5 : -7, isHalf ? 2 : 3))
      let mean = deviation * pick([0, 0, 1, 10]) * source.normal()
      input.x[channel] = (0..<m).map { _ in element.rounded(mean + deviation * source.normal()) }
      if m > 5 && source.next() % 3 == 0 {
        for _ in 0..<pick([1, 1, 3]) {
          let far = deviation * pow(10, source.uniform(0.5, isHalf ? 1.5 : 2.5))
          input.x[channel][Int(source.next() % UInt64(m))] = element.rounded(
            mean + far * pick([-1, 1]))
        }
      }
      let scale =
        pick([true, true, false])
        ? source.uniform(0.5, 2) : pick([0, pow(10, source.uniform(-8, 1.5))])
      input.scale[channel] = number.rounded(scale * pick([1, -1]))
      let share = (deviation * deviation / (deviation * deviation + input.epsilon)).squareRoot()
      let size = pick([1, scale, scale * share])
      input.bias[channel] = number.rounded(
        pick([0, 1, 2, 6, 12, -1, -2, -6]) * size * source.uniform(0.5, 1.5))
      let gradient = pick([0, 1, 2])
      input.dz[channel] = input.x[channel].map { x in
        let noise = source.normal()
        switch gradient {
        case 0: return element.rounded(noise)
        case 1: return element.rounded((x - mean) / deviation * 0.9 + 0.4 * noise)
        default: return element.rounded(1 + 0.1 * noise)
        }
      }
      return deviation
    }
  }

  /// Whether an element lies so near a jump of the derivative that rounding decides about its side.
  static func isNearAJump(_ input: LayerInput, _ y: [Double], _ channel: Int) -> Bool {
    let jumps: [Double] =
      switch input.activation {
      case .leakyReLU, .prelu, .relu: [0]
      case .elu(let alpha): alpha == 1 ? [] : [0]
      case .relu6: [0, 6]
      case .hardSwish: [-3, 3]
      default: []
      }
    let size = abs(input.bias[channel]) + (y.map { abs($0) }.max() ?? 0)
    let u = input.element.statistics.unitRoundoff
    return jumps.contains { jump in
      let near =
        16 * u * size + 2 * input.element.unitRoundoff * abs(jump)
        + (input.element == .float16 ? 0x1p-24 : 0)
      return y.contains { abs($0 - jump) <= near }
    }
  }

  @Test func theErrorBoundsHold() throws {
    for seed in Self.firstSeed..<Self.firstSeed + UInt64(120 * Self.factor) {
      try check(Case(seed: seed), seed)
    }
  }

  func check(_ each: Case, _ seed: UInt64) throws {
    let input = each.input
    let reference = input.reference
    let inside = try LayerRun(
      input: input, set: each.set,
      team: KernelTeam(count: each.threads, run: KernelTeam.serial.run),
      leastDirectCount: each.leastDirectCount)()
    let outside = try LayerRun(input: input, set: each.set, outOfPlace: true)()
    #expect(inside.isIntact && inside.paddingIsZero, "wrote outside: seed \(seed)")
    for channel in input.x.indices {
      let y = reference.y[channel]
      let bounds = Bounds(input, reference, channel)
      let what =
        "seed \(seed): \(each.set) \(input.element) \(input.activation) \(input.geometry.layout)"
        + " m \(y.count) scale \(input.scale[channel]) bias \(input.bias[channel])"
        + " share \(bounds.share) given \(input.given != nil) rescued \(inside.isRescued[channel])"
        + " direct \(each.leastDirectCount)"
      func compare(
        _ name: String, _ mine: [Double], _ other: [Double], _ truth: [Double], _ allowed: Double
      ) {
        guard truth.allSatisfy({ abs($0) < input.element.greatest }) else { return }
        let error = largestDifference(mine, truth)
        let twice = 2 * largestDifference(other, truth)
        #expect(
          error <= twice + allowed || twice.isNaN,
          "\(name) \(channel) off by \(error), allowed \(twice) + \(allowed); \(what)")
      }
      compare(
        "z", inside.z[channel], outside.z[channel], reference.z[channel], bounds.z)
      if Self.isNearAJump(input, y, channel) { continue }
      compare("dx", inside.dx[channel], outside.dx[channel], reference.dx[channel], bounds.dx)
      compare(
        "dscale", [inside.dscale[channel]], [outside.dscale[channel]],
        [reference.dscale[channel]], bounds.dscale)
      for index in y.indices {
        let error = abs(inside.restored[channel][index] - input.x[channel][index])
        #expect(
          error <= bounds.restored(index),
          "restored \(channel) \(index) off by \(error) of \(bounds.restored(index)); \(what)")
      }
    }
  }
}

/// What the table allows for a channel beside twice the error of the out-of-place pass.
private struct Bounds {
  var z: Double
  var dx: Double
  var dscale: Double
  /// The root mean square of xhat.
  var share: Double
  private var u: Double
  private var inverse: Double
  private var x: [Double]
  private var xhat: [Double]

  init(_ input: LayerInput, _ reference: ReferenceLayer, _ channel: Int) {
    u = input.element.unitRoundoff
    x = input.x[channel]
    inverse = 1 / (reference.variance[channel] + input.epsilon).squareRoot()
    let (mean, inverse) = (reference.mean[channel], inverse)
    xhat = x.map { ($0 - mean) * inverse }
    let m = Double(max(1, x.count))
    let share = (xhat.reduce(0) { $0 + $1 * $1 } / m).squareRoot()
    self.share = share
    // Half the least number that an element tells from 0.
    let least = input.element.leastNormal * u
    z = 16 * u * (reference.z[channel].map { abs($0) }.max() ?? 0) + least
    let gain = input.scale[channel] * inverse
    // The terms that dx is the difference of.
    let constant = input.given == nil ? abs(gain * reference.dbias[channel] / m) : 0
    let part =
      input.given == nil
      ? (xhat.map { abs($0) }.max() ?? 0) * abs(gain * reference.dscale[channel] / m) : 0
    let largest = reference.dx[channel].map { abs($0) }.max() ?? 0
    dx = 16 * u * max(constant, part, largest) + least
    let slope: Double =
      switch input.activation {
      case .leakyReLU(let alpha), .elu(let alpha): max(1, abs(alpha))
      default: 1
      }
    dscale =
      4 * u * slope
      * zip(input.dz[channel], xhat).reduce(0) { $0 + abs($1.0) * max(share, abs($1.1)) }
    // What rounding bias adds to every element alike.
    if input.scale[channel] != 0 {
      dscale += u * abs(input.bias[channel] / input.scale[channel] * reference.dbias[channel])
    }
  }

  /// An error of x that is computed back.
  func restored(_ index: Int) -> Double {
    16 * u * (share + abs(xhat[index])) / inverse + 2 * u * abs(x[index])
  }
}

/// The largest difference; infinite if one side is not a number where the other is.
private func largestDifference(_ a: [Double], _ b: [Double]) -> Double {
  var result = 0.0
  for (p, q) in zip(a, b) where p != q && !(p.isNaN && q.isNaN) {
    if p.isNaN || q.isNaN { return .infinity }
    result = max(result, abs(p - q))
  }
  return result
}
