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
    case ActivationCode.relu: V.relu(y)
    case ActivationCode.relu6: V.relu6(y)
    default: curved(code, y, slope)
    }
  }

  /// dz * act'(y).
  @inline(__always) static func gradient<V: Vector>(
    _ code: Int, _ y: V, _ dz: V, _ slope: V
  ) -> V {
    switch code {
    case ActivationCode.identity: dz
    case ActivationCode.leaky, ActivationCode.learnedLeaky: V.choose(y > V(0), dz, slope * dz)
    case ActivationCode.relu: V.reluGradient(y, dz)
    case ActivationCode.relu6: V.relu6Gradient(y, dz)
    default: curvedGradient(code, y, dz, slope)
    }
  }

  /// act'(y).
  @inline(__always) static func derivative<V: Vector>(_ code: Int, _ y: V, _ slope: V) -> V {
    gradient(code, y, V(1), slope)
  }

  @inline(never) private static func curved<V: Vector>(_ code: Int, _ y: V, _ slope: V) -> V {
    switch code {
    case ActivationCode.elu: return Elu.activate(y, slope)
    case ActivationCode.sigmoid: return V.sigmoid(y)
    case ActivationCode.tanh: return V.tanh(y)
    case ActivationCode.swish: return V.swish(y)
    case ActivationCode.gelu: return V.gelu(y)
    case ActivationCode.hardSwish: return V.hardSwish(y)
    default: return V.mish(y)
    }
  }

  @inline(never) private static func curvedGradient<V: Vector>(
    _ code: Int, _ y: V, _ dz: V, _ slope: V
  ) -> V {
    switch code {
    case ActivationCode.elu: return V.eluGradient(y, dz, slope)
    case ActivationCode.sigmoid: return V.sigmoidGradient(y, dz)
    case ActivationCode.tanh: return V.tanhGradient(y, dz)
    case ActivationCode.swish: return V.swishGradient(y, dz)
    case ActivationCode.gelu: return V.geluGradient(y, dz)
    case ActivationCode.hardSwish: return V.hardSwishGradient(y, dz)
    default: return V.mishGradient(y, dz)
    }
  }
}
