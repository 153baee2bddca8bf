// Shapes: out like x, with end - start at each sliced axis.

import ABNGraph
import ABNTensors

/// out = x from start up to, not including, end along some axes. Any element type.
///
/// Negative starts and ends count from the end of the axis; then both are clamped to the axis, as
/// in Paddle. An empty result is an error.
package struct Slice: OperatorKind {
  package static let kindName = "slice"
  package static let formula = "out = x[start ..< end] along some axes"

  /// The sliced axes, negative ones from the end.
  package let axes: [Int]
  /// The first element of each.
  package let starts: [Int]
  /// One past the last element of each.
  package let ends: [Int]

  /// A slice along `axes`.
  ///
  /// - Throws: `ABNError(.attribute)` where the three are not equally long.
  package init(axes: [Int], starts: [Int], ends: [Int]) throws {
    guard axes.count == starts.count, axes.count == ends.count, !axes.isEmpty else {
      throw ABNError(
        .attribute, "axes, starts and ends",
        got: "\(axes.count), \(starts.count) and \(ends.count) numbers",
        wanted: "as many of each, at least one")
    }
    self.axes = axes
    self.starts = starts
    self.ends = ends
  }

  package var attributes: [(name: String, value: String)] {
    [("axes", "\(axes)"), ("starts", "\(starts)"), ("ends", "\(ends)")]
  }

  /// The elements taken along each axis of a tensor; nil for an axis of unknown size that is
  /// sliced.
  ///
  /// - Throws: `ABNError(.attribute)` for an axis out of range or given twice, `.shape` for an
  ///   empty result.
  package func ranges(in shape: Shape) throws -> [Range<Int>?] {
    var ranges = shape.dimensions.map { $0 < 0 ? nil : Optional(0..<$0) }
    var seen = Set<Int>()
    for (index, given) in axes.enumerated() {
      let axis = try normalizedAxis(given, rank: shape.rank)
      guard seen.insert(axis).inserted else {
        throw ABNError(.attribute, "axes", got: "\(axes)", wanted: "each axis once")
      }
      guard let size = ranges[axis]?.upperBound else { continue }
      func clamped(_ position: Int) -> Int {
        max(0, min(position < 0 ? position + size : position, size))
      }
      let (start, end) = (clamped(starts[index]), clamped(ends[index]))
      guard start < end else {
        throw ABNError(
          .shape, "slice", got: "\(starts[index])..<\(ends[index]) of axis \(axis) of \(shape)",
          wanted: "at least one element")
      }
      ranges[axis] = start..<end
    }
    return ranges
  }

  package var inputCounts: ClosedRange<Int> { 1...1 }
  package func inferTypes(_ inputs: [TensorType]) throws -> [TensorType] {
    let dimensions = try ranges(in: inputs[0].shape).map { $0?.count ?? Shape.unknown }
    return [TensorType(Shape(dimensions), inputs[0].dtype)]
  }

  package func gradients(_ c: inout GradientContext) throws -> [Variable?] {
    guard let dout = c.outputGradients[0] else { return [nil] }
    return [try c.append(SliceGradient(of: self), dout, c.inputs[0])]
  }
}

/// dx = dout where x was taken, else 0; x is read for its shape only.
package struct SliceGradient: OperatorKind {
  package static let kindName = "slice_grad"
  package static let formula = "dx = dout where x was taken, else 0"

  /// The operator whose gradient this is.
  package let forward: Slice

  /// The gradient of `forward`.
  package init(of forward: Slice) { self.forward = forward }

  package var attributes: [(name: String, value: String)] { forward.attributes }
  package var inputCounts: ClosedRange<Int> { 2...2 }
  package func inferTypes(_ inputs: [TensorType]) throws -> [TensorType] {
    try requireType(inputs[0], forward.outputTypes(for: [inputs[1]])[0], "dout")
    return [inputs[1]]
  }
  /// No value of x is read.
  package var readsTypeOnly: Set<Int> { [1] }
}
