/// An activation that is undone from its result, fixed when the kernel is compiled.
protocol InvertibleActivation {
  /// Whether sum(dz * min(y, 0)), the gradient of a slope, is wanted.
  static var hasSlopeGradient: Bool { get }
  /// Whether z is y, so that y - bias is 0 exactly where z is what bias is stored as.
  static var isIdentity: Bool { get }
  /// Whether z is a multiple of y on either side of zero.
  static var isPiecewiseLinear: Bool { get }
  /// Whether z loses the digits of y far below zero, so that the forward pass keeps x of such elements aside.
  static var saturates: Bool { get }
  static func activate<V: Vector>(_ y: V, _ slope: V) -> V
  /// y and dz/dy from z, which was stored as an `E`.
  static func invert<E: Element>(
    _ element: E.Type, _ z: E.V, _ slope: E.V, _ inverseSlope: E.V
  ) -> (y: E.V, derivative: E.V)
}

extension InvertibleActivation {
  static var saturates: Bool { @inline(__always) get { false } }
  static var isPiecewiseLinear: Bool { @inline(__always) get { true } }
}

enum Identity: InvertibleActivation {
  static var hasSlopeGradient: Bool { @inline(__always) get { false } }
  static var isIdentity: Bool { @inline(__always) get { true } }
  @inline(__always) static func activate<V: Vector>(_ y: V, _ slope: V) -> V { y }
  @inline(__always) static func invert<E: Element>(
    _ element: E.Type, _ z: E.V, _ slope: E.V, _ inverseSlope: E.V
  ) -> (y: E.V, derivative: E.V) { (z, E.V(1)) }
}

enum Leaky: InvertibleActivation {
  static var hasSlopeGradient: Bool { @inline(__always) get { false } }
  static var isIdentity: Bool { @inline(__always) get { false } }
  @inline(__always) static func activate<V: Vector>(_ y: V, _ slope: V) -> V {
    V.choose(V.exceedsNot(y, V(0)), y * slope, y)
  }
  @inline(__always) static func invert<E: Element>(
    _ element: E.Type, _ z: E.V, _ slope: E.V, _ inverseSlope: E.V
  ) -> (y: E.V, derivative: E.V) {
    let bent = E.V.exceedsNot(z, E.V(0))
    return (E.V.choose(bent, z * inverseSlope, z), E.V.choose(bent, slope, E.V(1)))
  }
}

enum LearnedLeaky: InvertibleActivation {
  static var hasSlopeGradient: Bool { @inline(__always) get { true } }
  static var isIdentity: Bool { @inline(__always) get { false } }
  @inline(__always) static func activate<V: Vector>(_ y: V, _ slope: V) -> V {
    Leaky.activate(y, slope)
  }
  @inline(__always) static func invert<E: Element>(
    _ element: E.Type, _ z: E.V, _ slope: E.V, _ inverseSlope: E.V
  ) -> (y: E.V, derivative: E.V) { Leaky.invert(element, z, slope, inverseSlope) }
}

enum Elu: InvertibleActivation {
  static var saturates: Bool { @inline(__always) get { true } }
  static var hasSlopeGradient: Bool { @inline(__always) get { false } }
  static var isIdentity: Bool { @inline(__always) get { false } }
  static var isPiecewiseLinear: Bool { @inline(__always) get { false } }
  @inline(__always) static func activate<V: Vector>(_ y: V, _ slope: V) -> V {
    // What comes out for y > 0 is not used.
    V.choose(V.exceedsNot(y, V(0)), V.expMinusOneOfNegative(y) * slope, y)
  }
  @inline(__always) static func invert<E: Element>(
    _ element: E.Type, _ z: E.V, _ slope: E.V, _ inverseSlope: E.V
  ) -> (y: E.V, derivative: E.V) {
    let bent = E.V.exceedsNot(z, E.V(0))
    var t = z * inverseSlope
    var derivative = z + slope
    // Where z has been rounded to -alpha, y is the largest that could have been, the logarithm of half a u.
    if !E.isExact {
      // Here it may have been rounded to below -alpha, which is no element.
      t = t.atLeast(E.V(E.roundoff / 2 - 1))
      derivative = derivative.atLeast(E.V(0))
    }
    return (
      E.V.choose(bent, E.V.logOfOnePlusNegative(t), z),
      E.V.choose(bent, derivative, E.V(1))
    )
  }
}

