import ABNOperators
import ABNRuntime
import ABNTensors

/// A convolution over images of few channels, as of pictures, in a form that the library has fast
/// engines for: places of 2 x 2 become one place of four times the channels where the stride is two
/// (space to depth), and channels of zeros fill it up to a multiple of 16 bytes.
///
/// With the stride two, y at i reads x at 2i + a - p for taps a in 0 ..< k. Let q be p rounded up
/// to an even number: then x at row u lies in cell (u + q) / 2, and cell i + A holds, at parity d,
/// tap 2A + d - (q - p). So it is a convolution without stride or padding over as many cells as the
/// outputs reach, with weights that are 0 where there is no such tap.
struct PaddedChannels {
  private let operands: ConvolutionOperands
  /// Channels of the image and of a cell.
  private let channels: Int
  private let padded: Int
  /// Pixels of a cell along an axis: 1 or 2.
  private let block: Int
  /// Rows and columns of cells and of taps, and where the first cell begins.
  private let cells: [Int]
  private let taps: [Int]
  private let before: [Int]
  /// Taps that the first cell has before the first of the kernel's.
  private let shift: [Int]

  /// nil where nothing is to be gained: in exact float32, of more channels, in groups, or
  /// row-major.
  init?(_ operands: ConvolutionOperands) throws {
    let kind = operands.kind
    guard kind.layout == .nchw, operands.order == .channelsLast, kind.groups == 1,
      kind.window.dilation == [1, 1]
    else { return nil }
    self.operands = operands
    channels = operands.w[1]
    let vector = 16 / operands.dtype.bytes
    guard channels < vector else { return nil }
    let sides = try (0..<2).map { try kind.window.sides($0, input: operands.x[2 + $0]) }
    let (kernel, sizes) = ([operands.w[2], operands.w[3]], [operands.x[2], operands.x[3]])
    if kind.window.stride == [2, 2], kernel.allSatisfy({ $0 > 2 }) {
      let start = sides.map { ($0.before + 1) / 2 * 2 }
      let extra = (0..<2).map { start[$0] - sides[$0].before }
      let count = (0..<2).map { (kernel[$0] + extra[$0] + 1) / 2 }
      (block, before, shift, taps) = (2, start, extra, count)
      cells = (0..<2).map { operands.y[2 + $0] + count[$0] - 1 }
    } else {
      block = 1
      (before, shift, taps, cells) = ([0, 0], [0, 0], kernel, sizes)
    }
    padded = (channels * block * block + vector - 1) / vector * vector
  }

  /// The same product over cells.
  func product(_ kind: ConvolutionProduct.Kind, allowsTF32: Bool) throws -> ConvolutionProduct {
    var window = operands.kind.window
    window.kernel = taps
    if block == 2 { (window.stride, window.padding) = ([1, 1], .uniform(0)) }
    let x = Shape([operands.x[0], padded, cells[0], cells[1]])
    let w = Shape([operands.w[0], padded, taps[0], taps[1]])
    return try ConvolutionOperands(
      try Conv2D(window: window), x: TensorType(x, operands.dtype),
      w: TensorType(w, operands.dtype), order: .channelsLast
    ).product(kind, allowsTF32: allowsTF32)
  }

  /// Appends the cells of row-major images.
  func images(_ argument: StepArgument, _ c: inout CUDAContext) throws -> StepArgument {
    try gather(
      argument, operands.x[0], from: [operands.x[2], operands.x[3]], to: cells, shift: before, &c)
  }

  /// Appends the cells of row-major weights.
  func weights(_ argument: StepArgument, _ c: inout CUDAContext) throws -> StepArgument {
    try gather(
      argument, operands.w[0], from: [operands.w[2], operands.w[3]], to: taps, shift: shift, &c)
  }

  /// Bytes for the gradient of the weights in cells.
  func weightGradient(_ c: inout CUDAContext) -> StepArgument {
    .write(c.intermediate("in cells", bytes: bytes(operands.w[0], taps)))
  }

  /// Appends the way back from it.
  func unpack(
    _ argument: StepArgument, to target: StepArgument, _ c: inout CUDAContext
  ) throws {
    let launch = try launch(
      "fromCells", operands.w[0], [operands.w[2], operands.w[3]], taps, shift: shift, c)
    c.launch(
      [.read(argument.buffer), target], [launch], detail: "(cells)", purpose: .conversion,
      mayShare: false)
  }

  private func bytes(_ count: Int, _ sizes: [Int]) -> Int {
    count * sizes[0] * sizes[1] * padded * operands.dtype.bytes
  }

  private func gather(
    _ argument: StepArgument, _ count: Int, from sizes: [Int], to cells: [Int], shift: [Int],
    _ c: inout CUDAContext
  ) throws -> StepArgument {
    let target = c.intermediate("in cells", bytes: bytes(count, cells))
    let launch = try launch("toCells", count, sizes, cells, shift: shift, c)
    c.launch(
      [argument, .write(target)], [launch], detail: "(cells)", purpose: .conversion,
      mayShare: false)
    return .read(target)
  }

  /// struct Cells and the kernel that goes one way or the other.
  private func launch(
    _ entry: String, _ count: Int, _ sizes: [Int], _ cells: [Int], shift: [Int],
    _ c: CUDAContext
  ) throws -> KernelLaunch {
    let isGathered = entry == "toCells"
    let walked = isGathered ? cells : sizes
    let all = count * walked[0] * walked[1] * (isGathered ? 1 : channels)
    var numbers = KernelStruct()
    numbers.append(all)
    for size in [walked[1], walked[0], channels] { numbers.append(Divisor(size)) }
    for pair in [sizes, cells, shift] { numbers.append(pair[0], pair[1]) }
    let defines = [
      "-DT=\(try operands.dtype.deviceType())", "-DBLOCK=\(block)", "-DCHANNELS=\(channels)",
      "-DCHUNKS=\(padded * operands.dtype.bytes / 16)",
    ]
    return try KernelLaunch(
      try c.kernel([.walk, .cells], entry, defines + c.width(all)),
      blocks: max(1, min(1 << 20, (all + 255) / 256)), threads: 256,
      [.pointer(0), .pointer(1), numbers.argument])
  }
}
