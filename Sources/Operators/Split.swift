// Shapes: out0, out1, ... like x except along the axis, where their sizes add up to x's.

import ABNGraph
import ABNTensors

/// How long the parts of a tensor that is cut along an axis are.
public enum SplitParts: Sendable, Hashable, ExpressibleByIntegerLiteral, ExpressibleByArrayLiteral {
  /// So many parts of one size.
  case equal(Int)
  /// Parts of these sizes; one may be -1: what the others leave.
  case sizes([Int])

  /// So many parts of one size.
  public init(integerLiteral value: Int) { self = .equal(value) }
  /// Parts of these sizes.
  public init(arrayLiteral elements: Int...) { self = .sizes(elements) }
}

/// out0, out1, ... = x cut along an axis. Any element type.
package struct Split: OperatorKind {
  package static let kindName = "split"
  package static let formula = "out0, out1, ... = x cut along an axis"

  /// The most parts: each is a variable, with a step of its own.
  package static let mostParts = 1 << 16

  /// How long the parts are.
  package let parts: SplitParts
  /// The axis, negative ones from the end.
  package let axis: Int

  /// Cuts along `axis`.
  ///
  /// - Throws: `ABNError(.attribute)` for no parts or more than `mostParts`, sizes outside 1...2^44
  ///   other than one -1.
  package init(_ parts: SplitParts, axis: Int) throws {
    switch parts {
    case .equal(let count):
      guard (1...Self.mostParts).contains(count) else {
        throw ABNError(
          .attribute, "number of parts", got: "\(count)", wanted: "1...\(Self.mostParts)")
      }
    case .sizes(let sizes):
      guard (1...Self.mostParts).contains(sizes.count),
        sizes.allSatisfy({ $0 == -1 || (1...Shape.mostElements).contains($0) }),
        sizes.count(where: { $0 == -1 }) <= 1
      else {
        throw ABNError(
          .attribute, "sizes", got: "\(sizes)",
          wanted: "1...\(Self.mostParts) sizes in 1...2^44, and -1 at most once for what they leave"
        )
      }
    }
    self.parts = parts
    self.axis = axis
  }

  package var attributes: [(name: String, value: String)] {
    switch parts {
    case .equal(let count): [("axis", "\(axis)"), ("parts", "\(count)")]
    case .sizes(let sizes): [("axis", "\(axis)"), ("sizes", "\(sizes)")]
    }
  }

  package var inputCounts: ClosedRange<Int> { 1...1 }
  package func inferTypes(_ inputs: [TensorType]) throws -> [TensorType] {
    let shape = inputs[0].shape
    let axis = try normalizedAxis(axis, rank: shape.rank)
    let whole = shape[axis]
    var sizes: [Int]
    switch parts {
    case .equal(let count):
      guard whole < 0 || whole % count == 0 else {
        throw ABNError(
          .shape, "input", got: "\(whole) at axis \(axis) of \(shape)",
          wanted: "a multiple of \(count)", fix: "Give the sizes of the parts instead.")
      }
      sizes = Array(repeating: whole < 0 ? Shape.unknown : whole / count, count: count)
    case .sizes(let given):
      sizes = given
      let sum = sizes.reduce(0) { $0 + max($1, 0) }
      let rest = sizes.firstIndex(of: -1)
      guard whole < 0 || (rest == nil ? sum == whole : sum < whole) else {
        throw ABNError(
          .shape, "sizes", got: "\(given), \(sum) together",
          wanted: "\(whole), as axis \(axis) of \(shape) has")
      }
      if let rest, whole >= 0 { sizes[rest] = whole - sum }
    }
    return sizes.map { size in
      var part = shape
      part[axis] = size
      return TensorType(part, inputs[0].dtype)
    }
  }

  package func gradients(_ c: inout GradientContext) throws -> [Variable?] {
    guard c.outputGradients.contains(where: { $0 != nil }) else { return [nil] }
    var parts: [Variable] = []
    for (index, gradient) in c.outputGradients.enumerated() {
      parts.append(try gradient ?? c.append(ZerosLike(), c.outputs[index]))
    }
    return [try c.append(Concat(axis: axis), parts)[0]]
  }
}
