// Shapes: x and y alike, any rank.

import ABNGraph
import ABNTensors

/// y = x in another element type.
///
/// Floating-point numbers are rounded to nearest, ties to even, and infinite beyond the range; int64 beyond
/// 2^53 is rounded to float64 first. Integers from floating-point numbers are rounded toward zero and, as
/// from other integers, clamped to their range, NaN gives 0; bool is x != 0. The gradient is dy in x's
/// type; there is none where either type is not floating-point.
public struct Cast: OperationKind {
  public static let kindName = "cast"
  public static let formula = "y = x as another element type"

  /// The element type of y.
  public let target: DType

  /// Conversion to `target`.
  public init(to target: DType) { self.target = target }

  public var attributes: [(name: String, value: String)] { [("to", "\(target)")] }

  public var inputCounts: ClosedRange<Int> { 1...1 }
  public func inferTypes(_ inputs: [TensorType]) throws -> [TensorType] {
    [TensorType(inputs[0].shape, target)]
  }

  public var sharing: [SharingRule] { [SharingRule(output: 0, input: 0, .may)] }

  public func gradients(_ c: inout GradientContext) throws -> [Variable?] {
    let source = c.inputs[0].dtype
    guard let dy = c.outputGradients[0], source.isFloatingPoint, target.isFloatingPoint else {
      return [nil]
    }
    return [source == target ? dy : try c.append(Cast(to: source), dy)]
  }
}

/// y = x: a name of its own for the same value.
public struct Assign: OperationKind {
  public static let kindName = "assign"
  public static let formula = "y = x"

  /// The identity.
  public init() {}

  public var inputCounts: ClosedRange<Int> { 1...1 }
  public func inferTypes(_ inputs: [TensorType]) throws -> [TensorType] { [inputs[0]] }
  public var sharing: [SharingRule] { [SharingRule(output: 0, input: 0, .view)] }
  public func gradients(_ c: inout GradientContext) throws -> [Variable?] {
    [c.outputGradients[0]]
  }
}

/// y = 0 in the type of x, which is read for its type only.
public struct ZerosLike: OperationKind {
  public static let kindName = "fill_zeros_like"
  public static let formula = "y = 0"

  /// Zeros.
  public init() {}

  public var inputCounts: ClosedRange<Int> { 1...1 }
  public func inferTypes(_ inputs: [TensorType]) throws -> [TensorType] { [inputs[0]] }
  public var readsTypeOnly: Set<Int> { [0] }
  public func gradients(_ c: inout GradientContext) throws -> [Variable?] { [nil] }
}
