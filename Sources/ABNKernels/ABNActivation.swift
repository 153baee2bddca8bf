/// An activation z = act(y). The invertible ones are computed in place and undone from z; for the
/// others the buffer keeps y ("stored pre-activation") and `ABNKernel.activate` makes z from it.
public enum ABNActivation: Hashable, Sendable {
  /// z = y.
  case identity
  /// z = y where y > 0, else alpha * y; the derivative at 0 is alpha. Invertible if alpha > 0.
  case leakyReLU(alpha: Double)
  /// z = y where y > 0, else alpha * (exp(y) - 1); the derivative at 0 is alpha. Invertible if
  /// alpha > 0.
  case elu(alpha: Double)
  /// Leaky ReLU with learned slopes, one or one per channel, passed in `ABNParameters`. Invertible;
  /// channels whose slope is not safely positive are rescued.
  case prelu
  /// max(y, 0); the derivative at 0 is 0.
  case relu
  /// min(max(y, 0), 6); the derivative at 0 and 6 is 0.
  case relu6
  /// 1 / (1 + exp(-y)).
  case sigmoid
  /// Hyperbolic tangent.
  case tanh
  /// y * sigmoid(y).
  case swish
  /// y * (1 + erf(y / sqrt(2))) / 2.
  case gelu
  /// y * min(max(y + 3, 0), 6) / 6; the derivative at -3 is 0, at 3 it is 1.
  case hardSwish
  /// y * tanh(log(1 + exp(y))).
  case mish

  /// Whether y can be computed back from z: the buffer then holds z, else y.
  public var isInvertible: Bool {
    switch self {
    case .identity, .prelu: true
    case .leakyReLU(let alpha), .elu(let alpha): alpha > 0
    default: false
    }
  }
}
