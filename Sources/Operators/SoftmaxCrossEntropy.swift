// Shapes: logits and softmax alike, rank at least 1; loss: like logits with 1 at the axis; hard
// labels: int64 like loss; soft labels: like logits.

import ABNGraph
import ABNTensors

/// loss = -sum over an axis of label * log(softmax(logits)).
///
/// Hard labels are class numbers: loss = -log(softmax(logits)[label]). Where the label is
/// `ignoreIndex`, loss and gradient are 0. A label that is neither a class nor `ignoreIndex` ends
/// the run with an error that names the row (counted over all axes but that of the classes) and the
/// label, before any parameter is updated; nothing is read out of bounds. Labels get no gradient.
package struct SoftmaxCrossEntropy: OperatorKind {
  package static let kindName = "softmax_with_cross_entropy"
  package static let formula = "loss = -sum(label * log(softmax(logits))) along an axis"

  /// Whether labels are distributions over the classes, else class numbers.
  package let softLabel: Bool
  /// The hard label of rows that do not count.
  package let ignoreIndex: Int
  /// The axis of the classes, negative ones from the end.
  package let axis: Int

  /// Inputs: logits, label. Outputs: loss, softmax.
  package init(softLabel: Bool = false, ignoreIndex: Int = -100, axis: Int = -1) {
    self.softLabel = softLabel
    self.ignoreIndex = ignoreIndex
    self.axis = axis
  }

  package var attributes: [(name: String, value: String)] {
    [("axis", "\(axis)")]
      + (softLabel ? [("softLabel", "true")] : [("ignoreIndex", "\(ignoreIndex)")])
  }

  package var inputCounts: ClosedRange<Int> { 2...2 }
  package func inferTypes(_ inputs: [TensorType]) throws -> [TensorType] {
    let (logits, label) = (inputs[0], inputs[1])
    try requireFloatingPoint(logits, "logits")
    let axis = try normalizedAxis(axis, rank: logits.shape.rank)
    var rows = logits.shape
    rows[axis] = 1
    let wanted = softLabel ? logits.shape : rows
    let dtype = softLabel ? logits.dtype : .int64
    guard label.dtype == dtype else {
      throw ABNError(
        .dtype, "label", got: "\(label.dtype)",
        wanted: softLabel ? "\(dtype) like the logits" : "int64 class numbers",
        fix: label.dtype.isFloatingPoint && !softLabel
          ? "Pass softLabel: true for distributions." : "Convert it with cast.")
    }
    guard label.shape.rank == wanted.rank,
      zip(label.shape.dimensions, wanted.dimensions).allSatisfy(agrees)
    else {
      throw ABNError(
        .shape, "label", got: "shape \(label.shape)",
        wanted: "\(wanted) for logits \(logits.shape)",
        fix: softLabel ? "" : "A label for each row stands at size 1 of axis \(axis).")
    }
    return [TensorType(rows, logits.dtype), logits]
  }

  package var sharing: [SharingRule] { [SharingRule(output: 1, input: 0, .may)] }

  package func gradients(_ c: inout GradientContext) throws -> [Variable?] {
    let softmax = c.outputs[1]
    var parts: [Variable] = []
    if let direct = c.outputGradients[1] {
      parts.append(try c.append(SoftmaxGradient(axis: axis), softmax, direct))
    }
    if let dloss = c.outputGradients[0] {
      parts.append(
        try c.append(SoftmaxCrossEntropyGradient(of: self), softmax, c.inputs[1], dloss))
    }
    switch parts.count {
    case 0: return [nil, nil]
    case 1: return [parts[0], nil]
    default: return [try c.append(SumOf(), parts)[0], nil]
    }
  }
}

/// dlogits = (softmax * sum(label) - label) * dloss, from the exact bits of softmax, which it may
/// overwrite. At the label of a row that is nearly certain 1 - softmax is the sum of the others.
package struct SoftmaxCrossEntropyGradient: OperatorKind {
  package static let kindName = "softmax_with_cross_entropy_grad"
  package static let formula = "dlogits = (softmax * sum(label) - label) * dloss"

  /// The operator whose gradient this is.
  package let forward: SoftmaxCrossEntropy

  /// The gradient of `forward`. Inputs: softmax, label, dloss.
  package init(of forward: SoftmaxCrossEntropy) { self.forward = forward }

  package var attributes: [(name: String, value: String)] { forward.attributes }
  package var inputCounts: ClosedRange<Int> { 3...3 }
  package func inferTypes(_ inputs: [TensorType]) throws -> [TensorType] {
    let made = try forward.outputTypes(for: [inputs[0], inputs[1]])
    try requireType(inputs[2], made[0], "dloss")
    return [inputs[0]]
  }
  package var sharing: [SharingRule] { [SharingRule(output: 0, input: 0, .may)] }
}
