import ABNGraph
import ABNOperators
import ABNTensors

/// x * x.
public func square(
  _ x: Variable, name: String? = nil, file: StaticString = #fileID, line: UInt = #line
) throws -> Variable { try unary(.square, x, name, file, line) }

/// The square root of x; NaN below 0.
public func sqrt(
  _ x: Variable, name: String? = nil, file: StaticString = #fileID, line: UInt = #line
) throws -> Variable { try unary(.sqrt, x, name, file, line) }

/// exp(x).
public func exp(
  _ x: Variable, name: String? = nil, file: StaticString = #fileID, line: UInt = #line
) throws -> Variable { try unary(.exp, x, name, file, line) }

/// The natural logarithm of x; NaN below 0.
public func log(
  _ x: Variable, name: String? = nil, file: StaticString = #fileID, line: UInt = #line
) throws -> Variable { try unary(.log, x, name, file, line) }

/// |x|.
public func abs(
  _ x: Variable, name: String? = nil, file: StaticString = #fileID, line: UInt = #line
) throws -> Variable { try unary(.abs, x, name, file, line) }

private func unary(
  _ function: Unary.Function, _ x: Variable, _ name: String?, _ file: StaticString, _ line: UInt
) throws -> Variable {
  try layer(function.rawValue, name: name, file: file, line: line) { c in
    try c.append(Unary(function), x)
  }
}
