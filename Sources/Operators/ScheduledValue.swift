// Shapes: counter [1] int64, out [1].

import ABNGraph
import ABNTensors

/// out = schedule.value(step: counter): a learning rate that changes from run to run.
package struct ScheduledValue: OperatorKind {
  package static let kindName = "scheduled_value"
  package static let formula = "out = schedule(counter)"

  /// The function of the step.
  package let schedule: Schedule
  /// The element type of the value: float32 or float64.
  package let dtype: DType

  /// The value of `schedule` at the counter that is the input.
  ///
  /// - Throws: `ABNError(.attribute)` where `Schedule.validated` does.
  package init(_ schedule: Schedule, dtype: DType = .float32) throws {
    self.schedule = try schedule.validated()
    self.dtype = dtype
  }

  package var attributes: [(name: String, value: String)] { [("schedule", "\(schedule)")] }

  package var inputCounts: ClosedRange<Int> { 1...1 }
  package func inferTypes(_ inputs: [TensorType]) throws -> [TensorType] {
    try requireCounter(inputs[0], "counter")
    try requireLearningRate(TensorType([1], dtype))
    return [TensorType([1], dtype)]
  }
}

/// counter = counter + 1, in place.
package struct Increment: OperatorKind {
  package static let kindName = "increment"
  package static let formula = "counter = counter + 1"

  /// Counts runs.
  package init() {}

  package var inputCounts: ClosedRange<Int> { 1...1 }
  package func inferTypes(_ inputs: [TensorType]) throws -> [TensorType] {
    try requireCounter(inputs[0], "counter")
    return [inputs[0]]
  }

  package var sharing: [SharingRule] { [SharingRule(output: 0, input: 0, .must)] }
}

/// Throws unless the type is int64 of one element.
func requireCounter(_ type: TensorType, _ what: String) throws {
  guard type == TensorType([1], .int64) else {
    throw ABNError(.dtype, what, got: "\(type)", wanted: "int64[1]")
  }
}
