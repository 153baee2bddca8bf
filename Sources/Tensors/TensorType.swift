/// What a variable holds: dimensions and element type.
public struct TensorType: Hashable, Sendable, CustomStringConvertible {
  /// The dimensions; any of them may be unknown until the program is compiled.
  public var shape: Shape
  /// The element type.
  public var dtype: DType

  /// A type of this shape and element type.
  public init(_ shape: Shape, _ dtype: DType) {
    self.shape = shape
    self.dtype = dtype
  }

  /// The bytes of a row-major tensor of this type; `Shape.unknown` where a dimension is, and
  /// Int.max where they are more, as no type in a program has.
  public var bytes: Int {
    guard shape.isKnown else { return Shape.unknown }
    let (bytes, overflow) = shape.elementCount.multipliedReportingOverflow(by: dtype.bytes)
    return overflow ? .max : bytes
  }

  /// The type in which sums and parameters of such a tensor are kept: see `DType.accumulation`.
  package var accumulation: TensorType { TensorType(shape, dtype.accumulation) }

  public var description: String { "\(dtype)\(shape)" }
}
