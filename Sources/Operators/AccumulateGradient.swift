// Shapes: gradient and sum alike.

import ABNGraph
import ABNTensors

/// sum = sum + gradient: the gradients of the micro-batches before the last of an update.
///
/// Inputs: gradient, sum. Output: sum.
package struct AccumulateGradient: OperatorKind {
  package static let kindName = "accumulate_gradient"
  package static let formula = "sum = sum + g"

  /// Adds up.
  package init() {}

  package var inputCounts: ClosedRange<Int> { 2...2 }
  package func inferTypes(_ inputs: [TensorType]) throws -> [TensorType] {
    try requireSum(inputs)
    return [inputs[1]]
  }

  package var sharing: [SharingRule] { [SharingRule(output: 0, input: 1, .must)] }
}

/// mean = (sum + gradient) / count; sum = 0: the gradient of an update, from that of its last
/// micro-batch and the sum of those before.
///
/// Inputs: gradient, sum. Outputs: mean, sum.
package struct MeanGradient: OperatorKind {
  package static let kindName = "mean_gradient"
  package static let formula = "mean = (sum + g) / count; sum = 0"

  /// The micro-batches of an update.
  package let count: Int

  /// The mean of `count` gradients.
  package init(count: Int) { self.count = count }

  package var attributes: [(name: String, value: String)] { [("count", "\(count)")] }

  package var inputCounts: ClosedRange<Int> { 2...2 }
  package func inferTypes(_ inputs: [TensorType]) throws -> [TensorType] {
    guard count >= 1 else {
      throw ABNError(.attribute, "count", got: "\(count)", wanted: "at least 1")
    }
    try requireSum(inputs)
    return inputs
  }

  package var sharing: [SharingRule] {
    [SharingRule(output: 0, input: 0, .may), SharingRule(output: 1, input: 1, .must)]
  }
}

private func requireSum(_ inputs: [TensorType]) throws {
  try requireFloatingPoint(inputs[0], "gradient")
  guard inputs[1] == inputs[0].accumulation else {
    throw ABNError(.shape, "sum", got: "\(inputs[1])", wanted: "\(inputs[0].accumulation)")
  }
}
