import ABNActivations
import ABNGraph
import ABNOperators
import ABNTensors

/// How much of the old moving statistics stays: a number in 0...1, or a float32 variable of shape
/// [1] (the value of a schedule, say).
public enum StatisticsMomentum: Sendable, ExpressibleByFloatLiteral, ExpressibleByIntegerLiteral {
  /// A constant.
  case value(Double)
  /// Read at every run; a value outside 0...1 makes the moving statistics NaN.
  case variable(Variable)

  /// A constant.
  public init(floatLiteral value: Double) { self = .value(value) }
  /// A constant.
  public init(integerLiteral value: Int) { self = .value(Double(value)) }
}

/// What both normalization layers share: attributes and parameters.
private struct NormalizationLayer {
  let attributes: NormalizationAttributes
  /// x, scale, bias, moving mean, moving variance.
  var inputs: [Variable]
  let momentum: Variable?

  init(
    _ c: LayerContext, _ input: Variable, isTest: Bool, momentum: StatisticsMomentum,
    epsilon: Double,
    paramAttr: ParamAttr, biasAttr: ParamAttr, dataLayout: DataLayout,
    movingMeanName: String?, movingVarianceName: String?, doModelAverage: Bool,
    useGlobalStats: Bool
  ) throws {
    let (constant, variable) = try Self.share(momentum, isRead: !isTest && !useGlobalStats, c)
    self.momentum = variable
    attributes = try NormalizationAttributes(
      momentum: constant, hasMomentumInput: variable != nil, epsilon: epsilon, layout: dataLayout,
      isTest: isTest, useGlobalStats: useGlobalStats)
    if let movingMeanName, movingMeanName == movingVarianceName {
      throw c.error(
        .name, "movingMeanName and movingVarianceName", got: "\(quoted(movingMeanName)) for both",
        wanted: "two names", fix: "They are two tensors.")
    }
    let axis = dataLayout.channelAxis(rank: input.shape.rank)
    try Self.check(input, channelAxis: axis, c)
    let shape: Shape = [input.shape[axis]]
    let dtype = input.dtype.accumulation
    func parameter(
      _ attribute: ParamAttr, _ suffix: String, _ value: Double
    ) throws -> Variable {
      // `ParamAttr.absent`: the constant that leaves the formula as it is, not trained.
      let absent = ParamAttr(initializer: .constant(value), trainable: false, doModelAverage: false)
      return try c.parameter(
        attribute.isAbsent ? absent : attribute, suffix: suffix, shape: shape,
        dtype: dtype, initializer: .constant(value))
    }
    func moving(_ name: String?, _ value: Double) throws -> Variable {
      try c.parameter(
        ParamAttr(
          name: name, initializer: .constant(value), trainable: false,
          doModelAverage: doModelAverage),
        suffix: "w", shape: shape, dtype: dtype, initializer: .constant(value))
    }
    inputs = [
      input, try parameter(paramAttr, "w", 1), try parameter(biasAttr, "b", 0),
      try moving(movingMeanName, 0), try moving(movingVarianceName, 1),
    ]
    try checkStatistics(c)
  }

  /// The constant, or the variable where statistics are made.
  private static func share(
    _ momentum: StatisticsMomentum, isRead: Bool, _ c: LayerContext
  ) throws -> (constant: Double, variable: Variable?) {
    switch momentum {
    case .value(let value): return (value, nil)
    case .variable(let given):
      guard given.type == TensorType([1], .float32) else {
        throw c.error(
          .shape, "momentum", got: "\(given.type)", wanted: "float32[1]",
          fix: "Make it with data of shape [1], or with Schedule.variable.")
      }
      // Moving statistics that stay as they are need none.
      return (0.9, isRead ? given : nil)
    }
  }

  private static func check(_ input: Variable, channelAxis axis: Int, _ c: LayerContext) throws {
    let rank = input.shape.rank
    guard (2...5).contains(rank) else {
      throw c.error(
        .shape, "input", got: "rank \(rank), shape \(input.shape)", wanted: "rank 2...5")
    }
    guard input.dtype.isFloatingPoint else {
      throw c.error(
        .dtype, "input", got: "\(input.dtype)", wanted: "float16, bfloat16, float32 or float64",
        fix: "Convert it with cast.")
    }
    guard input.shape[axis] > 0 else {
      throw c.error(
        .shape, "input", got: "\(input.shape), whose channels are unknown",
        wanted: "a known dimension at axis \(axis)", fix: "Give the channel dimension in data().")
    }
  }

  private func checkStatistics(_ c: LayerContext) throws {
    // A name may lead to something that exists: another layer's statistics, but nothing else.
    for (position, what) in [(3, "moving mean"), (4, "moving variance")] {
      let found = inputs[position]
      let isOwn = !inputs[..<position].contains { $0.id == found.id }
      guard isOwn, found.parameterTraits?.trainable == false else {
        throw c.error(
          .name, what,
          got: "\(quoted(found.name)), which \(isOwn ? "is trained" : "this layer uses already")",
          wanted: "a tensor of its own, or the statistics of another layer",
          fix: "Choose another name.")
      }
    }
  }
}

