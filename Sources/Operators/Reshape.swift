// Shapes: the product of the dimensions stays.

import ABNGraph
import ABNTensors

/// out = the elements of x, in row-major order, under another shape: the same bytes where the
/// planner can have it so. Any element type.
package struct Reshape: OperatorKind {
  package static let kindName = "reshape"
  package static let formula = "out = x under another shape"

  /// The dimensions: 0 copies x's dimension at this position, -1 (once) is what the others leave.
  package let target: [Int]

  /// Under the dimensions `target`.
  ///
  /// - Throws: `ABNError(.attribute)` for a dimension below -1 or two of -1.
  package init(_ target: [Int]) throws {
    guard target.allSatisfy({ $0 >= -1 }), target.count(where: { $0 == -1 }) <= 1 else {
      throw ABNError(
        .attribute, "shape", got: "\(target)",
        wanted: "dimensions of at least 1, 0 to copy the input's, -1 at most once")
    }
    self.target = target
  }

  package var attributes: [(name: String, value: String)] { [("shape", "\(target)")] }

  package var inputCounts: ClosedRange<Int> { 1...1 }
  package func inferTypes(_ inputs: [TensorType]) throws -> [TensorType] {
    let x = inputs[0].shape
    var dimensions = target
    // What is left of x's dimensions once copied ones are taken out on both sides: an unknown
    // dimension that is copied says nothing about the others.
    var left = x.dimensions
    for (axis, size) in target.enumerated() where size == 0 {
      guard axis < x.rank else {
        throw ABNError(
          .attribute, "shape", got: "0 at position \(axis) of \(target)",
          wanted: "0 only where the input \(x) has a dimension to copy")
      }
      dimensions[axis] = x[axis]
      left[axis] = 1
    }
    let type = TensorType(Shape(dimensions), inputs[0].dtype)
    _ = try Shape(target.map { $0 == 0 ? 1 : $0 }).validated("shape")
    guard let count = Shape(left).checkedElementCount else { return [type] }
    let own = target.reduce(1) { $0 * max($1, 1) }
    func fail(_ wanted: String) -> ABNError {
      ABNError(
        .shape, "shape", got: "\(target) for an input \(x)", wanted: wanted,
        fix: "Use -1 for one dimension to have it computed.")
    }
    if let inferred = target.firstIndex(of: -1) {
      guard count % own == 0 else { throw fail("dimensions that divide \(count) elements") }
      dimensions[inferred] = count / own
    } else if count != own {
      throw fail("as many elements, \(x.checkedElementCount.map(String.init) ?? "\(count) x ?")")
    }
    return [TensorType(Shape(dimensions), inputs[0].dtype)]
  }

  package var sharing: [SharingRule] { [SharingRule(output: 0, input: 0, .view)] }

  package func gradients(_ c: inout GradientContext) throws -> [Variable?] {
    guard let dout = c.outputGradients[0] else { return [nil] }
    return [try c.append(ReshapeGradient(), dout, c.inputs[0])]
  }
}

/// out = x as a matrix: the dimensions before an axis multiplied, and those from it on.
package struct Flatten: OperatorKind {
  package static let kindName = "flatten"
  package static let formula = "out = x as a matrix of the dimensions before and from an axis"

  /// Where the columns begin, 0 ... rank.
  package let axis: Int

  /// Columns begin at `axis`.
  package init(axis: Int) { self.axis = axis }

  package var attributes: [(name: String, value: String)] { [("axis", "\(axis)")] }

  package var inputCounts: ClosedRange<Int> { 1...1 }
  package func inferTypes(_ inputs: [TensorType]) throws -> [TensorType] {
    let shape = inputs[0].shape
    guard (0...shape.rank).contains(axis) else {
      throw ABNError(
        .attribute, "axis", got: "\(axis)", wanted: "0...\(shape.rank) for an input \(shape)")
    }
    func product(_ dimensions: ArraySlice<Int>) -> Int {
      Shape(Array(dimensions)).checkedElementCount ?? Shape.unknown
    }
    return [
      TensorType(
        [product(shape.dimensions[..<axis]), product(shape.dimensions[axis...])], inputs[0].dtype)
    ]
  }

  package var sharing: [SharingRule] { [SharingRule(output: 0, input: 0, .view)] }

  package func gradients(_ c: inout GradientContext) throws -> [Variable?] {
    guard let dout = c.outputGradients[0] else { return [nil] }
    return [try c.append(ReshapeGradient(), dout, c.inputs[0])]
  }
}

/// dx = dout under the shape of x, which is read for its shape only.
package struct ReshapeGradient: OperatorKind {
  package static let kindName = "reshape_grad"
  package static let formula = "dx = dout under the shape of x"

  /// The gradient of a reshape or flatten.
  package init() {}

  package var inputCounts: ClosedRange<Int> { 2...2 }
  package func inferTypes(_ inputs: [TensorType]) throws -> [TensorType] {
    let (dout, x) = (inputs[0], inputs[1])
    try requireSameDType(dout, x, "dout and x")
    if let count = dout.shape.checkedElementCount, let wanted = x.shape.checkedElementCount,
      count != wanted
    {
      throw ABNError(
        .shape, "dout", got: "shape \(dout.shape)",
        wanted: "\(wanted) elements, as an input \(x.shape) has")
    }
    return [x]
  }
  package var sharing: [SharingRule] { [SharingRule(output: 0, input: 0, .view)] }
  package var readsTypeOnly: Set<Int> { [1] }
}
