// Shapes: x0, x1, ... alike except along the axis; out: their sizes added there.

import ABNGraph
import ABNTensors

/// out = x0, x1, ... one after the other along an axis. Any element type.
package struct Concat: OperatorKind {
  package static let kindName = "concat"
  package static let formula = "out = x0, x1, ... along an axis"

  /// The axis, negative ones from the end.
  package let axis: Int

  /// Concatenation along `axis`.
  package init(axis: Int) { self.axis = axis }

  package var attributes: [(name: String, value: String)] { [("axis", "\(axis)")] }

  package var inputCounts: ClosedRange<Int> { 1...Int.max }
  package func inferTypes(_ inputs: [TensorType]) throws -> [TensorType] {
    let first = inputs[0]
    let axis = try normalizedAxis(axis, rank: first.shape.rank)
    var shape = first.shape
    for (index, other) in inputs.enumerated().dropFirst() {
      try requireSameDType(first, other, "input 0 and input \(index)")
      guard other.shape.rank == shape.rank,
        (0..<shape.rank).allSatisfy({ $0 == axis || agrees(shape[$0], other.shape[$0]) })
      else {
        throw ABNError(
          .shape, "input \(index)", got: "shape \(other.shape)",
          wanted: "\(first.shape) but for axis \(axis)")
      }
      for (at, size) in other.shape.dimensions.enumerated() {
        if at == axis {
          shape[at] = shape[at] < 0 || size < 0 ? Shape.unknown : shape[at] + size
        } else if shape[at] < 0 {
          shape[at] = size
        }
      }
    }
    return [TensorType(shape, first.dtype)]
  }

  package func gradients(_ c: inout GradientContext) throws -> [Variable?] {
    guard let dout = c.outputGradients[0] else { return c.inputs.map { _ in nil } }
    let at = try normalizedAxis(axis, rank: c.inputs[0].shape.rank)
    // The last input whose start is known without the shapes of a run, and that start: of many
    // inputs each needs to look at those behind it only, at none where all sizes are known.
    var known = (index: 0, start: 0)
    return try c.inputs.indices.map { index in
      if index > 0, known.index == index - 1, c.inputs[index - 1].shape[at] >= 0 {
        known = (index, known.start + c.inputs[index - 1].shape[at])
      }
      guard c.needsGradient[index] else { return nil }
      return try c.append(
        ConcatGradient(axis: axis, index: index - known.index, start: known.start),
        [dout] + c.inputs[known.index...index])[0]
    }
  }
}

/// dx = the part of dout that came from one input of a concatenation.
///
/// Inputs: dout, then some neighbouring inputs of the concatenation, read for their shapes only:
/// the first begins at `start`, number `index` of them is the one.
package struct ConcatGradient: OperatorKind {
  package static let kindName = "concat_grad"
  package static let formula = "dx = the part of dout that came from x"

  /// The axis of the concatenation.
  package let axis: Int
  /// Which of the inputs that are given.
  package let index: Int
  /// Where the first of them begins along the axis.
  package let start: Int

  /// The gradient of input `index` of a concatenation along `axis`, counted from the one at
  /// `start`.
  ///
  /// - Throws: `ABNError(.attribute)` for an index or a start outside 0...2^44.
  package init(axis: Int, index: Int, start: Int = 0) throws {
    guard [index, start].allSatisfy((0...Shape.mostElements).contains) else {
      throw ABNError(
        .attribute, "part of a concatenation", got: "input \(index) from \(start) on",
        wanted: "numbers in 0...2^44")
    }
    self.axis = axis
    self.index = index
    self.start = start
  }

  package var attributes: [(name: String, value: String)] {
    [("axis", "\(axis)"), ("index", "\(index)"), ("start", "\(start)")]
  }

  package var inputCounts: ClosedRange<Int> { index + 2...index + 2 }

  package func inferTypes(_ inputs: [TensorType]) throws -> [TensorType] {
    let whole = inputs[0].shape
    let parts = try Concat(axis: axis).outputTypes(for: Array(inputs.dropFirst()))[0]
    let at = try normalizedAxis(axis, rank: parts.shape.rank)
    var wanted = parts
    if whole.rank == parts.shape.rank { wanted.shape[at] = Shape.unknown }
    try requireType(inputs[0], wanted, "dout")
    guard whole[at] < 0 || parts.shape[at] < 0 || start + parts.shape[at] <= whole[at] else {
      throw ABNError(
        .shape, "dout", got: "\(whole[at]) at axis \(at) of \(whole)",
        wanted: "at least the \(start + parts.shape[at]) where the part ends")
    }
    return [inputs[index + 1]]
  }
  package var readsTypeOnly: Set<Int> { Set(1...index + 1) }
}