/// Batch normalization, then an activation, out of place: the input stays in memory for the
/// gradient. The layer to compare `inplaceABN` with; its parameters are those of `inplaceABN`, but
/// for two defaults: `doModelAverageForMeanAndVar` is true, as in the original's `batch_norm`, and
/// the alpha of an activation given by name is, unless told, that of `Activation`: 0.02 for
/// leaky_relu, 1 for elu.
public func batchNorm(
  _ input: Variable, act: Activation? = nil, isTest: Bool = false,
  momentum: StatisticsMomentum = 0.9,
  epsilon: Double = 1e-5, paramAttr: ParamAttr = nil, biasAttr: ParamAttr = nil,
  dataLayout: DataLayout = .nchw, name: String? = nil, movingMeanName: String? = nil,
  movingVarianceName: String? = nil, doModelAverageForMeanAndVar: Bool = true,
  useGlobalStats: Bool = false, actAlpha: Double? = nil,
  file: StaticString = #fileID, line: UInt = #line
) throws -> Variable {
  try layer("batch_norm", name: name, file: file, line: line) { c in
    let activation = try (act ?? .identity).agreeing(with: actAlpha)
    let made = try NormalizationLayer(
      c, input, isTest: isTest, momentum: momentum, epsilon: epsilon, paramAttr: paramAttr,
      biasAttr: biasAttr, dataLayout: dataLayout, movingMeanName: movingMeanName,
      movingVarianceName: movingVarianceName, doModelAverage: doModelAverageForMeanAndVar,
      useGlobalStats: useGlobalStats)
    let y = try c.append(
      BatchNorm(made.attributes), made.inputs + (made.momentum.map { [$0] } ?? []))[0]
    return try activated(y, activation, in: c)
  }
}

/// Batch normalization and activation in place: z = act(scale * xhat + bias) stored over the input,
/// the backward pass computed from z alone. One stored tensor a layer, where the standard pair of
/// layers keeps two.
///
/// Parameters in this order: scale `<layer>.w_0` (1), bias `.b_0` (0), moving mean `.w_1` (0) and
/// moving variance `.w_2` (1), each of shape [C] and float32 (float64 for a float64 input).
///
/// - Parameters:
///   - input: rank 2 to 5, floating point; the channel dimension known.
///   - act: identity (nil), prelu, and leaky_relu and elu with alpha above 0 are inverted in place;
///     every other activation keeps y = scale * xhat + bias in the input's bytes and makes z from
///     it.
///   - isTest: normalise with the moving statistics, which stay as they are; no gradient.
///   - momentum: moving = moving * momentum + new * (1 - momentum); a number or a variable.
///   - epsilon: added to the variance, at least 0.
///   - paramAttr: the scale. `biasAttr`: the bias. `ParamAttr.absent` leaves it at its constant.
///   - dataLayout: channels second or last, for any rank.
///   - name: prefix of the names of what the layer makes.
///   - movingMeanName: the moving mean's name; layers with one name share it.
///   - movingVarianceName: the moving variance's name.
///   - doModelAverageForMeanAndVar: whether ModelAverage also averages the moving statistics.
///   - useGlobalStats: use the moving statistics in training too.
///   - actAlpha: alpha of leaky_relu and elu, where `act` is a name; nil: 1, the original's
///     default, with which leaky_relu is the identity, so that a warning names the line. An
///     `Activation` says its own, and no other may stand here.
/// - Returns: z, of the input's shape and layout.
/// - Throws: `ABNError` with this line for every input outside these ranges.
///
/// Source: Rota Bulo, Porzi, Kontschieder, CVPR 2018, arXiv 1712.02616;
/// `paddle.fluid.layers.inplace_abn`.
public func inplaceABN(
  _ input: Variable, act: Activation? = nil, isTest: Bool = false,
  momentum: StatisticsMomentum = 0.9,
  epsilon: Double = 1e-5, paramAttr: ParamAttr = nil, biasAttr: ParamAttr = nil,
  dataLayout: DataLayout = .nchw, name: String? = nil, movingMeanName: String? = nil,
  movingVarianceName: String? = nil, doModelAverageForMeanAndVar: Bool = false,
  useGlobalStats: Bool = false, actAlpha: Double? = nil,
  file: StaticString = #fileID, line: UInt = #line
) throws -> Variable {
  try layer("inplace_abn", name: name, file: file, line: line) { c in
    let activation = try (act ?? .identity).agreeing(with: actAlpha)
    let made = try NormalizationLayer(
      c, input, isTest: isTest, momentum: momentum, epsilon: epsilon, paramAttr: paramAttr,
      biasAttr: biasAttr, dataLayout: dataLayout, movingMeanName: movingMeanName,
      movingVarianceName: movingVarianceName, doModelAverage: doModelAverageForMeanAndVar,
      useGlobalStats: useGlobalStats)
    let invertible = activation.isInvertible
    var inputs = made.inputs
    if activation == .prelu {
      inputs.append(
        try c.parameter(
          nil, suffix: "w", shape: [1], dtype: input.dtype.accumulation,
          initializer: .constant(0.25)))
    }
    if let momentum = made.momentum { inputs.append(momentum) }
    let stored = try c.append(
      InPlaceActivatedBatchNorm(
        made.attributes, activation: invertible ? activation : .identity),
      inputs)[0]
    return invertible
      ? stored
      : try c.append(Activate(activation, gradientReads: .input), stored)
  }
}
