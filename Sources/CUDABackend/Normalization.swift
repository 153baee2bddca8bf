import ABNActivations
import ABNOperators
import ABNPlanning
import ABNRuntime
import ABNTensors

/// A forward pass of batch normalization, out of place or in place, with the activations that it
/// applies.
private struct NormalizationForward {
  let norm: NormalizationAttributes
  let activation: Activation
  var outer = Activation.identity
  /// Whether a gradient reads the output: where x is stored over.
  let readsOutput: Bool

  func lower(_ c: inout CUDAContext) throws {
    let type = c.inputType(0)
    let order = c.order(ofInput: 0)
    let geometry = ImageGeometry(type.shape, norm.layout, order)
    let hasSlopes = activation == .prelu
    let rescues = readsOutput && !norm.isTest && c.isRead(output: 1)
    let variant = LayerVariant(
      geometry: geometry, dtype: try c.floatType(ofInput: 0), activation: activation,
      outer: outer, isTraining: norm.usesBatchStatistics, rescues: rescues,
      epsilon: norm.epsilon, momentum: norm.momentum)
    var arguments = [
      try c.read(0, in: order), c.write(0, in: order), try c.read(1), try c.read(2),
      try c.read(3), try c.read(4),
    ]
    // Moving statistics of the batch's are updated, given ones read.
    if norm.usesBatchStatistics { (arguments[4], arguments[5]) = (c.write(2), c.write(3)) }
    var operands = LayerForwardOperands(
      x: 0, z: 1, scale: 2, bias: 3, movingMean: 4, movingVariance: 5)
    func append(_ argument: StepArgument) -> Int {
      arguments.append(argument)
      return arguments.count - 1
    }
    if !norm.isTest { operands.saved = append(c.write(1)) }
    if hasSlopes { operands.slopes = append(try c.read(5)) }
    if norm.usesBatchStatistics, norm.hasMomentumInput {
      operands.momentum = append(try c.read(c.inputCount - 1))
    }
    if outer != .identity { operands.outer = append(c.write(c.outputCount - 1, in: order)) }
    var rescue: RescueRoom?
    if rescues {
      let room = RescueRoom(geometry, variant.dtype, &c)
      operands.rows = append(.write(room.rows))
      operands.room = append(.write(room.room))
      c.note(room, forOutput: 1)
      rescue = room
    }
    let plan = try LayerPlan(variant, c.device)
    let scratch = append(c.scratch(bytes: plan.forwardBytes))
    c.launch(
      arguments, try plan.forward(operands, rescue, scratch: scratch))
  }
}

extension BatchNorm: CUDALowerable {
  var walk: ImageWalk { .channels(norm.layout) }

  func lower(_ c: inout CUDAContext) throws {
    try NormalizationForward(norm: norm, activation: .identity, readsOutput: false).lower(&c)
  }
}

extension InPlaceActivatedBatchNorm: CUDALowerable {
  var walk: ImageWalk { .channels(norm.layout) }

  func lower(_ c: inout CUDAContext) throws {
    try NormalizationForward(norm: norm, activation: activation, readsOutput: true).lower(&c)
  }
}

extension InPlaceABNWithActivation: CUDALowerable {
  var walk: ImageWalk { .channels(layer.norm.layout) }

  func lower(_ c: inout CUDAContext) throws {
    try NormalizationForward(
      norm: layer.norm, activation: .identity, outer: outer.function, readsOutput: true
    ).lower(&c)
  }
}

/// A backward pass: inputs kept, dz, scale, bias, saved and, for prelu, slopes; outputs dx, dscale,
/// dbias and dslopes.
private struct NormalizationBackward {
  let norm: NormalizationAttributes
  let activation: Activation
  var outer = Activation.identity
  /// Whether what is kept is x, which was not overwritten.
  let readsInput: Bool

  func lower(_ c: inout CUDAContext) throws {
    let order = c.order(ofInput: 0)
    let hasSlopes = activation == .prelu
    let variant = LayerVariant(
      geometry: ImageGeometry(c.inputType(0).shape, norm.layout, order),
      dtype: try c.floatType(ofInput: 0), activation: activation, outer: outer,
      isTraining: norm.usesBatchStatistics, rescues: !readsInput, readsInput: readsInput,
      epsilon: norm.epsilon)
    var arguments = [
      try c.read(0, in: order), try c.read(1, in: order), c.write(0, in: order), try c.read(2),
      try c.read(3), try c.read(4), c.write(1), c.write(2),
    ]
    var operands = LayerBackwardOperands(
      kept: 0, dz: 1, dx: 2, scale: 3, bias: 4, saved: 5, scaleGradient: 6, biasGradient: 7)
    func append(_ argument: StepArgument) -> Int {
      arguments.append(argument)
      return arguments.count - 1
    }
    if hasSlopes {
      operands.slopes = append(try c.read(5))
      operands.slopeGradient = append(c.write(3))
    }
    var rescue: RescueRoom?
    if !readsInput {
      let room = try c.rescueRoom(ofInput: 4)
      operands.rows = append(.read(room.rows))
      operands.room = append(.read(room.room))
      rescue = room
    }
    let plan = try LayerPlan(variant, c.device)
    let scratch = append(c.scratch(bytes: plan.backwardBytes))
    c.launch(
      arguments, try plan.backward(operands, rescue, scratch: scratch))
  }
}

extension BatchNormGradient: CUDALowerable {
  var walk: ImageWalk { .channels(forward.norm.layout) }

  func lower(_ c: inout CUDAContext) throws {
    try NormalizationBackward(
      norm: forward.norm, activation: .identity, readsInput: true
    ).lower(&c)
  }
}

extension InPlaceABNGradient: CUDALowerable {
  var walk: ImageWalk { .channels(forward.norm.layout) }

  func lower(_ c: inout CUDAContext) throws {
    try NormalizationBackward(
      norm: forward.norm, activation: forward.activation, outer: outer?.function ?? .identity,
      readsInput: false
    ).lower(&c)
  }
}

extension RestoreInput: CUDALowerable {
  var walk: ImageWalk { .channels(forward.norm.layout) }

  func lower(_ c: inout CUDAContext) throws {
    let order = c.order(ofInput: 0)
    let room = try c.rescueRoom(ofInput: 3)
    let hasSlopes = forward.activation == .prelu
    let variant = LayerVariant(
      geometry: ImageGeometry(c.inputType(0).shape, forward.norm.layout, order),
      dtype: try c.floatType(ofInput: 0), activation: forward.activation,
      isTraining: forward.norm.usesBatchStatistics, rescues: true, epsilon: forward.norm.epsilon)
    var arguments = [
      try c.read(0, in: order), c.write(0, in: order), try c.read(1), try c.read(2),
      try c.read(3), .read(room.rows), .read(room.room),
    ]
    if hasSlopes { arguments.append(try c.read(4)) }
    c.launch(
      arguments, [try LayerGeneral(variant, c.device).restore(room, hasSlopes: hasSlopes)])
  }
}
