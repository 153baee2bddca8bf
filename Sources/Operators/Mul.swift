// Shapes: x [d0, ..., dk-1, dk, ...] seen as [M, K] with k = numFlattenDims; w [K, L];
// y [d0, ..., dk-1, L].

import ABNGraph
import ABNTensors

/// y = x w, with x flattened to a matrix: its first `numFlattenDims` dimensions are rows.
package struct Mul: OperatorKind {
  package static let kindName = "mul"
  package static let formula = "y = x w, x flattened to a matrix"

  /// How many dimensions of x are rows.
  package let numFlattenDims: Int

  /// A product with x flattened after `numFlattenDims` dimensions.
  package init(numFlattenDims: Int = 1) { self.numFlattenDims = numFlattenDims }

  package var attributes: [(name: String, value: String)] {
    [("num_flatten_dims", "\(numFlattenDims)")]
  }

  package var inputCounts: ClosedRange<Int> { 2...2 }
  package func inferTypes(_ inputs: [TensorType]) throws -> [TensorType] {
    let (x, w) = (inputs[0], inputs[1])
    try requireFloatingPoint(x, "input")
    try requireSameDType(x, w, "input and weight")
    try requireRank(w, 2...2, "weight")
    guard numFlattenDims >= 1, numFlattenDims < x.shape.rank else {
      throw ABNError(
        .attribute, "numFlattenDims", got: "\(numFlattenDims) for an input \(x.shape)",
        wanted: "1...\(max(1, x.shape.rank - 1))")
    }
    let columns = x.shape.dimensions[numFlattenDims...]
    guard !columns.contains(where: { $0 < 0 }) else {
      throw ABNError(
        .shape, "input", got: "\(x.shape)", wanted: "known dimensions from \(numFlattenDims) on",
        fix: "Only the rows may be unknown until the program runs.")
    }
    guard columns.reduce(1, *) == w.shape[0] else {
      throw ABNError(
        .shape, "weight", got: "\(w.shape)", wanted: "[\(columns.reduce(1, *)), any]",
        fix: "The input has shape \(x.shape).")
    }
    return [
      TensorType(
        Shape(Array(x.shape.dimensions[..<numFlattenDims]) + [w.shape[1]]), x.dtype)
    ]
  }

  package func gradients(_ c: inout GradientContext) throws -> [Variable?] {
    guard let dy = c.outputGradients[0] else { return [nil, nil] }
    return [
      c.needsGradient[0]
        ? try c.append(MulDataGradient(of: self), c.inputs[1], dy, c.inputs[0]) : nil,
      c.needsGradient[1]
        ? try c.append(MulWeightGradient(of: self), c.inputs[0], dy, c.inputs[1]) : nil,
    ]
  }
}

/// dx = dy w^T. Inputs: w, dy, and x for its shape only.
package struct MulDataGradient: OperatorKind {
  package static let kindName = "mul_data_grad"
  package static let formula = "dx = dy w^T"

  /// The product whose gradient this is.
  package let forward: Mul
  /// The gradient of `forward` for its input.
  package init(of forward: Mul) { self.forward = forward }

  package var attributes: [(name: String, value: String)] { forward.attributes }
  package var inputCounts: ClosedRange<Int> { 3...3 }
  package func inferTypes(_ inputs: [TensorType]) throws -> [TensorType] {
    try requireType(inputs[1], forward.outputTypes(for: [inputs[2], inputs[0]])[0], "dy")
    return [inputs[2]]
  }
  package var readsTypeOnly: Set<Int> { [2] }
}

/// dw = x^T dy. Inputs: x, dy, and w for its shape only.
package struct MulWeightGradient: OperatorKind {
  package static let kindName = "mul_weight_grad"
  package static let formula = "dw = x^T dy"

  /// The product whose gradient this is.
  package let forward: Mul
  /// The gradient of `forward` for its weight.
  package init(of forward: Mul) { self.forward = forward }

  package var attributes: [(name: String, value: String)] { forward.attributes }
  package var inputCounts: ClosedRange<Int> { 3...3 }
  package func inferTypes(_ inputs: [TensorType]) throws -> [TensorType] {
    try requireType(inputs[1], forward.outputTypes(for: [inputs[0], inputs[2]])[0], "dy")
    return [inputs[2]]
  }
  package var toleratesRestored: Set<Int> { [0] }
  package var readsTypeOnly: Set<Int> { [2] }
}
