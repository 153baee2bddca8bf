import ABNGraph
import ABNOperators
import ABNRuntime
import ABNTensors

/// A pooling of an image, as the kernels of pool.cu and pool_gradient.cu see it.
private struct PoolGeometry {
  let kind: Pool2D
  let x: TensorType
  let y: Shape
  let order: ImageOrder
  private let isChannelsLast: Bool
  private let channels: Int

  init(_ kind: Pool2D, _ x: TensorType, _ y: Shape, in order: ImageOrder) {
    (self.kind, self.x, self.y, self.order) = (kind, x, y, order)
    channels = x.shape[kind.layout.channelAxis(rank: 4)]
    isChannelsLast = order == .channelsLast || kind.layout == .nhwc
  }

  private func size(_ shape: Shape, _ axis: Int) -> Int { shape[kind.spatialAxes[axis]] }

  /// The average of whole images: a sum over the axes of space.
  var isWholeAverage: Bool {
    get throws {
      guard kind.function == .average else { return false }
      return try (0..<2).allSatisfy {
        let windows = try kind.windows($0, input: size(x.shape, $0))
        return windows.count == 1 && windows[0] == (0, size(x.shape, $0))
      }
    }
  }

  /// Elements of a word: those of neighbouring channels, as far as a chunk has room.
  var lanes: Int {
    let most = 16 / x.dtype.bytes
    return isChannelsLast && channels % most == 0 ? most : 1
  }

  /// Neighbours of a line of dx that one thread makes; nil where the lines do not consist of
  /// chunks.
  var lineLanes: Int? {
    let most = 16 / x.dtype.bytes
    return !isChannelsLast && size(x.shape, 1) % most == 0 ? most : nil
  }

  private struct Axis {
    let input, output, before, kernel, stride: Int
  }

  private func axis(_ index: Int) throws -> Axis {
    let (input, output) = (size(x.shape, index), size(y, index))
    switch kind.extent {
    case .global: return Axis(input: input, output: output, before: 0, kernel: input, stride: 1)
    case .adaptive:
      return Axis(input: input, output: output, before: 0, kernel: 0, stride: 1)
    case .window(let window):
      return Axis(
        input: input, output: output, before: try window.sides(index, input: input).before,
        kernel: window.kernel[index], stride: window.stride[index])
    }
  }

  /// Whether windows are so small that a thread holds all of one, or all over the words that it
  /// makes of dx.
  private func isSmall(_ axes: [Axis]) -> Bool {
    axes.allSatisfy { (1...3).contains($0.kernel) && (1...2).contains($0.stride) }
  }

  /// A launch that makes an image of the shape `target`, with words of `along` neighbours of a
  /// line.
  func launch(
    _ c: CUDAContext, _ file: KernelFile, _ entry: String, making target: Shape, along: Int = 1,
    winners: DType? = nil, _ pointers: [KernelArgument]
  ) throws -> KernelLaunch {
    let axes = [try axis(0), try axis(1)]
    // Places that a thread makes.
    var block = [1, along]
    let isNarrow =
      max(x.shape.elementCount, y.elementCount) < 1 << 31
      && axes.allSatisfy {
        $0.kernel == 0
          ? ($0.input + 1) * ($0.output + 1) < 1 << 31
          : $0.input + $0.before + $0.kernel < 1 << 30 && $0.stride < 1 << 30
      }
    var defines = ["-DT=\(try c.elementName(x.dtype))", "-DLANES=\(lanes)"]
    if let winners { defines += ["-DMAX", "-DW=\(winners == .uint8 ? "u8" : "i32")"] }
    if along > 1 { defines.append("-DALONG") }
    if winners != nil, along == 1, isSmall(axes) {
      for (name, axis) in zip(["ROWS", "COLUMNS"], axes) {
        defines.append("-DK\(name)=\(axis.kernel)")
        guard file == .poolGradient else { continue }
        defines += ["-DS\(name)=\(axis.stride)", "-DB\(name)=\(axis.before)"]
      }
      if file == .poolGradient { block = axes.map(\.stride) }
    }
    let places = (0..<2).map { (size(target, $0) + block[$0] - 1) / block[$0] }
    let kernel = try c.kernel(
      [.walk, .poolWindows, file], entry, defines + (isNarrow ? [] : ["-DWIDE"]))
    let count =
      target.elementCount / (size(target, 0) * size(target, 1)) / lanes * places[0] * places[1]
    var pool = KernelStruct()
    pool.append(count)
    pool.append(Divisor(isChannelsLast ? channels / lanes : 1))
    pool.append(Divisor(places[1]))
    pool.append(Divisor(places[0]))
    for axis in axes {
      pool.append(axis.input, axis.output, axis.before, axis.kernel)
      pool.append(Divisor(axis.stride))
    }
    pool.append(kind.exclusive ? 1 : 0)
    return try KernelLaunch(
      kernel, blocks: KernelLaunch.blocks(count), threads: 256, pointers + [pool.argument])
  }
}

