import ABNTensors

/// A function applied to each element, as an attribute of layers: `.leakyReLU`, or its name as a
/// string literal, with `-` or `_` (`"leaky_relu"`).
///
/// `alpha` in a formula is the layer's own attribute (`actAlpha`, `alpha`); a layer that is not told
/// one takes `defaultAlpha`.
public struct Activation: Sendable, Hashable, ExpressibleByStringLiteral, CustomStringConvertible {
  /// The name in Paddle's spelling, as given.
  public let name: String

  private init(_ name: String) { self.name = name }

  /// The activation of this name; whether there is one is checked when a layer uses it.
  public init(named name: String) {
    let spelled = name.lowercased().replacing("-", with: "_")
    self.name = ["", "none", "linear"].contains(spelled) ? "identity" : spelled
  }

  /// The activation of this name; whether there is one is checked when a layer uses it.
  public init(stringLiteral value: String) { self.init(named: value) }

  /// y.
  public static let identity = Activation("identity")
  /// max(y, 0).
  public static let relu = Activation("relu")
  /// min(max(y, 0), 6).
  public static let relu6 = Activation("relu6")
  /// y where y > 0, else alpha * y.
  public static let leakyReLU = Activation("leaky_relu")
  /// y where y > 0, else slope * y, with a learnt slope.
  public static let prelu = Activation("prelu")
  /// y where y > 0, else alpha * (exp(y) - 1).
  public static let elu = Activation("elu")
  /// 1 / (1 + exp(-y)).
  public static let sigmoid = Activation("sigmoid")
  /// tanh(y).
  public static let tanh = Activation("tanh")
  /// y * sigmoid(y).
  public static let swish = Activation("swish")
  /// y * Phi(y), Phi the standard normal distribution, by erf.
  public static let gelu = Activation("gelu")
  /// y * min(max(y + 3, 0), 6) / 6.
  public static let hardSwish = Activation("hard_swish")
  /// y * tanh(log(1 + exp(y))).
  public static let mish = Activation("mish")

  /// alpha where a layer is not told: 0.02 for leaky_relu and 1 for elu, as in Paddle. Nothing else has
  /// an alpha (swish is y * sigmoid(y), hard_swish and relu6 have their bounds at 3 and 6).
  ///
  /// Every layer reads it here; `inplaceABN` alone has an `actAlpha` of its own, 1 for both, which is the
  /// original's signature.
  public var defaultAlpha: Double { (try? validated()) == .leakyReLU ? 0.02 : 1 }

  /// All of them.
  public static let all: [Activation] = [
    .identity, .relu, .relu6, .leakyReLU, .prelu, .elu, .sigmoid, .tanh, .swish, .gelu,
    .hardSwish, .mish,
  ]

  /// The activation itself where it is one of `all`.
  ///
  /// - Throws: `ABNError(.attribute)` that names the nearest.
  public func validated() throws -> Activation {
    let spelling = name == "hardswish" ? "hard_swish" : name == "leakyrelu" ? "leaky_relu" : name
    if let known = Self.all.first(where: { $0.name == spelling }) { return known }
    throw ABNError(
      unknown: name, "activation", names: Self.all.map(\.name), category: .attribute)
  }

  public var description: String { name }
}
