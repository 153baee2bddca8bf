import ABNTestSupport
import InPlaceABN

/// The layer's definition, written plainly in float64.
struct PlainLayer: Sendable {
  var scale: [Double]
  var bias: [Double]
  var epsilon = 1e-5
  var act: @Sendable (Double) -> Double = { $0 }
  var slope: @Sendable (Double) -> Double = { _ in 1 }

  /// One result for each element, or for each channel.
  struct Forward {
    var z: [Double] = []
    var y: [Double] = []
    var xhat: [Double] = []
    var mean: [Double]
    var variance: [Double]
  }

  /// The channel of each element of a tensor.
  static func channels(_ shape: Shape, _ layout: DataLayout) -> [Int] {
    let axis = layout.channelAxis(rank: shape.rank)
    let inner = shape.dimensions[(axis + 1)...].reduce(1, *)
    return (0..<shape.elementCount).map { $0 / inner % shape[axis] }
  }

  static func sums(_ values: [Double], _ channels: [Int], _ count: Int) -> [Double] {
    var sums = [Double](repeating: 0, count: count)
    for (value, channel) in zip(values, channels) { sums[channel] += value }
    return sums
  }

  /// z, with the statistics of the batch or with given ones.
  func forward(
    _ x: Tensor, _ layout: DataLayout = .nchw, given: (mean: [Double], variance: [Double])? = nil
  ) -> Forward {
    let channels = Self.channels(x.shape, layout)
    let m = Double(x.elementCount / scale.count)
    let mean = given?.mean ?? Self.sums(x.doubles, channels, scale.count).map { $0 / m }
    let squares = zip(x.doubles, channels).map { ($0 - mean[$1]) * ($0 - mean[$1]) }
    let variance =
      given?.variance ?? Self.sums(squares, channels, scale.count).map { $0 / m }
    var result = Forward(mean: mean, variance: variance)
    for (value, c) in zip(x.doubles, channels) {
      let xhat = (value - mean[c]) / (variance[c] + epsilon).squareRoot()
      let y = scale[c] * xhat + bias[c]
      result.xhat.append(xhat)
      result.y.append(y)
      result.z.append(act(y))
    }
    return result
  }

  /// dx, dscale and dbias for given statistics.
  func backward(
    _ dz: [Double], _ forward: Forward, _ shape: Shape, _ layout: DataLayout = .nchw
  ) -> (dx: [Double], dscale: [Double], dbias: [Double]) {
    let channels = Self.channels(shape, layout)
    let dy = zip(dz, forward.y).map { $0 * slope($1) }
    return (
      zip(dy, channels).map {
        scale[$1] / (forward.variance[$1] + epsilon).squareRoot() * $0
      },
      Self.sums(zip(dy, forward.xhat).map { $0 * $1 }, channels, scale.count),
      Self.sums(dy, channels, scale.count)
    )
  }
}

/// A program with what it takes to run it.
final class Rig {
  let builder = ProgramBuilder(seed: 5)
  let executor = Executor(backend: CPUBackend())
  let scope = Scope()

  /// Numbers in -2 ..< 2, of few bits.
  static func numbers(_ shape: Shape, _ stream: UInt64 = 0, dtype: DType = .float64) -> Tensor {
    let source = CounterRandom(seed: 21, stream: stream)
    return Tensor(
      (0..<shape.elementCount).map { (256 * source.uniform(UInt64($0))).rounded() / 64 - 2 },
      shape: shape
    ).cast(to: dtype)
  }

  func start() throws { try executor.run(builder.startup, scope: scope) }

  func run(
    _ program: Program, _ feed: [String: Tensor], _ fetch: [any Fetchable] = []
  ) throws -> [[Double]] {
    try executor.run(program, feed: feed, fetch: fetch, scope: scope).map(\.doubles)
  }

  /// Runs the main program.
  func run(_ feed: [String: Tensor], _ fetch: [any Fetchable] = []) throws -> [[Double]] {
    try run(builder.main, feed, fetch)
  }

  subscript(name: String) -> [Double] { scope[name]?.doubles ?? [] }
}
