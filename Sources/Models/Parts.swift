import ABNActivations
import ABNGraph
import ABNLayers
import ABNOperators
import ABNTensors

/// A convolution beside a normalization: no bias, and zeros around the image so that stride 1 keeps
/// its size.
///
/// Weights after He et al. (2015): normal with variance 2 / (C / groups * size^2). Padding
/// dilation * (size - 1) / 2 at each side, as PyTorch's models pad (`.same` would put the odd pixel
/// of stride 2 at the end), so that weights mean the same there.
///
/// - Parameter size: of the window, odd.
func conv(
  _ x: Variable, _ filters: Int, _ size: Int, stride: Int = 1, dilation: Int = 1, groups: Int = 1,
  file: StaticString = #fileID, line: UInt = #line
) throws -> Variable {
  try conv2d(
    x, numFilters: filters, filterSize: size, stride: stride,
    padding: dilation * (size - 1) / 2, dilation: dilation, groups: groups,
    paramAttr: ParamAttr(initializer: .msra(uniform: false)), biasAttr: .absent,
    file: file, line: line)
}

extension ModelOptions {
  /// Convolution, normalization and activation; `act` nil: the activation of the options.
  func convNorm(
    _ x: Variable, _ filters: Int, _ size: Int, stride: Int = 1, dilation: Int = 1,
    groups: Int = 1, act: Activation? = nil, file: StaticString = #fileID, line: UInt = #line
  ) throws -> Variable {
    try normalized(
      conv(
        x, filters, size, stride: stride, dilation: dilation, groups: groups, file: file,
        line: line),
      act: act, file: file, line: line)
  }

  /// The activation where no normalization stands before it: after the sum of a residual block.
  func activated(
    _ x: Variable, file: StaticString = #fileID, line: UInt = #line
  ) throws -> Variable {
    activation == .prelu
      ? try prelu(x, file: file, line: line)
      : try ABNLayers.activation(x, activation, file: file, line: line)
  }

  /// The mean over the image, then a fully connected layer: logits [N, classes].
  func classified(
    _ x: Variable, file: StaticString = #fileID, line: UInt = #line
  ) throws -> Variable {
    let mean = try pool2d(x, poolType: .average, globalPooling: true, file: file, line: line)
    return try fc(mean, size: classes, file: file, line: line)
  }
}

/// Blocks of pixels from groups of channels: [N, C b^2, H, W] to [N, C, H b, W b].
func depthToSpace(_ x: Variable, _ b: Int) throws -> Variable {
  let (c, h, w) = (x.shape[1] / (b * b), x.shape[2], x.shape[3])
  let blocks = try transpose(reshape(x, [0, c, b, b, h, w]), [0, 1, 4, 2, 5, 3])
  return try reshape(blocks, [0, c, h * b, w * b])
}

/// Groups of channels from blocks of pixels: [N, C, H, W] to [N, b^2 C, H / b, W / b].
func spaceToDepth(_ x: Variable, _ b: Int) throws -> Variable {
  let (c, h, w) = (x.shape[1], x.shape[2] / b, x.shape[3] / b)
  let blocks = try transpose(reshape(x, [0, c, h, b, w, b]), [0, 3, 5, 1, 2, 4])
  return try reshape(blocks, [0, b * b * c, h, w])
}
