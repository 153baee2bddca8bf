import ABNGraph
import ABNOperators
import ABNTensors

/// An image at another size, each pixel from the four nearest.
///
/// Shapes: [N, C, H, W] (NCHW) or [N, H, W, C] (NHWC). See `Resize` for the formulas.
///
/// - Parameters:
///   - outShape: [height, width]; takes precedence over `scale`.
///   - scale: multiplies height and width: floor(size * scale), computed in float32 as in Paddle
///     (`Resize.scaled(_:by:)`): 100 by 0.29 is 29.
///   - alignMode: 0 or 1; matters where corners are not aligned.
/// - Throws: `ABNError(.attribute)` where neither size is given or one is below 1.
public func resizeBilinear(
  _ x: Variable, outShape: [Int]? = nil, scale: Double? = nil, alignCorners: Bool = true,
  alignMode: Int = 1, dataLayout: DataLayout = .nchw, name: String? = nil,
  file: StaticString = #fileID, line: UInt = #line
) throws -> Variable {
  try layer("resize_bilinear", name: name, file: file, line: line) { c in
    let kind = try Resize(
      .bilinear, to: resizedSize(outShape, scale), alignCorners: alignCorners,
      alignMode: alignMode, layout: dataLayout)
    return try c.append(kind, x)
  }
}

/// An image at another size, each pixel from the nearest. See `resizeBilinear`.
public func resizeNearest(
  _ x: Variable, outShape: [Int]? = nil, scale: Double? = nil, alignCorners: Bool = true,
  dataLayout: DataLayout = .nchw, name: String? = nil, file: StaticString = #fileID,
  line: UInt = #line
) throws -> Variable {
  try layer("resize_nearest", name: name, file: file, line: line) { c in
    let kind = try Resize(
      .nearest, to: resizedSize(outShape, scale), alignCorners: alignCorners, layout: dataLayout)
    return try c.append(kind, x)
  }
}

private func resizedSize(_ outShape: [Int]?, _ scale: Double?) throws -> Resize.Size {
  if let outShape {
    guard outShape.count == 2 else {
      throw ABNError(
        .attribute, "output shape", got: "\(outShape)", wanted: "[height, width]")
    }
    return .shape(height: outShape[0], width: outShape[1])
  }
  guard let scale else {
    throw ABNError(
      .attribute, "size", got: "neither an output shape nor a scale", wanted: "one of them")
  }
  return .scale(scale)
}