/// Elu with an alpha of 1, as nearly all have it: the same bits without the product with alpha or its inverse,
/// an eighth of what undoing takes.
enum UnitElu: InvertibleActivation {
  static var saturates: Bool { @inline(__always) get { true } }
  static var hasSlopeGradient: Bool { @inline(__always) get { false } }
  static var isIdentity: Bool { @inline(__always) get { false } }
  static var isPiecewiseLinear: Bool { @inline(__always) get { false } }
  @inline(__always) static func activate<V: Vector>(_ y: V, _ slope: V) -> V {
    V.choose(V.exceedsNot(y, V(0)), V.expMinusOneOfNegative(y), y)
  }
  @inline(__always) static func invert<E: Element>(
    _ element: E.Type, _ z: E.V, _ slope: E.V, _ inverseSlope: E.V
  ) -> (y: E.V, derivative: E.V) {
    let bent = E.V.exceedsNot(z, E.V(0))
    // No element of any type lies between -1 and the rounding of it.
    let t = E.isExact ? z : z.atLeast(E.V(E.roundoff / 2 - 1))
    return (
      E.V.choose(bent, E.V.logOfOnePlusNegative(t), z),
      E.V.choose(bent, z + E.V(1), E.V(1))
    )
  }
}

/// The activations by number; the same numbers for every instruction set.
public enum ActivationCode {
  public static let identity = 0
  public static let leaky = 1
  public static let learnedLeaky = 2
  public static let elu = 3
  public static let relu = 4
  public static let relu6 = 5
  public static let sigmoid = 6
  public static let tanh = 7
  public static let swish = 8
  public static let gelu = 9
  public static let hardSwish = 10
  public static let mish = 11
}

/// Any activation by number. The branch is the same for a whole tensor and so costs next to nothing.
enum AnyActivation {
  @inline(__always) static func activate<V: Vector>(_ code: Int, _ y: V, _ slope: V) -> V {
    switch code {
    case ActivationCode.identity: y
    case ActivationCode.leaky, ActivationCode.learnedLeaky: Leaky.activate(y, slope)
    case ActivationCode.relu: V.choose(V(0) > y, V(0), y)
    case ActivationCode.relu6: y.atLeast(V(0)).atMost(V(6))
    default: curved(code, y, slope)
    }
  }

  @inline(__always) static func derivative<V: Vector>(_ code: Int, _ y: V, _ slope: V) -> V {
    switch code {
    case ActivationCode.identity: V(1)
    case ActivationCode.leaky, ActivationCode.learnedLeaky: V.choose(y > V(0), V(1), slope)
    case ActivationCode.relu: V.choose(y > V(0), V(1), V(0))
    case ActivationCode.relu6: V.choose(y > V(0), V.choose(V(6) > y, V(1), V(0)), V(0))
    default: curvedDerivative(code, y, slope)
    }
  }

  @inline(never) private static func curved<V: Vector>(_ code: Int, _ y: V, _ slope: V) -> V {
    switch code {
    case ActivationCode.elu: return Elu.activate(y, slope)
    case ActivationCode.sigmoid: return V.sigmoid(y)
    case ActivationCode.tanh: return V.tanh(y)
    case ActivationCode.swish: return y.atLeast(V(2 * V.least)) * V.sigmoid(y)
    case ActivationCode.gelu: return y.atLeast(V(-V.tailEnd)) * V.normal(y).below
    case ActivationCode.hardSwish:
      return y.atLeast(V(-3)) * (y + V(3)).atLeast(V(0)).atMost(V(6)) * V(1.0 / 6)
    default:
      // tanh(log(1 + e)) = n / (n + 2) with n = e (e + 2); 1 to the last bit from y = 20 on.
      let e = V.exp(y.atMost(V(20)))
      let n = e * (e + V(2))
      return y.atLeast(V(2 * V.least)) * (n / (n + V(2)))
    }
  }

  @inline(never) private static func curvedDerivative<V: Vector>(
    _ code: Int, _ y: V, _ slope: V
  ) -> V {
    switch code {
    case ActivationCode.elu:
      return V.choose(y > V(0), V(1), V.exp(y.atMost(V(0))) * slope)
    case ActivationCode.sigmoid:
      let (e, q) = V.logistic(y)
      return e * q * q
    case ActivationCode.tanh:
      let (e, q) = V.logistic(y * V(2))
      return V(4) * e * q * q
    case ActivationCode.swish:
      let (e, q) = V.logistic(y)
      let s = V.choose(V(0) > y, e * q, q)
      // Past these bounds the product is 0, and infinity times 0 must not be met.
      let bounded = y.atLeast(V(2 * V.least)).atMost(V(-2 * V.least))
      return V.fma(s, bounded, e * q * q)
    case ActivationCode.gelu:
      let (below, density) = V.normal(y)
      return V.fma(below, y.atLeast(V(-V.tailEnd)).atMost(V(V.tailEnd)), density)
    case ActivationCode.hardSwish:
      let inside = V.fma(V(0.5), y, V(1.0 / 3))
      let below = V.choose(V(-3) > y, V(0), V.choose(y == V(-3), V(0), inside))
      return V.choose(y > V(3), V(1), V.choose(y == V(3), V(1), below))
    default:
      let e = V.exp(y.atMost(V(20)))
      let n = e * (e + V(2))
      let d = V(1) / (n + V(2))
      let slopeTerm = V(4) * e * (e + V(1)) * d * d
      return V.choose(y > V(20), V(1), V.fma(n * d, y.atLeast(V(2 * V.least)), slopeTerm))
    }
  }
}
