/// An activation z = f(y), fixed when the kernel is compiled; `slope` is the alpha of those that
/// have one.
protocol ActivationFunction {
  static func activate<V: Vector>(_ y: V, _ slope: V) -> V
  /// dz * f'(y).
  static func gradient<V: Vector>(_ y: V, _ dz: V, _ slope: V) -> V
}

/// An activation that is undone from its result.
protocol InvertibleActivation: ActivationFunction {
  /// Whether sum(dz * min(y, 0)), the gradient of a slope, is wanted.
  static var hasSlopeGradient: Bool { get }
  /// Whether z is y, so that y - bias is 0 exactly where z is what bias is stored as.
  static var isIdentity: Bool { get }
  /// Whether z is a multiple of y on either side of zero.
  static var isPiecewiseLinear: Bool { get }
  /// Whether z loses the digits of y far below zero, so that the forward pass keeps x of such
  /// elements aside.
  static var saturates: Bool { get }
  /// y and dz/dy from z, which was stored as an `E`.
  static func invert<E: Element>(
    _ element: E.Type, _ z: E.V, _ slope: E.V, _ inverseSlope: E.V
  ) -> (y: E.V, derivative: E.V)
}

extension InvertibleActivation {
  static var hasSlopeGradient: Bool { @inline(__always) get { false } }
  static var isIdentity: Bool { @inline(__always) get { false } }
  static var saturates: Bool { @inline(__always) get { false } }
  static var isPiecewiseLinear: Bool { @inline(__always) get { true } }
}

enum Identity: InvertibleActivation {
  static var isIdentity: Bool { @inline(__always) get { true } }
  @inline(__always) static func activate<V: Vector>(_ y: V, _ slope: V) -> V { y }
  @inline(__always) static func gradient<V: Vector>(_ y: V, _ dz: V, _ slope: V) -> V { dz }
  @inline(__always) static func invert<E: Element>(
    _ element: E.Type, _ z: E.V, _ slope: E.V, _ inverseSlope: E.V
  ) -> (y: E.V, derivative: E.V) { (z, E.V(1)) }
}

/// A slope left of zero.
protocol LeakyActivation: InvertibleActivation {}

enum Leaky: LeakyActivation {}
enum LearnedLeaky: LeakyActivation {
  static var hasSlopeGradient: Bool { @inline(__always) get { true } }
}

extension LeakyActivation {
  @inline(__always) static func activate<V: Vector>(_ y: V, _ slope: V) -> V {
    V.choose(V.exceedsNot(y, V(0)), y * slope, y)
  }
  @inline(__always) static func gradient<V: Vector>(_ y: V, _ dz: V, _ slope: V) -> V {
    V.choose(y > V(0), dz, slope * dz)
  }
  @inline(__always) static func invert<E: Element>(
    _ element: E.Type, _ z: E.V, _ slope: E.V, _ inverseSlope: E.V
  ) -> (y: E.V, derivative: E.V) {
    let bent = E.V.exceedsNot(z, E.V(0))
    return (E.V.choose(bent, z * inverseSlope, z), E.V.choose(bent, slope, E.V(1)))
  }
}

/// alpha * (exp(y) - 1) left of zero.
protocol ExponentialActivation: InvertibleActivation {
  /// Whether alpha is 1, as nearly all have it: the same bits without the products with alpha and
  /// its inverse, an eighth of what undoing takes.
  static var isUnit: Bool { get }
}

enum Elu: ExponentialActivation {
  static var isUnit: Bool { @inline(__always) get { false } }
}
enum UnitElu: ExponentialActivation {
  static var isUnit: Bool { @inline(__always) get { true } }
}

extension ExponentialActivation {
  static var saturates: Bool { @inline(__always) get { true } }
  static var isPiecewiseLinear: Bool { @inline(__always) get { false } }

  @inline(__always) static func activate<V: Vector>(_ y: V, _ slope: V) -> V {
    // What comes out for y > 0 is not used.
    let curve = V.expMinusOneOfNegative(y)
    return V.choose(V.exceedsNot(y, V(0)), isUnit ? curve : curve * slope, y)
  }

