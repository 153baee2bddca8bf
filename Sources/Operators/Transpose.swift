// Shapes: out[i] = x[permutation[i]].

import ABNGraph
import ABNTensors

/// out = x with its axes in another order. Any element type.
package struct Transpose: OperatorKind {
  package static let kindName = "transpose"
  package static let formula = "out axis i = x axis permutation[i]"

  /// For each axis of out, the axis of x.
  package let permutation: [Int]

  /// Axes in the order `permutation`.
  ///
  /// - Throws: `ABNError(.attribute)` where it is no permutation of 0 ..< its length.
  package init(_ permutation: [Int]) throws {
    guard permutation.sorted() == Array(permutation.indices) else {
      throw ABNError(
        .attribute, "permutation", got: "\(permutation)",
        wanted: "each axis of 0..<\(permutation.count) once")
    }
    self.permutation = permutation
  }

  package var attributes: [(name: String, value: String)] { [("permutation", "\(permutation)")] }

  package var inputCounts: ClosedRange<Int> { 1...1 }
  package func inferTypes(_ inputs: [TensorType]) throws -> [TensorType] {
    let shape = inputs[0].shape
    guard shape.rank == permutation.count else {
      throw ABNError(
        .attribute, "permutation", got: "\(permutation)",
        wanted: "\(shape.rank) axes for an input \(shape)")
    }
    return [TensorType(Shape(permutation.map { shape[$0] }), inputs[0].dtype)]
  }

  package func gradients(_ c: inout GradientContext) throws -> [Variable?] {
    guard let dout = c.outputGradients[0] else { return [nil] }
    var inverse = permutation
    for (position, axis) in permutation.enumerated() { inverse[axis] = position }
    return [try c.append(Transpose(inverse), dout)]
  }
}
