import ABNActivations
import ABNGraph
import ABNOperators
import ABNTensors

/// act(x + y) with broadcasting. See `Elementwise` for `axis`.
public func elementwiseAdd(
  _ x: Variable, _ y: Variable, axis: Int = -1, act: Activation? = nil, name: String? = nil,
  file: StaticString = #fileID, line: UInt = #line
) throws -> Variable {
  try elementwise(.add, x, y, axis, act, name, file, line)
}

/// act(x - y) with broadcasting. See `Elementwise` for `axis`.
public func elementwiseSub(
  _ x: Variable, _ y: Variable, axis: Int = -1, act: Activation? = nil, name: String? = nil,
  file: StaticString = #fileID, line: UInt = #line
) throws -> Variable {
  try elementwise(.subtract, x, y, axis, act, name, file, line)
}

/// act(x * y) with broadcasting. See `Elementwise` for `axis`.
public func elementwiseMul(
  _ x: Variable, _ y: Variable, axis: Int = -1, act: Activation? = nil, name: String? = nil,
  file: StaticString = #fileID, line: UInt = #line
) throws -> Variable {
  try elementwise(.multiply, x, y, axis, act, name, file, line)
}

/// act(x / y) with broadcasting. See `Elementwise` for `axis`.
public func elementwiseDiv(
  _ x: Variable, _ y: Variable, axis: Int = -1, act: Activation? = nil, name: String? = nil,
  file: StaticString = #fileID, line: UInt = #line
) throws -> Variable {
  try elementwise(.divide, x, y, axis, act, name, file, line)
}

private func elementwise(
  _ function: Elementwise.Function, _ x: Variable, _ y: Variable, _ axis: Int,
  _ act: Activation?, _ name: String?, _ file: StaticString, _ line: UInt
) throws -> Variable {
  try layer(function.rawValue, name: name, file: file, line: line) { c in
    try activated(c.append(Elementwise(function, axis: axis), x, y), act, in: c)
  }
}

/// act(y) for layers that take an activation without parameters as an attribute.
func activated(_ y: Variable, _ act: Activation?, in c: LayerContext) throws -> Variable {
  guard let act, act != .identity else { return y }
  return try c.append(Activate(act), y)
}

/// The sum of variables of one type.
public func sums(
  _ inputs: [Variable], name: String? = nil, file: StaticString = #fileID, line: UInt = #line
) throws -> Variable {
  try layer("sum", name: name, file: file, line: line) { c in try c.append(SumOf(), inputs)[0] }
}

/// factor * x + bias.
public func scale(
  _ x: Variable, factor: Double = 1, bias: Double = 0, name: String? = nil,
  file: StaticString = #fileID, line: UInt = #line
) throws -> Variable {
  try layer("scale", name: name, file: file, line: line) { c in
    try c.append(Scale(factor: factor, bias: bias), x)
  }
}
