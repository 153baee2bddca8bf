import ABNTensors
import Numerics

/// The floating-point types that every operator runs in.
protocol CPUFloat: Real, BinaryFloatingPoint, TensorScalar, SIMDScalar, Codable {}
extension Float: CPUFloat {}
extension Double: CPUFloat {}

extension LoweringContext {
  /// The value for the element type: operators pass one specialization each. float16 and bfloat16
  /// take that of float32, in which they are computed.
  func float<R>(
    _ dtype: DType, _ single: @autoclosure () throws -> R, _ double: @autoclosure () throws -> R
  ) throws -> R {
    switch dtype {
    case .float32, .float16, .bfloat16: return try single()
    case .float64: return try double()
    default: throw unsupported(dtype, wanted: "a floating-point type")
    }
  }

  /// An error that says which element types the operator runs in.
  func unsupported(_ dtype: DType, wanted: String) -> ABNError {
    ABNError(
      .unsupported, "\(op.kindName) \(quoted(op.layer))", at: op.source,
      got: "\(dtype)", wanted: wanted, fix: "Convert with cast.")
  }
}
