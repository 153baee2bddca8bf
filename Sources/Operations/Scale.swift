import ABNGraph
import ABNTensors

/// y = factor * x + bias.
public struct Scale: OperationKind {
  public static let kindName = "scale"
  public static let formula = "y = factor * x + bias"

  /// Multiplies.
  public let factor: Double
  /// Added after.
  public let bias: Double

  /// factor * x + bias.
  public init(factor: Double = 1, bias: Double = 0) {
    self.factor = factor
    self.bias = bias
  }

  public var attributes: [(name: String, value: String)] {
    [("factor", "\(factor)"), ("bias", "\(bias)")]
  }

  public var inputCounts: ClosedRange<Int> { 1...1 }
  public func inferTypes(_ inputs: [TensorType]) throws -> [TensorType] {
    try requireFloatingPoint(inputs[0], "input")
    return [inputs[0]]
  }

  public var sharing: [SharingRule] { [SharingRule(output: 0, input: 0, .may)] }

  public func gradients(_ c: inout GradientContext) throws -> [Variable?] {
    guard let dy = c.outputGradients[0] else { return [nil] }
    return [factor == 1 ? dy : try c.append(Scale(factor: factor), dy)]
  }
}
