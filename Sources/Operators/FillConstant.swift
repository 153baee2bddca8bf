import ABNGraph
import ABNTensors

/// out = value at every element. Without inputs: an initializer.
package struct FillConstant: OperatorKind {
  package static let kindName = "fill_constant"
  package static let formula = "out = value"

  /// The value.
  package let value: Double
  /// The shape and element type.
  package let type: TensorType

  /// `value` everywhere: a number that the type can hold, rounded as it rounds. The dimensions are
  /// known.
  package init(_ value: Double, type: TensorType) {
    self.value = value
    self.type = type
  }

  package var attributes: [(name: String, value: String)] { [("value", "\(value)")] }
  package var inputCounts: ClosedRange<Int> { 0...0 }

  package func inferTypes(_ inputs: [TensorType]) throws -> [TensorType] {
    try requireKnown(type, "output")
    try requireHeld(value, by: type.dtype, "value")
    return [type]
  }
}

/// out = the sum of all inputs, which have one type.
package struct SumOf: OperatorKind {
  package static let kindName = "sum"
  package static let formula = "out = x0 + x1 + ..."

  /// The sum of all inputs.
  package init() {}

  package var inputCounts: ClosedRange<Int> { 1...Int.max }
  package func inferTypes(_ inputs: [TensorType]) throws -> [TensorType] {
    let first = inputs[0]
    try requireFloatingPoint(first, "inputs")
    for other in inputs.dropFirst() {
      try requireSameDType(first, other, "inputs")
      guard first.shape.rank == other.shape.rank,
        zip(first.shape.dimensions, other.shape.dimensions).allSatisfy(agrees)
      else {
        throw ABNError(
          .shape, "inputs", got: "\(first.shape) and \(other.shape)", wanted: "one shape")
      }
    }
    return [first]
  }

  package var sharing: [SharingRule] {
    (0..<8).map { SharingRule(output: 0, input: $0, .may) }
  }

  package func gradients(_ c: inout GradientContext) throws -> [Variable?] {
    c.inputs.map { _ in c.outputGradients[0] }
  }
}
