/// What there is to know of an activation: every list of activations, of names and of error bounds is made of this table.
public struct ABNActivationRow: Sendable {
  /// The name, in Paddle's spelling.
  public let name: String
  /// The activation with an alpha, which matters to leaky_relu and elu.
  public let make: @Sendable (_ alpha: Double) -> ABNActivation
  /// Bounds of the error of act(x), and of dz * act'(x), in ulps of float32 against float64, 0 for what is rounded once
  /// or not at all. Of a derivative that crosses 0 within 4 of 0 ulps of 1 there.
  public let valueUlps, gradientUlps: Double
  /// What is added for each unit of x^2, left of 0: exp(-x^2 / 2) loses the digits of x^2.
  public let perSquare: Double
  /// Whether the derivative crosses 0.
  public let crosses: Bool

  init(
    _ name: String, _ valueUlps: Double, _ gradientUlps: Double, perSquare: Double = 0,
    crosses: Bool = false, _ make: @escaping @Sendable (Double) -> ABNActivation
  ) {
    self.name = name
    self.make = make
    self.valueUlps = valueUlps
    self.gradientUlps = gradientUlps
    self.perSquare = perSquare
    self.crosses = crosses
  }
}

extension ABNActivation {
  /// All activations.
  public static let table: [ABNActivationRow] = [
    ABNActivationRow("identity", 0, 0) { _ in .identity },
    ABNActivationRow("relu", 0, 0) { _ in .relu },
    ABNActivationRow("relu6", 0, 0) { _ in .relu6 },
    ABNActivationRow("leaky_relu", 1, 1) { .leakyReLU(alpha: $0) },
    ABNActivationRow("prelu", 1, 1) { _ in .prelu },
    ABNActivationRow("elu", 2, 2) { .elu(alpha: $0) },
    ABNActivationRow("sigmoid", 3, 5) { _ in .sigmoid },
    ABNActivationRow("tanh", 3, 5) { _ in .tanh },
    ABNActivationRow("swish", 3.5, 5.5, crosses: true) { _ in .swish },
    ABNActivationRow("gelu", 4, 2.5, perSquare: 1.5, crosses: true) { _ in .gelu },
    ABNActivationRow("hard_swish", 2, 1.5, crosses: true) { _ in .hardSwish },
    ABNActivationRow("mish", 4.5, 6, crosses: true) { _ in .mish },
  ]

  /// The activation of a name of the table.
  public init?(named name: String, alpha: Double = 1) {
    guard let row = Self.table.first(where: { $0.name == name }) else { return nil }
    self = row.make(alpha)
  }
}
