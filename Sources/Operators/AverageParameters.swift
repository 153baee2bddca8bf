// Shapes: parameter, sums and backup alike; counters [1] int64.

import ABNGraph
import ABNTensors

/// Adds a parameter to the sums of which ModelAverage takes the mean.
///
/// Inputs: parameter, sum1, sum2, sum3, accumulated, oldAccumulated, updates. Outputs: all but the
/// parameter.
///
/// updates += 1; accumulated += 1; sum1 += parameter. Every 16384 updates sum1 moves into sum2, so
/// that small numbers are not lost in large sums. When accumulated reaches both `minimumWindow` and
/// min(maximumWindow, updates * rate), the window closes: sum3 = sum1 + sum2, oldAccumulated =
/// accumulated, and sum1, sum2 and accumulated start again from 0.
package struct AverageAccumulate: OperatorKind {
  package static let kindName = "average_accumulates"
  package static let formula = "sum1 = sum1 + p; closed windows move on to sum2 and sum3"

  /// The share of all updates that a window holds.
  package let rate: Double
  /// The updates that a window holds at least.
  package let minimumWindow: Int
  /// The updates that a window holds at most, if that is not below the least.
  package let maximumWindow: Int

  /// Sums over such windows.
  package init(rate: Double, minimumWindow: Int, maximumWindow: Int) {
    self.rate = rate
    self.minimumWindow = minimumWindow
    self.maximumWindow = maximumWindow
  }

  package var attributes: [(name: String, value: String)] {
    [
      ("rate", "\(rate)"), ("minimum window", "\(minimumWindow)"),
      ("maximum window", "\(maximumWindow)"),
    ]
  }

  package var inputCounts: ClosedRange<Int> { 7...7 }
  package func inferTypes(_ inputs: [TensorType]) throws -> [TensorType] {
    guard (0...1).contains(rate), minimumWindow >= 1, maximumWindow >= 1 else {
      throw ABNError(
        .attribute, "window",
        got: "rate \(rate), \(minimumWindow) to \(maximumWindow) updates",
        wanted: "a rate in 0...1 and at least 1 update")
    }
    try requireFloatingPoint(inputs[0], "parameter")
    for sum in inputs[1...3] where sum != inputs[0].accumulation {
      throw ABNError(.shape, "sum", got: "\(sum)", wanted: "\(inputs[0].accumulation)")
    }
    for counter in inputs[4...6] { try requireCounter(counter, "counter") }
    return Array(inputs[1...])
  }

  package var sharing: [SharingRule] {
    (0..<6).map { SharingRule(output: $0, input: $0 + 1, .must) }
  }
}

/// backup = parameter; parameter = (sum1 + sum2 + sum3) / (accumulated + oldAccumulated).
///
/// Inputs: parameter, backup (written only), sum1, sum2, sum3, accumulated, oldAccumulated. A
/// parameter of which nothing was accumulated yet stays as it is.
package struct ApplyAverage: OperatorKind {
  package static let kindName = "apply_average"
  package static let formula = "backup = p; p = (sum1 + sum2 + sum3) / (count + oldCount)"

  /// Puts the mean in the parameter's place.
  package init() {}

  package var inputCounts: ClosedRange<Int> { 7...7 }
  package func inferTypes(_ inputs: [TensorType]) throws -> [TensorType] {
    try requireFloatingPoint(inputs[0], "parameter")
    for (position, what) in [(1, "backup"), (2, "sum"), (3, "sum"), (4, "sum")] {
      let wanted = position == 1 ? inputs[0] : inputs[0].accumulation
      guard inputs[position] == wanted else {
        throw ABNError(.shape, what, got: "\(inputs[position])", wanted: "\(wanted)")
      }
    }
    for counter in inputs[5...6] { try requireCounter(counter, "counter") }
    return [inputs[0], inputs[1]]
  }

  package var sharing: [SharingRule] {
    [SharingRule(output: 0, input: 0, .must), SharingRule(output: 1, input: 1, .must)]
  }
}

/// parameter = backup, bit by bit. Inputs: parameter (written only), backup.
package struct RestoreParameter: OperatorKind {
  package static let kindName = "restore_parameter"
  package static let formula = "p = backup"

  /// Undoes `ApplyAverage`.
  package init() {}

  package var inputCounts: ClosedRange<Int> { 2...2 }
  package func inferTypes(_ inputs: [TensorType]) throws -> [TensorType] {
    guard inputs[1] == inputs[0] else {
      throw ABNError(.shape, "backup", got: "\(inputs[1])", wanted: "\(inputs[0])")
    }
    return [inputs[0]]
  }

  package var sharing: [SharingRule] { [SharingRule(output: 0, input: 0, .must)] }
}
