import ABNGraph
import ABNOperators
import ABNTensors

/// The mean of all elements, shape [1].
public func mean(
  _ x: Variable, name: String? = nil, file: StaticString = #fileID, line: UInt = #line
) throws -> Variable {
  try layer("mean", name: name, file: file, line: line) { c in try c.append(Reduce(.mean), x) }
}

/// The mean over axes (nil: all).
public func reduceMean(
  _ x: Variable, axes: [Int]? = nil, keepDimensions: Bool = false, name: String? = nil,
  file: StaticString = #fileID, line: UInt = #line
) throws -> Variable {
  try layer("reduce_mean", name: name, file: file, line: line) { c in
    try c.append(Reduce(.mean, axes: axes, keepDimensions: keepDimensions), x)
  }
}

/// The sum over axes (nil: all).
public func reduceSum(
  _ x: Variable, axes: [Int]? = nil, keepDimensions: Bool = false, name: String? = nil,
  file: StaticString = #fileID, line: UInt = #line
) throws -> Variable {
  try layer("reduce_sum", name: name, file: file, line: line) { c in
    try c.append(Reduce(.sum, axes: axes, keepDimensions: keepDimensions), x)
  }
}
