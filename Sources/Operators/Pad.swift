// Shapes: out[i] = before[i] + x[i] + after[i].

import ABNGraph
import ABNTensors

/// out = x with elements of one value around it. Any element type.
package struct Pad: OperatorKind {
  package static let kindName = "pad"
  package static let formula = "out = x with a value around it"

  /// Elements added before x along each axis.
  package let before: [Int]
  /// Elements added after x along each axis.
  package let after: [Int]
  /// The value of the added elements.
  package let value: Double

  /// `before` and `after` elements of `value` along each axis.
  ///
  /// - Throws: `ABNError(.attribute)` for numbers outside 0...2^44 or lists of different lengths.
  package init(before: [Int], after: [Int], value: Double = 0) throws {
    guard before.count == after.count,
      (before + after).allSatisfy((0...Shape.mostElements).contains)
    else {
      throw ABNError(
        .attribute, "paddings", got: "\(before) before and \(after) after",
        wanted: "a number of at least 0, and at most 2^44, before and after each axis")
    }
    self.before = before
    self.after = after
    self.value = value
  }

  package var attributes: [(name: String, value: String)] {
    [("before", "\(before)"), ("after", "\(after)"), ("value", "\(value)")]
  }

  package var inputCounts: ClosedRange<Int> { 1...1 }
  package func inferTypes(_ inputs: [TensorType]) throws -> [TensorType] {
    let shape = inputs[0].shape
    guard shape.rank == before.count else {
      throw ABNError(
        .attribute, "paddings", got: "those of \(before.count) axes",
        wanted: "those of the \(shape.rank) axes of the input \(shape)")
    }
    let dimensions = (0..<shape.rank).map {
      shape[$0] < 0 ? Shape.unknown : before[$0] + shape[$0] + after[$0]
    }
    return [TensorType(Shape(dimensions), inputs[0].dtype)]
  }

  package func gradients(_ c: inout GradientContext) throws -> [Variable?] {
    guard let dout = c.outputGradients[0] else { return [nil] }
    let axes = before.indices.filter { before[$0] > 0 || after[$0] > 0 }
    guard !axes.isEmpty else { return [dout] }
    // Ends from the end, so that axes of unknown size are right too.
    let slice = try Slice(
      axes: axes, starts: axes.map { before[$0] },
      ends: axes.map { after[$0] == 0 ? Int.max : -after[$0] })
    return [try c.append(slice, dout)]
  }
}
