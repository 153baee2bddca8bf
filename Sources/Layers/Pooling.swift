import ABNGraph
import ABNOperators
import ABNTensors

/// Max or average pooling. See `Pool2D`.
///
/// - Parameters:
///   - input: [N, C, H, W], or [N, H, W, C] for `.nhwc`.
///   - poolSize: the window; ignored when `globalPooling`.
///   - poolType: `.max` or `.average`.
///   - poolStride: steps between windows.
///   - poolPadding: around the image; less than the window.
///   - globalPooling: one window over the whole image.
///   - ceilMode: whether a last, partial window counts.
///   - exclusive: whether the average leaves padding out.
public func pool2d(
  _ input: Variable, poolSize: some Pair = 1, poolType: PoolType = .max, poolStride: some Pair = 1,
  poolPadding: some PaddingConvertible = 0, globalPooling: Bool = false, ceilMode: Bool = false,
  exclusive: Bool = true, name: String? = nil, dataLayout: DataLayout = .nchw,
  file: StaticString = #fileID, line: UInt = #line
) throws -> Variable {
  try layer("pool2d", name: name, file: file, line: line) { c in
    let extent: Pool2D.Extent =
      globalPooling
      ? .global
      : .window(
        Window2D(
          kernel: poolSize.heightAndWidth, stride: poolStride.heightAndWidth,
          padding: poolPadding.asPadding,
          ceilMode: ceilMode))
    return try c.append(
      Pool2D(poolType, extent, exclusive: exclusive, layout: dataLayout), [input])[0]
  }
}

/// Pooling to a fixed output size: output pixel i of H' covers rows
/// floor(i H / H') ..< ceil((i + 1) H / H').
public func adaptivePool2d(
  _ input: Variable, poolSize: some Pair, poolType: PoolType = .max, name: String? = nil,
  dataLayout: DataLayout = .nchw, file: StaticString = #fileID, line: UInt = #line
) throws -> Variable {
  try layer("adaptive_pool2d", name: name, file: file, line: line) { c in
    try c.append(Pool2D(poolType, .adaptive(poolSize.heightAndWidth), layout: dataLayout), [input])[
      0]
  }
}