extension Pool2D: CUDALowerable {
  var walk: ImageWalk { .channels(layout) }

  func lower(_ c: inout CUDAContext) throws {
    let (x, y, order) = (c.inputType(0), c.outputType(0).shape, c.order(ofInput: 0))
    let geometry = PoolGeometry(self, x, y, in: order)
    if try geometry.isWholeAverage {
      let sum = try Summation(
        x.shape, strides: order.strides(x.shape), over: Set(spatialAxes), x.dtype)
      let count = spatialAxes.reduce(1) { $0 * x.shape[$1] }
      // One place a channel: every order has the same bytes.
      try sum.append(
        to: &c, from: c.read(0, in: order), to: c.write(0), factor: 1 / Double(count))
      return
    }
    var arguments = [try c.read(0, in: order), c.write(0, in: order)]
    if function == .max { arguments.append(c.write(1, in: order)) }
    c.launch(
      arguments,
      [
        try geometry.launch(
          c, .pool, function == .max ? "poolMax" : "poolAverage", making: y,
          winners: function == .max ? c.outputType(1).dtype : nil,
          arguments.indices.map { .pointer($0) })
      ])
  }
}

extension Pool2DGradient: CUDALowerable {
  var walk: ImageWalk { .channels(forward.layout) }

  func lower(_ c: inout CUDAContext) throws {
    // dx stands as x does: the next reader is the gradient of what made x.
    let (dy, dx, order) = (c.inputType(0).shape, c.outputType(0), c.order(ofInput: 1))
    let geometry = PoolGeometry(forward, dx, dy, in: order)
    if try geometry.isWholeAverage {
      let arguments = [try c.read(0), c.write(0, in: order)]
      let axes = forward.spatialAxes
      let count = axes.reduce(1) { $0 * dx.shape[$1] }
      let strides = (0..<4).map { axes.contains($0) ? 0 : dy.strides[$0] }
      c.launch(
        arguments,
        [try spread(c, dx, strides: strides, in: order, factor: 1 / Double(count))])
      return
    }
    guard forward.function == .max else {
      let arguments = [try c.read(0, in: order), c.write(0, in: order)]
      c.launch(
        arguments,
        [
          try geometry.launch(
            c, .poolGradient, "poolAverageGradient", making: dx.shape, [.pointer(0), .pointer(1)])
        ])
      return
    }
    let maker = c.maker(ofInput: 2)
    guard (maker?.kind as? Pool2D)?.extent == forward.extent,
      maker.map({ c.program[$0.inputs[0]].shape == dx.shape }) ?? false
    else {
      throw ABNError(
        .program, "winners", got: "another variable", wanted: "what the pooling made",
        fix: "Have differentiation append the operator.")
    }
    let arguments = [
      try c.read(0, in: order), c.write(0, in: order), try c.read(2, in: order),
    ]
    c.launch(
      arguments,
      [
        try geometry.launch(
          c, .poolGradient, "poolMaxGradient", making: dx.shape, along: geometry.lineLanes ?? 1,
          winners: c.inputType(2).dtype, arguments.indices.map { .pointer($0) })
      ])
  }
}
