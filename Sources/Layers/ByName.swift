import ABNActivations
import ABNGraph
import ABNOperators
import ABNTensors

// The layers that take an activation, with its name in its place, as Paddle's do: `act: "relu"`.
// Names are taken in any case, with `_` or `-`; one that there is not is an `ABNError(.attribute)`
// that names the nearest.

/// act(x) by name; `alpha`, where the activation has one, is by default that of `Activation`: 0.02
/// for leaky_relu, 1 for elu. See `activation(_:_:name:)`.
public func activation(
  _ x: Variable, _ act: String, alpha: Double? = nil, name: String? = nil,
  file: StaticString = #fileID, line: UInt = #line
) throws -> Variable {
  try activation(
    x, named(act, alpha: alpha, "activation", name, file, line), name: name, file: file, line: line)
}

/// `elementwiseAdd` with an activation by name.
public func elementwiseAdd(
  _ x: Variable, _ y: Variable, axis: Int = -1, act: String, name: String? = nil,
  file: StaticString = #fileID, line: UInt = #line
) throws -> Variable {
  try elementwiseAdd(
    x, y, axis: axis, act: named(act, "elementwise_add", name, file, line), name: name, file: file,
    line: line)
}

/// `elementwiseSub` with an activation by name.
public func elementwiseSub(
  _ x: Variable, _ y: Variable, axis: Int = -1, act: String, name: String? = nil,
  file: StaticString = #fileID, line: UInt = #line
) throws -> Variable {
  try elementwiseSub(
    x, y, axis: axis, act: named(act, "elementwise_sub", name, file, line), name: name, file: file,
    line: line)
}

/// `elementwiseMul` with an activation by name.
public func elementwiseMul(
  _ x: Variable, _ y: Variable, axis: Int = -1, act: String, name: String? = nil,
  file: StaticString = #fileID, line: UInt = #line
) throws -> Variable {
  try elementwiseMul(
    x, y, axis: axis, act: named(act, "elementwise_mul", name, file, line), name: name, file: file,
    line: line)
}

/// `elementwiseDiv` with an activation by name.
public func elementwiseDiv(
  _ x: Variable, _ y: Variable, axis: Int = -1, act: String, name: String? = nil,
  file: StaticString = #fileID, line: UInt = #line
) throws -> Variable {
  try elementwiseDiv(
    x, y, axis: axis, act: named(act, "elementwise_div", name, file, line), name: name, file: file,
    line: line)
}

/// `fc` of several inputs with an activation by name.
public func fc(
  _ inputs: [Variable], size: Int, numFlattenDims: Int = 1, paramAttr: ParamAttr = nil,
  biasAttr: ParamAttr = nil, act: String, name: String? = nil, file: StaticString = #fileID,
  line: UInt = #line
) throws -> Variable {
  try fc(
    inputs, size: size, numFlattenDims: numFlattenDims, paramAttr: paramAttr, biasAttr: biasAttr,
    act: named(act, "fc", name, file, line), name: name, file: file, line: line)
}

/// `fc` with an activation by name.
public func fc(
  _ input: Variable, size: Int, numFlattenDims: Int = 1, paramAttr: ParamAttr = nil,
  biasAttr: ParamAttr = nil, act: String, name: String? = nil, file: StaticString = #fileID,
  line: UInt = #line
) throws -> Variable {
  try fc(
    input, size: size, numFlattenDims: numFlattenDims, paramAttr: paramAttr, biasAttr: biasAttr,
    act: named(act, "fc", name, file, line), name: name, file: file, line: line)
}

/// `conv2d` with an activation by name.
public func conv2d(
  _ input: Variable, numFilters: Int, filterSize: some Pair, stride: some Pair = 1,
  padding: some PaddingConvertible = 0,
  dilation: some Pair = 1, groups: Int = 1, paramAttr: ParamAttr = nil, biasAttr: ParamAttr = nil,
  act: String, name: String? = nil, dataLayout: DataLayout = .nchw, file: StaticString = #fileID,
  line: UInt = #line
) throws -> Variable {
  try conv2d(
    input, numFilters: numFilters, filterSize: filterSize, stride: stride, padding: padding,
    dilation: dilation, groups: groups, paramAttr: paramAttr, biasAttr: biasAttr,
    act: named(act, "conv2d", name, file, line), name: name, dataLayout: dataLayout, file: file,
    line: line)
}

/// `batchNorm` with an activation by name; `actAlpha`, where it has an alpha, is by default 0.02
/// for leaky_relu and 1 for elu.
public func batchNorm(
  _ input: Variable, act: String, isTest: Bool = false, momentum: StatisticsMomentum = 0.9,
  epsilon: Double = 1e-5, paramAttr: ParamAttr = nil, biasAttr: ParamAttr = nil,
  dataLayout: DataLayout = .nchw, name: String? = nil, movingMeanName: String? = nil,
  movingVarianceName: String? = nil, doModelAverageForMeanAndVar: Bool = true,
  useGlobalStats: Bool = false, actAlpha: Double? = nil, file: StaticString = #fileID,
  line: UInt = #line
) throws -> Variable {
  try batchNorm(
    input, act: named(act, alpha: actAlpha, "batch_norm", name, file, line), isTest: isTest,
    momentum: momentum, epsilon: epsilon, paramAttr: paramAttr, biasAttr: biasAttr,
    dataLayout: dataLayout, name: name, movingMeanName: movingMeanName,
    movingVarianceName: movingVarianceName,
    doModelAverageForMeanAndVar: doModelAverageForMeanAndVar, useGlobalStats: useGlobalStats,
    file: file, line: line)
}

/// `inplaceABN` as documented by Paddle: the activation by name, its alpha in `actAlpha`.
///
/// - Parameter actAlpha: alpha of leaky_relu and elu; nil: 1, the original's default. leaky_relu
///   with alpha 1 is the identity: where nobody wrote the 1, a warning names this line, once.
public func inplaceABN(
  _ input: Variable, act: String, isTest: Bool = false, momentum: StatisticsMomentum = 0.9,
  epsilon: Double = 1e-5, paramAttr: ParamAttr = nil, biasAttr: ParamAttr = nil,
  dataLayout: DataLayout = .nchw, name: String? = nil, movingMeanName: String? = nil,
  movingVarianceName: String? = nil, doModelAverageForMeanAndVar: Bool = false,
  useGlobalStats: Bool = false, actAlpha: Double? = nil, file: StaticString = #fileID,
  line: UInt = #line
) throws -> Variable {
  if actAlpha == nil, Activation(name: act)?.name == "leaky_relu" {
    UserWarning.once(
      "inplaceABN with act \(quoted(act)) and the documented actAlpha of 1 is the identity: no activation",
      at: SourceLocation(fileID: file, line: line),
      fix:
        "Write act: .leakyReLU(slope: 0.01), or actAlpha: 0.01; actAlpha: 1 if you mean the identity."
    )
  }
  return try inplaceABN(
    input, act: named(act, alpha: actAlpha ?? 1, "inplace_abn", name, file, line), isTest: isTest,
    momentum: momentum, epsilon: epsilon, paramAttr: paramAttr, biasAttr: biasAttr,
    dataLayout: dataLayout, name: name, movingMeanName: movingMeanName,
    movingVarianceName: movingVarianceName,
    doModelAverageForMeanAndVar: doModelAverageForMeanAndVar, useGlobalStats: useGlobalStats,
    file: file, line: line)
}
