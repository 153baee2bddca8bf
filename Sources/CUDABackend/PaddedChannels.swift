import ABNOperations
import ABNRuntime
import ABNTensors

/// A convolution over images of few channels, as of pictures: images and weights get channels of
/// zeros up to 16 bytes a place, which the library's fast engines want.
struct PaddedChannels {
  private let operands: ConvolutionOperands
  private let padded: Int
  private let channels: Int

  /// nil where nothing is to be gained: in float32, of more channels, in groups, or row-major.
  init?(_ operands: ConvolutionOperands) {
    guard operands.kind.layout == .nchw, operands.order == .channelsLast,
      operands.kind.groups == 1
    else { return nil }
    padded = 16 / operands.dtype.bytes
    channels = operands.w[1]
    guard channels < padded else { return nil }
    self.operands = operands
  }

  /// The same product over more channels.
  func product(_ kind: ConvolutionProduct.Kind, allowsTF32: Bool) throws -> ConvolutionProduct {
    var (x, w) = (operands.x, operands.w)
    (x[1], w[1]) = (padded, padded)
    return try ConvolutionOperands(
      operands.kind, x: TensorType(x, operands.dtype), w: TensorType(w, operands.dtype),
      order: .channelsLast
    ).product(kind, allowsTF32: allowsTF32)
  }

  /// Appends the padding of a row-major variable [N, channels, ...].
  func pad(_ argument: StepArgument, _ shape: Shape, _ c: inout CUDAContext) throws
    -> StepArgument
  {
    let target = c.intermediate(
      "with \(padded) channels",
      bytes: shape[0] * shape[2] * shape[3] * padded * operands.dtype.bytes)
    c.launch(
      [argument, .write(target)], [try kernel("padChannels", shape, c)], detail: "(channels)",
      purpose: .conversion, mayShare: false)
    return .read(target)
  }

  /// Bytes for the padded form of a variable of this shape.
  func buffer(_ shape: Shape, _ c: inout CUDAContext) -> StepArgument {
    .write(
      c.intermediate(
        "with \(padded) channels",
        bytes: shape[0] * shape[2] * shape[3] * padded * operands.dtype.bytes))
  }

  /// Appends the way back.
  func unpad(
    _ argument: StepArgument, _ shape: Shape, to target: StepArgument, _ c: inout CUDAContext
  ) throws {
    c.launch(
      [.read(argument.buffer), target], [try kernel("unpadChannels", shape, c)],
      detail: "(channels)", purpose: .conversion, mayShare: false)
  }

  private func kernel(_ entry: String, _ shape: Shape, _ c: CUDAContext) throws -> KernelLaunch {
    let places = shape[2] * shape[3]
    return try KernelLaunch(
      c.kernel([.convolution], entry, ["-DT=\(operands.dtype.deviceType())"]),
      blocks: max(1, min(1 << 16, (shape[0] * places + 255) / 256)), threads: 256,
      [
        .pointer(0), .pointer(1), .i64(Int64(shape[0])), .i64(Int64(channels)),
        .i64(Int64(places)),
      ])
  }
}
