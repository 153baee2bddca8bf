// Shapes: x [N, C, H, W], out [N, C, H', W'] (NCHW); x [N, H, W, C], out [N, H', W', C] (NHWC).

import ABNGraph
import ABNTensors

/// out = x at another height and width, by the nearest or by the two nearest rows and columns.
///
/// Element k of an output axis of size n comes from position s of the input axis of size m:
///
/// | | align corners | else |
/// |---|---|---|
/// | nearest | floor(k (m - 1) / (n - 1) + 1/2) | floor(k m / n) |
/// | bilinear, align mode 0 | k (m - 1) / (n - 1) | max((k + 1/2) m / n - 1/2, 0) |
/// | bilinear, align mode 1 | k (m - 1) / (n - 1) | k m / n |
///
/// and bilinear takes (1 - f) x[floor(s)] + f x[min(floor(s) + 1, m - 1)], f the fraction of s.
/// With align corners and n = 1, s = 0. Positions are computed with integers: no rounding decides.
/// Source: the definition of Paddle's `resize_bilinear` and `resize_nearest`.
package struct Resize: OperatorKind {
  /// Which inputs an output is made of.
  package enum Method: String, Sendable, Hashable {
    case nearest = "nearest_interp"
    case bilinear = "bilinear_interp"
  }

  /// The size of the result.
  package enum Size: Sendable, Hashable {
    /// Height and width.
    case shape(height: Int, width: Int)
    /// Each multiplied by this, in float32, and rounded down: see `scaled(_:by:)`.
    case scale(Double)
  }

  package static let kindName = "resize"
  package static let formula = "out = x at another height and width"

  /// Which inputs an output is made of.
  package let method: Method
  /// The size of the result.
  package let size: Size
  /// Whether the corners of input and output are the same points.
  package let alignCorners: Bool
  /// Bilinear without aligned corners: whether pixels are areas (0) or points (1).
  package let alignMode: Int
  /// Where the channels stand.
  package let layout: DataLayout

  /// - Throws: `ABNError(.attribute)` for sizes below 1, a scale that is not above 0, or an align
  ///   mode other than 0 and 1.
  package init(
    _ method: Method, to size: Size, alignCorners: Bool = true, alignMode: Int = 1,
    layout: DataLayout = .nchw
  ) throws {
    switch size {
    case .shape(let height, let width):
      guard [height, width].allSatisfy((1...largestWindowSize).contains) else {
        throw ABNError(
          .attribute, "output shape", got: "[\(height), \(width)]",
          wanted: "height and width in 1...\(largestWindowSize)")
      }
    case .scale(let factor):
      guard factor > 0, factor.isFinite else {
        throw ABNError(.attribute, "scale", got: "\(factor)", wanted: "a number above 0")
      }
    }
    guard alignMode == 0 || alignMode == 1 else {
      throw ABNError(.attribute, "align mode", got: "\(alignMode)", wanted: "0 or 1")
    }
    self.method = method
    self.size = size
    self.alignCorners = alignCorners
    self.alignMode = alignMode
    self.layout = layout
  }

  package var name: String { method.rawValue }

  package var attributes: [(name: String, value: String)] {
    let to =
      switch size {
      case .shape(let height, let width): "[\(height), \(width)]"
      case .scale(let factor): "x\(factor)"
      }
    return [
      ("to", to), ("alignCorners", "\(alignCorners)"), ("alignMode", "\(alignMode)"),
      ("layout", layout.rawValue),
    ]
  }

  /// The axes of height and width.
  package var spatialAxes: (height: Int, width: Int) { layout == .nchw ? (2, 3) : (1, 2) }

  /// floor(size * scale), size and scale rounded to float32 and multiplied in float32: the rule of
  /// Paddle's `resize_bilinear`. 100 by 0.29 is 29 (in float64 the product is below 29), 10 by 0.7
  /// is 7.
  ///
  /// - Returns: nil where that is below 1, or 1e9 or more.
  package static func scaled(_ size: Int, by scale: Double) -> Int? {
    let product = Float(size) * Float(scale)
    return product >= 1 && product < 1e9 ? Int(product) : nil
  }

  package var inputCounts: ClosedRange<Int> { 1...1 }
  package func inferTypes(_ inputs: [TensorType]) throws -> [TensorType] {
    try requireFloatingPoint(inputs[0], "input")
    try requireImage(inputs[0], "input")
    var shape = inputs[0].shape
    let (height, width) = spatialAxes
    switch size {
    case .shape(let newHeight, let newWidth):
      for axis in [height, width] where shape[axis] == 0 {
        throw ABNError(
          .shape, "input", got: "\(inputs[0].shape)", wanted: "at least one row and column")
      }
      shape[height] = newHeight
      shape[width] = newWidth
    case .scale(let factor):
      for axis in [height, width] where shape[axis] >= 0 {
        guard let size = Self.scaled(shape[axis], by: factor) else {
          throw ABNError(
            .attribute, "scale", got: "\(factor) for an input \(inputs[0].shape)",
            wanted: "a scale that leaves at least one row and column")
        }
        shape[axis] = size
      }
    }
    return [TensorType(shape, inputs[0].dtype)]
  }

  package func gradients(_ c: inout GradientContext) throws -> [Variable?] {
    guard let dout = c.outputGradients[0] else { return [nil] }
    return [try c.append(ResizeGradient(of: self), dout, c.inputs[0])]
  }
}

/// dx = dout carried back to the rows and columns that it came from; x is read for its shape only.
package struct ResizeGradient: OperatorKind {
  package static let kindName = "resize_grad"
  package static let formula = "dx = dout carried back by the transposed weights"

  /// The operator whose gradient this is.
  package let forward: Resize

  /// The gradient of `forward`. Inputs: dout, x.
  package init(of forward: Resize) { self.forward = forward }

  package var name: String { "\(forward.name)_grad" }
  package var attributes: [(name: String, value: String)] { forward.attributes }
  package var inputCounts: ClosedRange<Int> { 2...2 }
  package func inferTypes(_ inputs: [TensorType]) throws -> [TensorType] {
    try requireType(inputs[0], forward.outputTypes(for: [inputs[1]])[0], "dout")
    return [inputs[1]]
  }
  /// No value of x is read.
  package var readsTypeOnly: Set<Int> { [1] }
}
