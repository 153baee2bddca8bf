import ABNActivations
import ABNGraph
import ABNOperators
import ABNTensors

/// act(sum over inputs of x_i w_i + bias): a fully connected layer.
///
/// Each input is flattened to a matrix: its first `numFlattenDims` dimensions are rows, the rest is
/// K. Weights `fc_<n>.w_<i>` of shape [K, size], one per input; bias `fc_<n>.b_0` of shape [size].
/// Default initializers: Xavier (uniform) and 0.
///
/// - Parameters:
///   - inputs: one variable, or several with the same rows; rank of at least 2.
///   - size: the number of output features.
///   - numFlattenDims: how many dimensions are rows; 1 or more.
///   - paramAttr: the weights; with several inputs each gets a name of its own where it has none.
///   - biasAttr: the bias; `ParamAttr.absent` for none.
///   - act: applied last; prelu, which has a parameter, is an error. A name in its place, as
///     `"relu"`: with the number that `Activation` has unless told.
/// - Returns: shape [rows ..., size].
public func fc(
  _ inputs: [Variable], size: Int, numFlattenDims: Int = 1, paramAttr: ParamAttr = nil,
  biasAttr: ParamAttr = nil, act: Activation? = nil, name: String? = nil,
  file: StaticString = #fileID, line: UInt = #line
) throws -> Variable {
  try layer("fc", name: name, file: file, line: line) { c in
    guard size > 0 else {
      throw c.error(.attribute, "size", got: "\(size)", wanted: "at least 1")
    }
    guard let first = inputs.first else {
      throw c.error(.program, "inputs", got: "none", wanted: "at least one")
    }
    let mul = Mul(numFlattenDims: numFlattenDims)
    let products = try inputs.map { input in
      let columns = input.shape.dimensions.dropFirst(max(0, numFlattenDims))
      guard numFlattenDims >= 1, !columns.isEmpty, !columns.contains(where: { $0 < 0 }) else {
        throw c.error(
          .shape, "input \(quoted(input.name))", got: "\(input.shape)",
          wanted: "rank above \(numFlattenDims), known from dimension \(numFlattenDims) on",
          fix: "Choose numFlattenDims in 1...\(max(1, input.shape.rank - 1)).")
      }
      let weight = try c.weight(
        paramAttr, suffix: "w", shape: [columns.reduce(1, *), size], dtype: input.dtype,
        initializer: .xavier())
      return try c.append(mul, input, weight)
    }
    var y = products.count == 1 ? products[0] : try c.append(SumOf(), products)[0]
    if !biasAttr.isAbsent {
      let bias = try c.weight(
        biasAttr, suffix: "b", shape: [size], dtype: first.dtype, initializer: .constant(0))
      y = try c.append(Elementwise(.add, axis: numFlattenDims), y, bias)
    }
    return try activated(y, act, in: c)
  }
}

/// act(x w + bias). See `fc(_:size:numFlattenDims:paramAttr:biasAttr:act:name:)` for several
/// inputs.
public func fc(
  _ input: Variable, size: Int, numFlattenDims: Int = 1, paramAttr: ParamAttr = nil,
  biasAttr: ParamAttr = nil, act: Activation? = nil, name: String? = nil,
  file: StaticString = #fileID, line: UInt = #line
) throws -> Variable {
  try fc(
    [input], size: size, numFlattenDims: numFlattenDims, paramAttr: paramAttr,
    biasAttr: biasAttr, act: act, name: name, file: file, line: line)
}
