import ABNTensors
import ABNGraph

/// Throws unless the type is one of the floating-point types.
func requireFloatingPoint(_ type: TensorType, _ what: String) throws {
  guard type.dtype.isFloatingPoint else {
    throw ABNError(
      .dtype, what, got: "\(type.dtype)", wanted: "float16, bfloat16, float32 or float64",
      fix: "Convert it with cast.")
  }
}

/// Throws unless the types have one element type.
func requireSameDType(_ a: TensorType, _ b: TensorType, _ what: String) throws {
  guard a.dtype == b.dtype else {
    throw ABNError(
      .dtype, what, got: "\(a.dtype) and \(b.dtype)", wanted: "one element type",
      fix: "Convert one of them with cast.")
  }
}

/// Throws unless a type can be the one that is wanted: the same element type, and dimensions that
/// agree wherever both are known.
func requireType(_ type: TensorType, _ wanted: TensorType, _ what: String) throws {
  guard type.dtype == wanted.dtype else {
    throw ABNError(.dtype, what, got: "\(type.dtype)", wanted: "\(wanted.dtype)")
  }
  guard type.shape.rank == wanted.shape.rank,
    zip(type.shape.dimensions, wanted.shape.dimensions).allSatisfy(agrees)
  else {
    throw ABNError(.shape, what, got: "shape \(type.shape)", wanted: "\(wanted.shape)")
  }
}

/// Throws unless the rank is in the range.
func requireRank(_ type: TensorType, _ ranks: ClosedRange<Int>, _ what: String) throws {
  guard ranks.contains(type.shape.rank) else {
    let wanted =
      ranks.count == 1 ? "\(ranks.lowerBound)" : "\(ranks.lowerBound)...\(ranks.upperBound)"
    throw ABNError(
      .shape, what, got: "rank \(type.shape.rank), shape \(type.shape)", wanted: "rank \(wanted)")
  }
}

/// Throws where a dimension is unknown: nothing that an operator without inputs could learn it
/// from.
func requireKnown(_ type: TensorType, _ what: String) throws {
  guard type.shape.isKnown else {
    throw ABNError(.shape, what, got: "shape \(type.shape)", wanted: "known dimensions")
  }
}

/// Throws where a number is lost in an element type: a finite one becomes infinite, or one that is
/// no integer's (NaN, beyond the range) is clamped. NaN and infinities of floating-point types are
/// themselves.
package func requireHeld(_ value: Double, by dtype: DType, _ what: String) throws {
  let range: ClosedRange<Double>? =
    switch dtype {
    case .float16: value.isFinite ? -65_504...65_504 : nil
    case .bfloat16, .float32:
      value.isFinite
        ? -Double(Float.greatestFiniteMagnitude)...Double(Float.greatestFiniteMagnitude) : nil
    case .float64: nil
    case .int8: -128...127
    case .uint8: 0...255
    case .int32: Double(Int32.min)...Double(Int32.max)
    case .int64: -0x1p63...0x1p63
    case .bool: 0...1
    }
  if let range, !range.contains(value) {
    throw ABNError(
      .attribute, what, got: "\(value)",
      wanted: "a number that \(dtype) holds, in \(range.lowerBound)...\(range.upperBound)")
  }
}

/// The largest size along an axis over which windows slide or which is resized, and the largest
/// stride, dilation, padding or count of groups: what 32 bits hold, so that products of two of them
/// stay in 64.
let largestWindowSize = Int(Int32.max)

/// Throws unless every known dimension can be one of an image: see `largestWindowSize`.
func requireImage(_ type: TensorType, _ what: String) throws {
  try requireRank(type, 4...4, what)
  guard type.shape.dimensions.allSatisfy({ $0 <= largestWindowSize }) else {
    throw ABNError(
      .shape, what, got: "shape \(type.shape)", wanted: "dimensions of at most \(largestWindowSize)"
    )
  }
}

/// Throws where an image has no row or no column: a window would stand on padding alone.
func requirePixels(_ type: TensorType, _ axes: [Int]) throws {
  guard axes.allSatisfy({ type.shape[$0] != 0 }) else {
    throw ABNError(
      .shape, "input", got: "shape \(type.shape)", wanted: "at least one row and one column")
  }
}

/// Whether two dimensions agree, an unknown one with anything.
func agrees(_ a: Int, _ b: Int) -> Bool { a < 0 || b < 0 || a == b }

/// The axis with negative ones counted from the end.
///
/// - Throws: `ABNError(.attribute)` where the rank has no such axis.
func normalizedAxis(_ axis: Int, rank: Int, _ what: String = "axis") throws -> Int {
  guard axis >= -rank, axis < rank else {
    throw ABNError(
      .attribute, what, got: "\(axis)",
      wanted: rank == 0 ? "an input with axes, not a scalar" : "an axis in \(-rank)...\(rank - 1)")
  }
  return axis < 0 ? axis + rank : axis
}
