// Shapes: x and y broadcast to out. B: the broadcast shape.

import ABNGraph
import ABNTensors

/// out = x op y, elementwise with broadcasting.
///
/// Dimensions are aligned at the right, as in NumPy; with `axis` >= 0 those of y are aligned with
/// x's from that axis on (Paddle's rule: y of shape [C] with axis 1 goes along the channels).
package struct Elementwise: OperatorKind {
  /// Which of the four.
  package enum Function: String, Sendable, Hashable {
    case add = "elementwise_add"
    case subtract = "elementwise_sub"
    case multiply = "elementwise_mul"
    case divide = "elementwise_div"
  }

  package static let kindName = "elementwise"
  package static let formula = "out = x + y, x - y, x * y or x / y"

  /// Which of the four.
  package let function: Function
  /// Where y's dimensions start among x's; -1: aligned at the right.
  package let axis: Int

  /// The operator `function`.
  package init(_ function: Function, axis: Int = -1) {
    self.function = function
    self.axis = axis
  }

  package var name: String { function.rawValue }
  package var attributes: [(name: String, value: String)] {
    axis >= 0 ? [("axis", "\(axis)")] : []
  }

  /// y's shape with ones after it, so that it is aligned at the right of x.
  package func alignedShape(_ y: Shape, to x: Shape) throws -> Shape {
    guard axis != -1 else { return y }
    guard axis >= 0, axis <= x.rank - y.rank else {
      throw ABNError(
        .attribute, "axis", got: "\(axis) for y \(y)", wanted: "y within x \(x)",
        fix: "Use -1"
          + (x.rank >= y.rank ? ", or an axis in 0...\(x.rank - y.rank)." : "."))
    }
    return Shape(
      y.dimensions + Array(repeating: 1, count: x.rank - y.rank - axis))
  }

  package var inputCounts: ClosedRange<Int> { 2...2 }
  package func inferTypes(_ inputs: [TensorType]) throws -> [TensorType] {
    try requireFloatingPoint(inputs[0], "x")
    try requireSameDType(inputs[0], inputs[1], "x and y")
    let y = try alignedShape(inputs[1].shape, to: inputs[0].shape)
    return [TensorType(try broadcast(inputs[0].shape, y), inputs[0].dtype)]
  }

  package var sharing: [SharingRule] {
    [SharingRule(output: 0, input: 0, .may), SharingRule(output: 0, input: 1, .may)]
  }

  /// Linear in each input, but for a divisor near zero.
  package var toleratesRestored: Set<Int> { function == .divide ? [0] : [0, 1] }

  package func gradients(_ c: inout GradientContext) throws -> [Variable?] {
    guard let dout = c.outputGradients[0] else { return [nil, nil] }
    let (x, y) = (c.inputs[0], c.inputs[1])
    let aligned = SumToShape(axis: axis)
    func reduced(_ gradient: Variable, like: Variable, isY: Bool) throws -> Variable {
      like.shape == c.outputs[0].shape
        ? gradient
        : try c.append(isY ? aligned : SumToShape(axis: -1), gradient, like)
    }
    var dx: Variable?
    var dy: Variable?
    switch function {
    case .add:
      if c.needsGradient[0] { dx = try reduced(dout, like: x, isY: false) }
      if c.needsGradient[1] { dy = try reduced(dout, like: y, isY: true) }
    case .subtract:
      if c.needsGradient[0] { dx = try reduced(dout, like: x, isY: false) }
      if c.needsGradient[1] {
        let negative = try c.append(Scale(factor: -1), dout)
        dy = try reduced(negative, like: y, isY: true)
      }
    case .multiply:
      if c.needsGradient[0] {
        dx = try reduced(c.append(Elementwise(.multiply, axis: axis), dout, y), like: x, isY: false)
      }
      if c.needsGradient[1] {
        dy = try reduced(c.append(Elementwise(.multiply), dout, x), like: y, isY: true)
      }
    case .divide:
      // d(x / y) = dx / y - (x / y) * dy / y
      if c.needsGradient[0] {
        dx = try reduced(c.append(Elementwise(.divide, axis: axis), dout, y), like: x, isY: false)
      }
      if c.needsGradient[1] {
        let terms = try c.append(DivisorGradient(axis: axis), dout, x, y)
        dy = try reduced(terms, like: y, isY: true)
      }
    }
    return [dx, dy]
  }
}

