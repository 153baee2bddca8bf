/// What a derivative hangs on: what a pass, a plan or a special kernel may do with the function.
package enum ActivationForm: Hashable, Sendable {
  /// f(y) = y.
  case identity
  /// y where y > 0, else slope * y: of a slope above 0, and of relu, the result tells the
  /// derivative.
  case rectifier(slope: Double)
  /// y where y > 0, else slope * y, the slope being a parameter.
  case learntRectifier
  /// y between two bounds, else the bound: the result tells the derivative, which is 1 or 0.
  case clip
  /// Anything else: the derivative is computed from y. Where it has no jump, it may be computed
  /// from a y that is right up to rounding.
  case curve(isSmooth: Bool)
}

/// A line of the table of activations.
package struct ActivationRow: Sendable {
  /// The name, in Paddle's spelling.
  package let name: String
  /// Other spellings that are taken for the name.
  package let aliases: [String]
  /// What its derivative hangs on.
  package let form: ActivationForm
  /// Whether y can be computed from f(y) for every y. (Channels of prelu whose slope is not safely
  /// above 0 keep y.)
  package let isInvertible: Bool
  /// Whether f(y) is rounded to a limit where the derivative still has digits: the gradient then
  /// reads y, and f(y) is computed again rather than kept beside it.
  package let saturates: Bool
  /// Bounds of the error of f(y), and of dz * f'(y), in ulps of float32 against float64, 0 for what
  /// is rounded once or not at all. Of a derivative that crosses 0 within 4 of 0 ulps of 1 there.
  package let valueUlps, gradientUlps: Double
  /// What is added for each unit of y^2, left of 0: exp(-y^2 / 2) loses the digits of y^2.
  package let perSquare: Double
  /// Whether the derivative crosses 0.
  package let crosses: Bool
  /// The number of the function: the slope of leaky_relu, alpha of elu.
  package let alpha: Double?
  /// The function with another number; nil where it has none.
  let make: (@Sendable (Double) -> Activation)?

  init(
    _ name: String, aliases: [String] = [], _ form: ActivationForm, isInvertible: Bool? = nil,
    saturates: Bool = false, ulps valueUlps: Double, _ gradientUlps: Double, perSquare: Double = 0,
    crosses: Bool = false, alpha: Double? = nil, make: (@Sendable (Double) -> Activation)? = nil
  ) {
    self.name = name
    self.aliases = aliases
    self.form = form
    self.isInvertible = isInvertible ?? (form == .identity)
    self.saturates = saturates
    self.valueUlps = valueUlps
    self.gradientUlps = gradientUlps
    self.perSquare = perSquare
    self.crosses = crosses
    self.alpha = alpha
    self.make = make
  }
}

extension Activation: CustomStringConvertible {
  /// The name, in Paddle's spelling: `leaky_relu`.
  public var name: String { row.name }
  /// The number of the function: the slope of leaky_relu, alpha of elu; nil for the others.
  public var alpha: Double? { row.alpha }
  /// What the derivative hangs on.
  package var form: ActivationForm { row.form }
  /// Whether y can be computed from f(y), so that a layer may keep f(y) alone: identity, prelu, and
  /// leaky_relu and elu with a number above 0.
  public var isInvertible: Bool { row.isInvertible }

  /// The same function with this number, where it has one.
  package func with(alpha: Double) -> Activation { row.make?(alpha) ?? self }

  /// The name, and the number where there is one: `leaky_relu with alpha 0.1`.
  public var description: String { alpha.map { "\(name) with alpha \($0)" } ?? name }

  /// The activation of a name, in any case, with `_` or `-`; "", "none" and "linear" are the
  /// identity too. Nil where there is none of this name.
  ///
  /// - Parameter alpha: its number, where it has one; nil: the one that it has unless told.
  public init?(name: String, alpha: Double? = nil) {
    let spelled = String(name.lowercased().map { $0 == "-" ? "_" : $0 })
    let isIdentity = ["", "none", "linear"].contains(spelled)
    guard
      let found = isIdentity
        ? .identity
        : Self.all.first(where: { $0.name == spelled || $0.row.aliases.contains(spelled) })
    else { return nil }
    self = alpha.map { found.with(alpha: $0) } ?? found
  }
}
