import ABNCPUBackend
import ABNGraph
import ABNLayers
import ABNOperators
import ABNOptimizers
import ABNRuntime
import ABNTensors

/// A loss whose gradient is known without the engine: sum over parameters of (a * w + x) * w, with
/// x fed anew at each step, so that dw = 2 * a * w + x.
final class Quadratic {
  static let shapes: [Shape] = [[3, 5], [20011], [7], [2, 3, 4]]
  static let names = ["first", "large", "vector", "cube"]

  let builder = ProgramBuilder(seed: 1)
  let dtype: DType
  let executor = Executor(backend: CPUBackend())
  let scope = Scope()
  private(set) var parameters: [Variable] = []
  private(set) var loss: Variable!
  private var curvatures: [Tensor] = []
  /// The values of a, and the first values of w, as they are in `dtype`.
  private(set) var curvature: [[Double]] = []
  private(set) var initial: [[Double]] = []

  init(_ dtype: DType, traits: [ParameterTraits] = []) throws {
    self.dtype = dtype
    try builder.build {
      var terms: [Variable] = []
      for (k, shape) in Self.shapes.enumerated() {
        let start = Self.numbers(k, stream: 100, -1, 1).cast(to: dtype)
        initial.append(start.doubles)
        curvatures.append(Self.numbers(k, stream: 200, 0.1, 0.5).cast(to: dtype))
        curvature.append(curvatures[k].doubles)
        let w = try builder.addPersistable(
          named: Self.names[k], type: TensorType(shape, dtype),
          role: .parameter(k < traits.count ? traits[k] : ParameterTraits()),
          initializer: AssignValue(start), layer: "quadratic",
          source: SourceLocation(fileID: #fileID, line: #line))
        parameters.append(w)
        let a = try data("a\(k)", shape: shape, dtype: dtype)
        let x = try data("x\(k)", shape: shape, dtype: dtype)
        let inner = try elementwiseAdd(elementwiseMul(w, a), x)
        terms.append(try reduceSum(elementwiseMul(inner, w)))
      }
      loss = try sums(terms)
    }
  }

  func start() throws { try executor.run(builder.startup, scope: scope) }

  private static func numbers(_ k: Int, stream: UInt64, _ low: Double, _ high: Double) -> Tensor {
    let source = CounterRandom(seed: 17, stream: stream + UInt64(k))
    return Tensor(
      (0..<shapes[k].elementCount).map { low + (high - low) * source.uniform(UInt64($0)) },
      shape: shapes[k])
  }

  /// The linear terms of 20 steps, the same for all cases.
  private static let linear64 = (0..<20).map { step in
    shapes.indices.map { numbers($0, stream: 1000 + UInt64(step) * 10, -1, 1) }
  }
  private static let linear32 = linear64.map { $0.map { $0.cast(to: .float32) } }
  private static let linear32Exact = linear32.map { $0.map(\.doubles) }
  private static let linear64Exact = linear64.map { $0.map(\.doubles) }

  @discardableResult
  func run(step: Int, fetch: [any Fetchable] = []) throws -> [Tensor] {
    var feed: [String: Tensor] = [:]
    for k in Self.shapes.indices {
      feed["a\(k)"] = curvatures[k]
      let linear = (dtype == .float64 ? Self.linear64 : Self.linear32)[step][k]
      feed["x\(k)"] = linear.cast(to: dtype)
    }
    return try executor.run(builder.main, feed: feed, fetch: fetch, scope: scope)
  }

  /// What dw is, plainly.
  func gradients(at w: [[Double]], step: Int) -> [[Double]] {
    w.indices.map { k in
      let x = (dtype == .float64 ? Self.linear64Exact : Self.linear32Exact)[step][k]
      return w[k].indices.map { 2 * curvature[k][$0] * w[k][$0] + x[$0] }
    }
  }
}

/// State of an optimizer written plainly in float64, one entry for each parameter.
struct PlainState {
  var w: [[Double]]
  var v: [[Double]]
  var m: [[Double]]
  var s: [[Double]]

  init(_ w: [[Double]]) {
    self.w = w
    v = w.map { $0.map { _ in 0 } }
    m = v
    s = v
  }

  mutating func sgd(_ g: [[Double]], rate: Double) {
    for k in w.indices { for i in w[k].indices { w[k][i] -= rate * g[k][i] } }
  }

  mutating func momentum(_ g: [[Double]], rate: Double, mu: Double, nesterov: Bool) {
    for k in w.indices {
      for i in w[k].indices {
        v[k][i] = mu * v[k][i] + g[k][i]
        w[k][i] -= rate * (nesterov ? g[k][i] + mu * v[k][i] : v[k][i])
      }
    }
  }

  /// `t` counts from 1.
  mutating func adam(
    _ g: [[Double]], t: Int, rate: Double, _ b1: Double, _ b2: Double, _ epsilon: Double,
    decay: (Int) -> Double = { _ in 0 }
  ) {
    var (p1, p2) = (1.0, 1.0)
    for _ in 0..<t { (p1, p2) = (p1 * b1, p2 * b2) }
    for k in w.indices {
      for i in w[k].indices {
        m[k][i] = b1 * m[k][i] + (1 - b1) * g[k][i]
        s[k][i] = b2 * s[k][i] + (1 - b2) * g[k][i] * g[k][i]
        let (mean, square) = (m[k][i] / (1 - p1), s[k][i] / (1 - p2))
        w[k][i] -= rate * decay(k) * w[k][i]
        w[k][i] -= rate * mean / (square.squareRoot() + epsilon)
      }
    }
  }
}

extension PlainState {
  /// `t` counts from 1; `decay` nil: neither decay nor a ratio.
  mutating func lamb(
    _ g: [[Double]], t: Int, rate: Double, _ b1: Double, _ b2: Double, _ epsilon: Double,
    decay: (Int) -> Double?
  ) {
    var (p1, p2) = (1.0, 1.0)
    for _ in 0..<t { (p1, p2) = (p1 * b1, p2 * b2) }
    for k in w.indices {
      var step = [Double](repeating: 0, count: w[k].count)
      for i in w[k].indices {
        m[k][i] = b1 * m[k][i] + (1 - b1) * g[k][i]
        s[k][i] = b2 * s[k][i] + (1 - b2) * g[k][i] * g[k][i]
        step[i] =
          m[k][i] / (1 - p1) / ((s[k][i] / (1 - p2)).squareRoot() + epsilon)
          + (decay(k) ?? 0) * w[k][i]
      }
      let (length, stepLength) = (norm([w[k]]), norm([step]))
      let ratio = decay(k) == nil || length == 0 || stepLength == 0 ? 1 : length / stepLength
      for i in w[k].indices { w[k][i] -= rate * ratio * step[i] }
    }
  }
}

func norm(_ g: [[Double]]) -> Double {
  g.reduce(0.0) { $0 + $1.reduce(0.0) { $0 + $1 * $1 } }.squareRoot()
}

func times(_ g: [Double], _ factor: Double) -> [Double] { g.map { $0 * factor } }

/// g + l2 * w + l1 * sign(w), one parameter.
func decayed(_ g: [Double], _ w: [Double], l1: Double = 0, l2: Double = 0) -> [Double] {
  zip(g, w).map { g, w in g + l2 * w + l1 * (w > 0 ? 1 : w < 0 ? -1 : 0) }
}
