/// A function z = f(y) of each element, with its number where it has one: one value says all.
///
/// What there is to know of a function is its line in `row`; nothing else in the package lists
/// them.
public enum Activation: Hashable, Sendable {
  /// y.
  case identity
  /// max(y, 0); the derivative at 0 is 0.
  case relu
  /// min(max(y, 0), 6); the derivative at 0 and 6 is 0.
  case relu6
  /// y where y > 0, else slope * y; the derivative at 0 is the slope. The slope is 0.02 unless
  /// told, as Paddle's.
  case leakyReLU(slope: Double = 0.02)
  /// y where y > 0, else slope * y, with learnt slopes that begin at 0.25.
  case prelu
  /// y where y > 0, else alpha * (exp(y) - 1); the derivative at 0 is alpha.
  case elu(alpha: Double = 1)
  /// 1 / (1 + exp(-y)).
  case sigmoid
  /// The hyperbolic tangent of y.
  case tanh
  /// y * sigmoid(y).
  case swish
  /// y * Phi(y), Phi the standard normal distribution: y * (1 + erf(y / sqrt(2))) / 2.
  case gelu
  /// y * min(max(y + 3, 0), 6) / 6; the derivative at -3 is 0, at 3 it is 1.
  case hardSwish
  /// y * tanh(log(1 + exp(y))).
  case mish
  /// min(max(y + 3, 0), 6) / 6, the gate of MobileNetV3; the derivative at -3 and 3 is 0.
  case hardSigmoid

  /// All of them, those with a number with the one that they have unless told.
  public static let all: [Activation] = [
    .identity, .relu, .relu6, .leakyReLU(), .prelu, .elu(), .sigmoid, .tanh, .swish, .gelu,
    .hardSwish, .mish, .hardSigmoid,
  ]

  /// The table: what there is to know of each.
  package var row: ActivationRow {
    switch self {
    case .identity: ActivationRow("identity", .identity, ulps: 0, 0)
    case .relu: ActivationRow("relu", .rectifier(slope: 0), ulps: 0, 0)
    case .relu6: ActivationRow("relu6", .clip, ulps: 0, 0)
    case .leakyReLU(let slope):
      ActivationRow(
        "leaky_relu", aliases: ["leakyrelu"], .rectifier(slope: slope),
        isInvertible: isPositive(slope),
        ulps: 1, 1, alpha: slope
      ) { .leakyReLU(slope: $0) }
    case .prelu: ActivationRow("prelu", .learntRectifier, isInvertible: true, ulps: 1, 1)
    case .elu(let alpha):
      ActivationRow(
        "elu", .curve(isSmooth: alpha == 1), isInvertible: isPositive(alpha), saturates: true,
        ulps: 2, 2, alpha: alpha
      ) { .elu(alpha: $0) }
    case .sigmoid: ActivationRow("sigmoid", .curve(isSmooth: true), saturates: true, ulps: 3, 5)
    case .tanh: ActivationRow("tanh", .curve(isSmooth: true), saturates: true, ulps: 3, 5)
    case .swish:
      ActivationRow(
        "swish", aliases: ["silu"], .curve(isSmooth: true), ulps: 3.5, 5.5, crosses: true)
    case .gelu:
      ActivationRow(
        "gelu", .curve(isSmooth: true), ulps: 4, 2.5, perSquare: 1.5, crosses: true)
    case .hardSwish:
      ActivationRow(
        "hard_swish", aliases: ["hardswish"], .curve(isSmooth: false), ulps: 2, 1.5, crosses: true)
    case .mish: ActivationRow("mish", .curve(isSmooth: true), ulps: 4.5, 6, crosses: true)
    case .hardSigmoid:
      ActivationRow(
        "hard_sigmoid", aliases: ["hardsigmoid"], .curve(isSmooth: false), ulps: 1.5, 0.5)
    }
  }
}

private func isPositive(_ alpha: Double) -> Bool { alpha > 0 && alpha.isFinite }
