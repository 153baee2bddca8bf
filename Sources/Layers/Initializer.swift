import ABNGraph
import ABNOperators
import ABNTensors

/// The first value of a parameter.
public enum Initializer: Sendable {
  /// The same value everywhere.
  case constant(Double)
  /// Uniform in low ..< high, then rounded to the element type, which may make it `high`.
  case uniform(low: Double = -1, high: Double = 1)
  /// Normal with this mean and standard deviation.
  case normal(mean: Double = 0, deviation: Double = 1)
  /// Normal, with values further than two deviations from the mean drawn again.
  case truncatedNormal(mean: Double = 0, deviation: Double = 1)
  /// Glorot and Bengio (2010): variance 2 / (fanIn + fanOut); uniform or normal.
  case xavier(uniform: Bool = true, fanIn: Int? = nil, fanOut: Int? = nil)
  /// He et al. (2015): variance 2 / fanIn; uniform or normal.
  case msra(uniform: Bool = true, fanIn: Int? = nil)
  /// These values, in the parameter's shape.
  case array(Tensor)

  /// Fan-in and fan-out of a weight: [in, out] for fc, [out, in / groups, kernel ...] for conv.
  ///
  /// In float64, which holds the counts of every tensor exactly and overflows for no product of
  /// sizes.
  static func fans(_ shape: Shape) -> (fanIn: Double, fanOut: Double) {
    let sizes = shape.dimensions.map(Double.init)
    switch shape.rank {
    case 0: return (1, 1)
    case 1: return (sizes[0], sizes[0])
    case 2: return (sizes[0], sizes[1])
    default:
      let window = sizes.dropFirst(2).reduce(1, *)
      return (sizes[1] * window, sizes[0] * window)
    }
  }

  /// The operator that makes the value.
  func kind(for type: TensorType, builder: ProgramBuilder) throws -> any OperatorKind {
    func random(_ distribution: RandomFill.Distribution) -> any OperatorKind {
      RandomFill(distribution, type: type, seed: builder.seed, stream: builder.nextStream())
    }
    /// Uniform or normal with mean 0 and this variance.
    func withVariance(_ variance: Double, uniform: Bool) -> any OperatorKind {
      let bound = (3 * variance).squareRoot()
      return random(
        uniform
          ? .uniform(low: -bound, high: bound)
          : .normal(mean: 0, deviation: variance.squareRoot()))
    }
    /// A count that was given, or the shape's own.
    func fan(_ given: Int?, _ own: Double, _ what: String) throws -> Double {
      if let given, given < 1 {
        throw ABNError(
          .attribute, "initializer: \(what)", got: "\(given)", wanted: "at least 1, or nil")
      }
      return given.map(Double.init) ?? own
    }
    let fans = Self.fans(type.shape)
    switch self {
    case .constant(let value): return FillConstant(value, type: type)
    case .uniform(let low, let high): return random(.uniform(low: low, high: high))
    case .normal(let mean, let deviation):
      return random(.normal(mean: mean, deviation: deviation))
    case .truncatedNormal(let mean, let deviation):
      return random(.truncatedNormal(mean: mean, deviation: deviation))
    case .xavier(let uniform, let fanIn, let fanOut):
      let sum = try fan(fanIn, fans.fanIn, "fanIn") + fan(fanOut, fans.fanOut, "fanOut")
      return withVariance(2 / max(sum, 1), uniform: uniform)
    case .msra(let uniform, let fanIn):
      return withVariance(2 / max(try fan(fanIn, fans.fanIn, "fanIn"), 1), uniform: uniform)
    case .array(let values):
      return AssignValue(values.dtype == type.dtype ? values : values.cast(to: type.dtype))
    }
  }
}