  /// dz where y > 0, else dz * alpha * exp(y).
  @inline(__always) static func gradient<V: Vector>(_ y: V, _ dz: V, _ slope: V) -> V {
    let b = y.atMost(V(0))
    if V.isPlain(b) { return V.choose(y > V(0), dz, dz * (slope * V.plainExp(b))) }
    let h = V.exp(b * V(0.5))
    return V.choose(y > V(0), dz, dz * h * (slope * h))
  }

  @inline(__always) static func invert<E: Element>(
    _ element: E.Type, _ z: E.V, _ slope: E.V, _ inverseSlope: E.V
  ) -> (y: E.V, derivative: E.V) {
    let bent = E.V.exceedsNot(z, E.V(0))
    var t = isUnit ? z : z * inverseSlope
    var derivative = z + (isUnit ? E.V(1) : slope)
    // Where z has been rounded to -alpha, y is the largest that could have been, the logarithm of
    // half a u.
    if !E.isExact {
      // Here it may have been rounded to below -alpha, which is no element; with an alpha of 1 no
      // element of any type lies between -1 and the rounding of it.
      t = t.atLeast(E.V(E.roundoff / 2 - 1))
      if !isUnit { derivative = derivative.atLeast(E.V(0)) }
    }
    return (
      E.V.choose(bent, E.V.logOfOnePlusNegative(t), z), E.V.choose(bent, derivative, E.V(1))
    )
  }
}

/// The activations by number; the same numbers for every instruction set.
package enum ActivationCode {
  package static let identity = 0
  package static let leaky = 1
  package static let learnedLeaky = 2
  package static let elu = 3
  package static let relu = 4
  package static let relu6 = 5
  package static let sigmoid = 6
  package static let tanh = 7
  package static let swish = 8
  package static let gelu = 9
  package static let hardSwish = 10
  package static let mish = 11
  package static let hardSigmoid = 12
}

/// What is done for an activation that is known by its number.
protocol ActivationBody {
  associatedtype Result
  func run<A: ActivationFunction>(_ activation: A.Type) -> Result
}

/// Any activation by number: the one switch over all of them.
@inline(__always) func withActivation<B: ActivationBody>(_ code: Int, _ body: B) -> B.Result {
  switch code {
  case ActivationCode.identity: body.run(Identity.self)
  case ActivationCode.leaky, ActivationCode.learnedLeaky: body.run(Leaky.self)
  case ActivationCode.elu: body.run(Elu.self)
  case ActivationCode.relu: body.run(ReLU.self)
  case ActivationCode.relu6: body.run(ReLU6.self)
  case ActivationCode.sigmoid: body.run(Sigmoid.self)
  case ActivationCode.tanh: body.run(Tanh.self)
  case ActivationCode.swish: body.run(Swish.self)
  case ActivationCode.gelu: body.run(Gelu.self)
  case ActivationCode.hardSwish: body.run(HardSwish.self)
  case ActivationCode.hardSigmoid: body.run(HardSigmoid.self)
  default: body.run(Mish.self)
  }
}

/// f'(y) of a single vector, for what is not worth a loop for each activation. Those that are lines
/// are no calls.
@inline(__always) func anyDerivative<V: Vector>(_ code: Int, _ y: V, _ slope: V) -> V {
  switch code {
  case ActivationCode.identity: V(1)
  case ActivationCode.leaky, ActivationCode.learnedLeaky: Leaky.gradient(y, V(1), slope)
  default: otherDerivative(code, y, slope)
  }
}

@inline(never) private func otherDerivative<V: Vector>(_ code: Int, _ y: V, _ slope: V) -> V {
  withActivation(code, Derivative(y: y, slope: slope))
}

private struct Derivative<V: Vector>: ActivationBody {
  let y: V
  let slope: V
  @inline(__always) func run<A: ActivationFunction>(_ activation: A.Type) -> V {
    A.gradient(y, V(1), slope)
  }
}
