// Shapes: parameter, average and backup alike; updates [1] int64.

import ABNGraph
import ABNTensors

/// average = d * average + (1 - d) * parameter: the running mean of what training makes of it.
///
/// Inputs: parameter, average, updates: how many there were, this one included. Output: average.
///
/// d is min(decay, (1 + n) / (10 + n)) after n updates, so that the first values fade soon; in the
/// first one it is 0: the average begins as the parameter is after it.
package struct ExponentialAverageUpdate: OperatorKind {
  package static let kindName = "exponential_average"
  package static let formula =
    "average = d * average + (1 - d) * p, d = min(decay, (1 + n) / (10 + n))"

  /// The share of the average that stays, in the long run.
  package let decay: Double

  /// A mean over some 1 / (1 - decay) updates.
  package init(decay: Double) { self.decay = decay }

  package var attributes: [(name: String, value: String)] { [("decay", "\(decay)")] }

  package var inputCounts: ClosedRange<Int> { 3...3 }
  package func inferTypes(_ inputs: [TensorType]) throws -> [TensorType] {
    guard decay >= 0, decay < 1 else {
      throw ABNError(
        .attribute, "decay", got: "\(decay)", wanted: "a number in 0 ..< 1")
    }
    try requireFloatingPoint(inputs[0], "parameter")
    guard inputs[1] == inputs[0].accumulation else {
      throw ABNError(.shape, "average", got: "\(inputs[1])", wanted: "\(inputs[0].accumulation)")
    }
    try requireCounter(inputs[2], "updates")
    return [inputs[1]]
  }

  package var sharing: [SharingRule] { [SharingRule(output: 0, input: 1, .must)] }

  /// What the parameter counts for in the update of this number, from 1.
  package func share(update number: Int64) -> Double {
    number <= 1 ? 1 : 1 - min(decay, Double(number) / (9 + Double(number)))
  }
}

/// backup = parameter; parameter = average, where there was an update.
///
/// Inputs: parameter, backup (written only), average, updates. Outputs: parameter, backup.
package struct ApplyExponentialAverage: OperatorKind {
  package static let kindName = "apply_exponential_average"
  package static let formula = "backup = p; p = average"

  /// Puts the average in the parameter's place.
  package init() {}

  package var inputCounts: ClosedRange<Int> { 4...4 }
  package func inferTypes(_ inputs: [TensorType]) throws -> [TensorType] {
    try requireFloatingPoint(inputs[0], "parameter")
    guard inputs[1] == inputs[0] else {
      throw ABNError(.shape, "backup", got: "\(inputs[1])", wanted: "\(inputs[0])")
    }
    guard inputs[2] == inputs[0].accumulation else {
      throw ABNError(.shape, "average", got: "\(inputs[2])", wanted: "\(inputs[0].accumulation)")
    }
    try requireCounter(inputs[3], "updates")
    return [inputs[0], inputs[1]]
  }

  package var sharing: [SharingRule] {
    [SharingRule(output: 0, input: 0, .must), SharingRule(output: 1, input: 1, .must)]
  }
}
