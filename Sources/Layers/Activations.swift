import ABNActivations
import ABNGraph
import ABNOperators
import ABNTensors

/// act(x), any activation without parameters of its own; of any shape. See `Activation` for the
/// formulas.
///
/// - Throws: `ABNError(.attribute)` for prelu, and for a number of the activation that is not
///   finite; `.dtype` for an `x` that is not floating point.
public func activation(
  _ x: Variable, _ act: Activation, name: String? = nil,
  file: StaticString = #fileID, line: UInt = #line
) throws -> Variable {
  try layer(act.name, name: name, file: file, line: line) { c in
    try c.append(Activate(act), x)
  }
}

extension Activation {
  /// The activation as a layer of its own: `try Activation.mish(x)`. See `activation(_:_:name:)`.
  public func callAsFunction(
    _ x: Variable, name: String? = nil, file: StaticString = #fileID, line: UInt = #line
  ) throws -> Variable { try activation(x, self, name: name, file: file, line: line) }
}

/// max(x, 0).
public func relu(
  _ x: Variable, name: String? = nil, file: StaticString = #fileID, line: UInt = #line
) throws -> Variable { try activation(x, .relu, name: name, file: file, line: line) }

/// min(max(x, 0), 6).
public func relu6(
  _ x: Variable, name: String? = nil, file: StaticString = #fileID, line: UInt = #line
) throws -> Variable { try activation(x, .relu6, name: name, file: file, line: line) }

/// x where x > 0, else alpha * x; alpha is 0.02 by default.
public func leakyReLU(
  _ x: Variable, alpha: Double = 0.02, name: String? = nil, file: StaticString = #fileID,
  line: UInt = #line
) throws -> Variable {
  try activation(x, .leakyReLU(slope: alpha), name: name, file: file, line: line)
}

/// x where x > 0, else alpha * (exp(x) - 1); alpha is 1 by default.
public func elu(
  _ x: Variable, alpha: Double = 1, name: String? = nil, file: StaticString = #fileID,
  line: UInt = #line
) throws -> Variable {
  try activation(x, .elu(alpha: alpha), name: name, file: file, line: line)
}

/// 1 / (1 + exp(-x)).
public func sigmoid(
  _ x: Variable, name: String? = nil, file: StaticString = #fileID, line: UInt = #line
) throws -> Variable { try activation(x, .sigmoid, name: name, file: file, line: line) }

/// tanh(x).
public func tanh(
  _ x: Variable, name: String? = nil, file: StaticString = #fileID, line: UInt = #line
) throws -> Variable { try activation(x, .tanh, name: name, file: file, line: line) }

/// x * sigmoid(x).
public func swish(
  _ x: Variable, name: String? = nil, file: StaticString = #fileID, line: UInt = #line
) throws -> Variable { try activation(x, .swish, name: name, file: file, line: line) }

/// x * Phi(x), Phi the standard normal distribution.
public func gelu(
  _ x: Variable, name: String? = nil, file: StaticString = #fileID, line: UInt = #line
) throws -> Variable { try activation(x, .gelu, name: name, file: file, line: line) }

/// x * min(max(x + 3, 0), 6) / 6.
public func hardSwish(
  _ x: Variable, name: String? = nil, file: StaticString = #fileID, line: UInt = #line
) throws -> Variable { try activation(x, .hardSwish, name: name, file: file, line: line) }

/// x * tanh(log(1 + exp(x))).
public func mish(
  _ x: Variable, name: String? = nil, file: StaticString = #fileID, line: UInt = #line
) throws -> Variable { try activation(x, .mish, name: name, file: file, line: line) }
