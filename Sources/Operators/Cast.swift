// Shapes: x and y alike, any rank.

import ABNGraph
import ABNTensors

/// y = x in another element type.
///
/// Floating-point numbers are rounded to nearest, ties to even, and infinite beyond the range;
/// int64 beyond 2^53 is rounded to float64 first. Integers from floating-point numbers are rounded
/// toward zero and, as from other integers, clamped to their range, NaN gives 0; bool is x != 0.
/// The gradient is dy in x's type; there is none where either type is not floating-point.
package struct Cast: OperatorKind {
  package static let kindName = "cast"
  package static let formula = "y = x as another element type"

  /// The element type of y.
  package let target: DType

  /// Conversion to `target`.
  package init(to target: DType) { self.target = target }

  package var attributes: [(name: String, value: String)] { [("to", "\(target)")] }

  package var inputCounts: ClosedRange<Int> { 1...1 }
  package func inferTypes(_ inputs: [TensorType]) throws -> [TensorType] {
    [TensorType(inputs[0].shape, target)]
  }

  package var sharing: [SharingRule] { [SharingRule(output: 0, input: 0, .may)] }

  package func gradients(_ c: inout GradientContext) throws -> [Variable?] {
    let source = c.inputs[0].dtype
    guard let dy = c.outputGradients[0], source.isFloatingPoint, target.isFloatingPoint else {
      return [nil]
    }
    return [source == target ? dy : try c.append(Cast(to: source), dy)]
  }
}

/// y = x: a name of its own for the same value.
package struct Assign: OperatorKind {
  package static let kindName = "assign"
  package static let formula = "y = x"

  /// The identity.
  package init() {}

  package var inputCounts: ClosedRange<Int> { 1...1 }
  package func inferTypes(_ inputs: [TensorType]) throws -> [TensorType] { [inputs[0]] }
  package var sharing: [SharingRule] { [SharingRule(output: 0, input: 0, .view)] }
  package func gradients(_ c: inout GradientContext) throws -> [Variable?] {
    [c.outputGradients[0]]
  }
}

/// y = 0 in the type of x, which is read for its type only.
package struct ZerosLike: OperatorKind {
  package static let kindName = "fill_zeros_like"
  package static let formula = "y = 0"

  /// Zeros.
  package init() {}

  package var inputCounts: ClosedRange<Int> { 1...1 }
  package func inferTypes(_ inputs: [TensorType]) throws -> [TensorType] { [inputs[0]] }
  package var readsTypeOnly: Set<Int> { [0] }
  package func gradients(_ c: inout GradientContext) throws -> [Variable?] { [nil] }
}
