import ABNGraph
import ABNTensors

/// y = factor * x + bias.
package struct Scale: OperatorKind {
  package static let kindName = "scale"
  package static let formula = "y = factor * x + bias"

  /// Multiplies.
  package let factor: Double
  /// Added after.
  package let bias: Double

  /// factor * x + bias.
  package init(factor: Double = 1, bias: Double = 0) {
    self.factor = factor
    self.bias = bias
  }

  package var attributes: [(name: String, value: String)] {
    [("factor", "\(factor)"), ("bias", "\(bias)")]
  }

  package var inputCounts: ClosedRange<Int> { 1...1 }
  package func inferTypes(_ inputs: [TensorType]) throws -> [TensorType] {
    try requireFloatingPoint(inputs[0], "input")
    return [inputs[0]]
  }

  package var sharing: [SharingRule] { [SharingRule(output: 0, input: 0, .may)] }

  package func gradients(_ c: inout GradientContext) throws -> [Variable?] {
    guard let dy = c.outputGradients[0] else { return [nil] }
    return [factor == 1 ? dy : try c.append(Scale(factor: factor), dy)]
  }
}
