// Shapes: x [N, C, H, W] (or [N, H, W, C]); y [N, C, H', W'] (or [N, H', W', C]).

import ABNGraph
import ABNTensors

/// What pooling makes of the elements under a window.
public enum PoolType: String, Sendable, Hashable {
  /// The largest.
  case max
  /// Their mean.
  case average = "avg"
}

/// y = the largest, or the average, of the elements under each window.
///
/// Max has a second output: which element of its window won, the first of equal ones, in the bytes
/// that the backend likes (one byte an element for windows of up to 255).
package struct Pool2D: OperatorKind {
  /// Where the windows are.
  package enum Extent: Sendable, Hashable {
    /// A window that slides.
    case window(Window2D)
    /// Output pixel i of H' covers rows floor(i H / H') ..< ceil((i + 1) H / H').
    case adaptive([Int])
    /// One window over everything.
    case global
  }

  package static let kindName = "pool2d"
  package static let formula = "y = max or average of x under each window"

  /// Max or average.
  package let function: PoolType
  /// Where the windows are.
  package let extent: Extent
  /// Whether the average counts padding as zeros (false) or not at all (true).
  package let exclusive: Bool
  /// Where the channels stand.
  package let layout: DataLayout

  /// A pooling.
  package init(
    _ function: PoolType, _ extent: Extent, exclusive: Bool = true, layout: DataLayout = .nchw
  ) throws {
    if case .window(let window) = extent {
      try window.validate()
      guard window.dilation == [1, 1] else {
        throw ABNError(
          .attribute, "dilation", got: "\(window.dilation)", wanted: "[1, 1] for pooling")
      }
    }
    if case .adaptive(let size) = extent,
      size.count != 2
        || !size.allSatisfy(
          (1...largestWindowSize).contains)
    {
      throw ABNError(
        .attribute, "output size", got: "\(size)", wanted: "two numbers in 1...\(largestWindowSize)"
      )
    }
    self.function = function
    self.extent = extent
    self.exclusive = exclusive
    self.layout = layout
  }

  package var attributes: [(name: String, value: String)] {
    var list = [("type", function.rawValue)]
    switch extent {
    case .window(let window):
      list += [
        ("kernel", "\(window.kernel)"), ("stride", "\(window.stride)"),
        ("padding", "\(window.padding)"),
      ]
    case .adaptive(let size): list.append(("adaptive", "\(size)"))
    case .global: list.append(("global", "true"))
    }
    return list + [("layout", layout.rawValue)]
  }

  /// The spatial axes of x and y.
  package var spatialAxes: [Int] { layout == .nchw ? [2, 3] : [1, 2] }

  /// The windows along spatial axis `axis` (0: height) of an image: for each output, the first
  /// input under it, padding included, and one past the last.
  ///
  /// - Throws: as `Window2D.outputSize`.
  package func windows(_ axis: Int, input: Int) throws -> [(first: Int, end: Int)] {
    try requireSpatial(axis, input: input)
    switch extent {
    case .global: return [(0, input)]
    case .adaptive(let size):
      return (0..<size[axis]).map {
        ($0 * input / size[axis], (($0 + 1) * input + size[axis] - 1) / size[axis])
      }
    case .window(let window):
      let before = try window.sides(axis, input: input).before
      return (0..<(try window.outputSize(axis, input: input))).map {
        let first = $0 * window.stride[axis] - before
        return (first, first + window.kernel[axis])
      }
    }
  }

  /// The type of the winners: an index into a window.
  ///
  /// - Throws: `ABNError(.attribute)` where that is beyond int32.
  func winnerType(_ input: Shape, _ output: Shape) throws -> TensorType {
    var most = 1
    for (axis, position) in spatialAxes.enumerated() {
      switch extent {
      case .window(let window): most *= window.kernel[axis]
      case .global: most *= input[position] < 0 ? 256 : input[position]
      case .adaptive(let size):
        most *= input[position] < 0 ? 256 : input[position] / size[axis] + 2
      }
    }
    guard most <= Int(Int32.max) else {
      throw ABNError(
        .attribute, "window", got: "\(most) elements", wanted: "at most \(Int32.max) for a maximum")
    }
    return TensorType(output, most <= 255 ? .uint8 : .int32)
  }

  package var inputCounts: ClosedRange<Int> { 1...1 }
  package func inferTypes(_ inputs: [TensorType]) throws -> [TensorType] {
    let x = inputs[0]
    try requireFloatingPoint(x, "input")
    try requireImage(x, "input")
    try requirePixels(x, spatialAxes)
    var shape = x.shape
    for (axis, position) in spatialAxes.enumerated() {
      switch extent {
      case .global: shape[position] = 1
      case .adaptive(let size): shape[position] = size[axis]
      case .window(let window):
        shape[position] = try window.outputSize(axis, input: x.shape[position])
        let sides = try window.sides(axis, input: max(0, x.shape[position]))
        guard sides.before < window.kernel[axis],
          sides.after < window.kernel[axis]
        else {
          throw ABNError(
            .attribute, "padding", got: "\(window.padding)",
            wanted: "less than the kernel \(window.kernel)")
        }
      }
    }
    let y = TensorType(shape, x.dtype)
    return function == .max ? [y, try winnerType(x.shape, shape)] : [y]
  }

  package func gradients(_ c: inout GradientContext) throws -> [Variable?] {
    guard let dy = c.outputGradients[0] else { return [nil] }
    let seen = function == .max ? [dy, c.inputs[0], c.outputs[1]] : [dy, c.inputs[0]]
    return [try c.append(Pool2DGradient(of: self), seen)[0]]
  }
}

/// dx = dy at the winner of each window (max), or spread evenly over it (average). Inputs: dy, x
/// for its shape only and, for max, the winners.
package struct Pool2DGradient: OperatorKind {
  package static let kindName = "pool2d_grad"
  package static let formula = "dx = dy at the winner, or spread over the window"

  /// The pooling whose gradient this is.
  package let forward: Pool2D
  /// The gradient of `forward`.
  package init(of forward: Pool2D) { self.forward = forward }

  package var attributes: [(name: String, value: String)] { forward.attributes }
  package var inputCounts: ClosedRange<Int> { forward.function == .max ? 3...3 : 2...2 }
  package func inferTypes(_ inputs: [TensorType]) throws -> [TensorType] {
    let made = try forward.outputTypes(for: [inputs[1]])
    try requireType(inputs[0], made[0], "dy")
    if made.count > 1 { try requireType(inputs[2], made[1], "winners") }
    return [inputs[1]]
  }
  package var readsTypeOnly: Set<Int> { [1] }
}