/// terms = -(dout / y) * (x / y) with x and y broadcast to dout: the gradient of a divisor before
/// it is summed over the broadcast axes, in one operator because either quotient may overflow or
/// vanish where the product does not. Inputs: dout, x, y.
package struct DivisorGradient: OperatorKind {
  package static let kindName = "elementwise_div_grad"
  package static let formula = "terms = -(dout / y) * (x / y)"

  /// The `axis` of the division.
  package let axis: Int

  /// The gradient of a division with this `axis`.
  package init(axis: Int) { self.axis = axis }

  package var attributes: [(name: String, value: String)] {
    axis >= 0 ? [("axis", "\(axis)")] : []
  }

  package var inputCounts: ClosedRange<Int> { 3...3 }
  package func inferTypes(_ inputs: [TensorType]) throws -> [TensorType] {
    let quotient = Elementwise(.divide, axis: axis)
    try requireType(inputs[0], quotient.outputTypes(for: [inputs[1], inputs[2]])[0], "dout")
    return [inputs[0]]
  }

  package var sharing: [SharingRule] { [SharingRule(output: 0, input: 0, .may)] }
  /// Linear in x.
  package var toleratesRestored: Set<Int> { [1] }
}

/// The shape to which both broadcast, dimensions aligned at the right.
///
/// - Throws: `ABNError(.shape)` where a pair of dimensions differs and neither is 1.
package func broadcast(_ a: Shape, _ b: Shape) throws -> Shape {
  let rank = max(a.rank, b.rank)
  return Shape(
    try (0..<rank).map { axis in
      let i = axis - (rank - a.rank)
      let j = axis - (rank - b.rank)
      let x = i < 0 ? 1 : a[i]
      let y = j < 0 ? 1 : b[j]
      if x == y || y == 1 { return x }
      if x == 1 { return y }
      if x < 0 { return y }
      if y < 0 { return x }
      throw ABNError(
        .shape, "x and y", got: "shapes \(a) and \(b)",
        wanted: "equal dimensions, or 1, at each axis from the right")
    })
}

/// out = gradient summed over the axes along which `like` was broadcast; `like` is read for its
/// shape only.
package struct SumToShape: OperatorKind {
  package static let kindName = "sum_to_shape"
  package static let formula = "out = sum of gradient over broadcast axes"

  /// The `axis` of the operator that broadcast.
  package let axis: Int

  /// Undoes the broadcast of an operator with this `axis`.
  package init(axis: Int) { self.axis = axis }

  package var attributes: [(name: String, value: String)] {
    axis >= 0 ? [("axis", "\(axis)")] : []
  }

  package var inputCounts: ClosedRange<Int> { 2...2 }
  package func inferTypes(_ inputs: [TensorType]) throws -> [TensorType] {
    let (gradient, like) = (inputs[0], inputs[1])
    try requireFloatingPoint(gradient, "gradient")
    try requireSameDType(gradient, like, "gradient and variable")
    let aligned = try Elementwise(.add, axis: axis).alignedShape(like.shape, to: gradient.shape)
    guard aligned.rank <= gradient.shape.rank,
      zip(aligned.dimensions.reversed(), gradient.shape.dimensions.reversed())
        .allSatisfy({ $0 == 1 || agrees($0, $1) })
    else {
      throw ABNError(
        .shape, "gradient", got: "shape \(gradient.shape)",
        wanted: "one to which \(like.shape) broadcasts")
    }
    return [like]
  }

  package var sharing: [SharingRule] { [SharingRule(output: 0, input: 0, .view)] }
  package var readsTypeOnly: Set<Int> { [1] }
}
