import ABNGraph
import ABNTensors
import InPlaceABN

extension LayoutGraph {
  /// Appends the layers of a node; the result has the shape of the input.
  static func append(_ kind: Kind, _ inputs: [Variable]) throws -> Variable {
    let x = inputs[0]
    let dims = x.shape.dimensions
    switch kind {
    case .conv(let layout, let size, let filters):
      guard let filters else { return try convolved(x, layout, size) }
      let wide = try convolved(x, layout, size, filters: filters)
      return try convolved(
        leakyReLU(wide, alpha: 0.1), layout, 1, filters: dims[layout.channelAxis(rank: 4)])
    case .abn(let layout, let act, let isApart, let global):
      return try normalized(x, layout, act, isApart: isApart, global: global)
    case .residual(let conv, let abn):
      let branch = try normalized(convolved(x, conv, 3), abn, .identity)
      return try leakyReLU(elementwiseAdd(branch, inputs[1]), alpha: 0.1)
    case .pool, .adaptivePool, .squeeze, .resize: return try resized(kind, x)
    case .prelu(let layout, let mode): return try prelu(x, mode: mode, dataLayout: layout)
    case .activate(let act): return try activation(x, act.with(alpha: 0.1))
    case .unary(let which): return try unary(which, x)
    case .combine(let function):
      return try combined(function, x, inputs[1], axis: -1)
    case .broadcast(let function, let axes, let keeps, let at):
      let other = try reduceMean(inputs[1], axes: axes, keepDimensions: keeps)
      return try combined(function, x, other, axis: at)
    case .sumOfThree: return try scale(sums(Array(inputs.prefix(3))), factor: 0.5)
    case .squaredError: return try tanh(squareErrorCost(x, inputs[1]))
    case .concat(let axis):
      let both = try concat([x, relu(inputs[1])], axis: axis)
      return try slice(
        both, axes: [axis], starts: [dims[axis] / 2], ends: [dims[axis] / 2 + dims[axis]])
    case .split(let axis):
      guard dims[axis] > 1 else { return x }
      let first = dims[axis] >= 16 ? 8 : 1
      let parts = try split(x, [first, dims[axis] - first], axis: axis)
      return try concat([tanh(parts[1]), parts[0]], axis: axis)
    case .pad(let layout):
      let axes = layout == .nchw ? [2, 3] : [1, 2]
      return try slice(
        pad2d(x, [1, 0, 0, 2], dataLayout: layout), axes: axes, starts: [0, 1],
        ends: [dims[axes[0]], dims[axes[1]] + 1])
    case .slice(let axis):
      guard dims[axis] > 1 else { return x }
      var paddings = [Int](repeating: 0, count: 8)
      paddings[2 * axis] = 1
      return try pad(slice(x, axes: [axis], starts: [1], ends: [dims[axis]]), paddings)
    case .transposed(let order):
      let back = (0..<4).map { axis in order.firstIndex(of: axis)! }
      return try transpose(tanh(transpose(x, order)), back)
    case .reshaped: return try reshape(tanh(flatten(x)), dims)
    case .softmax(let axis): return try scale(softmax(x, axis: axis), factor: 4)
    case .dropout(let isTest): return try dropout(x, probability: 0.25, isTest: isTest, seed: 3)
    case .cast:
      return try cast(scale(cast(x, to: .float64), factor: -0.75), to: x.dtype)
    }
  }

  private static func convolved(
    _ x: Variable, _ layout: DataLayout, _ size: Int, filters: Int? = nil
  ) throws -> Variable {
    try conv2d(
      x, numFilters: filters ?? x.shape[layout.channelAxis(rank: 4)], filterSize: size,
      padding: .uniform(size / 2), biasAttr: .absent, dataLayout: layout)
  }

  /// A large epsilon, so that rounding does not grow from layer to layer.
  private static func normalized(
    _ x: Variable, _ layout: DataLayout, _ act: Activation, isApart: Bool = false,
    global: Bool = false
  ) throws -> Variable {
    if isApart {
      let apart: Activation = act == .prelu ? .relu : act
      return try batchNorm(
        x, act: apart.with(alpha: 0.1), epsilon: 0.05, dataLayout: layout, useGlobalStats: global)
    }
    return try inplaceABN(
      x, act: act.with(alpha: 0.1), epsilon: 0.05, dataLayout: layout, useGlobalStats: global)
  }

  private static func combined(
    _ function: Elementwise.Function, _ x: Variable, _ y: Variable, axis: Int
  ) throws -> Variable {
    switch function {
    case .subtract: try elementwiseSub(x, y, axis: axis)
    case .multiply: try elementwiseMul(x, tanh(y), axis: axis)
    default: try elementwiseAdd(x, y, axis: axis)
    }
  }

  /// Each over numbers where it and its derivative are smooth and of order 1.
  private static func unary(_ which: Int, _ x: Variable) throws -> Variable {
    switch which {
    case 0: try square(tanh(x))
    case 1: try exp(tanh(x))
    case 2: try sqrt(scale(square(x), factor: 1, bias: 1))
    default: try log(scale(square(x), factor: 1, bias: 1))
    }
  }

  /// Kinds that change height and width, or read them all.
  private static func resized(_ kind: Kind, _ x: Variable) throws -> Variable {
    func back(_ y: Variable, _ layout: DataLayout) throws -> Variable {
      let axes = layout == .nchw ? [2, 3] : [1, 2]
      return try resizeBilinear(
        y, outShape: axes.map { x.shape[$0] }, alignCorners: false, dataLayout: layout)
    }
    switch kind {
    case .pool(let layout, let function, let stride):
      let y = try pool2d(
        x, poolSize: 3, poolType: function, poolStride: stride, poolPadding: 1,
        dataLayout: layout)
      return stride == 1 ? y : try back(y, layout)
    case .adaptivePool(let layout, let function):
      return try back(
        adaptivePool2d(x, poolSize: [2, 3], poolType: function, dataLayout: layout), layout)
    case .squeeze(let layout):
      let pooled = try pool2d(x, poolType: .average, globalPooling: true, dataLayout: layout)
      return try elementwiseMul(x, sigmoid(convolved(pooled, layout, 1)))
    case .resize(let layout, .nearest):
      return try back(resizeNearest(x, outShape: [6, 7], dataLayout: layout), layout)
    case .resize(let layout, _):
      return try back(resizeBilinear(x, outShape: [6, 7], dataLayout: layout), layout)
    default: return x
    }
  }
}
