import ABNGraph
import ABNOperators
import ABNRuntime
import ABNTensors

/// The kernels of resize.cu: one fills tables of what each place of the output is made of, the next
/// walks the image by them.
private struct ResizeGeometry {
  let kind: Resize
  let x: TensorType
  let out: Shape
  let order: ImageOrder

  private func sizes(_ shape: Shape) -> (height: Int, width: Int) {
    (shape[kind.spatialAxes.height], shape[kind.spatialAxes.width])
  }

  private func axis(from: Int, to: Int) -> KernelArgument {
    var axis = KernelStruct()
    axis.append(from, to)
    for flag in [kind.method == .nearest, kind.alignCorners, kind.alignMode == 0, false] {
      axis.append(UInt32(flag ? 1 : 0))
    }
    return axis.argument
  }

  /// Appends a step: argument 1, the output or the gradient of the input, of argument 0.
  func append(
    to c: inout CUDAContext, from: StepArgument, to: StepArgument, isGradient: Bool
  ) throws {
    let (small, large) = (sizes(x.shape), sizes(out))
    let places = 16 * (large.height + large.width)
    let ranges = isGradient ? 8 * (small.height + small.width) : 0
    let scratch = c.scratch(bytes: places + ranges)
    let tables: [KernelArgument] = [
      .pointer(2), isGradient ? .offset(2, bytes: places) : .null,
    ]
    let element = "-DT=\(try c.elementName(x.dtype))"
    let fill = try KernelLaunch(
      c.kernel([.walk, .resize], "resizeTables", ["-DTABLES"]),
      blocks: KernelLaunch.blocks(max(large.height + large.width, small.height + small.width)),
      threads: 256,
      tables + [
        axis(from: small.height, to: large.height), axis(from: small.width, to: large.width),
      ])

    let channels = x.shape[kind.layout.channelAxis(rank: 4)]
    let isChannelsLast = order == .channelsLast || kind.layout == .nhwc
    let most = 16 / x.dtype.bytes
    let lanes = isChannelsLast && channels % most == 0 ? most : 1
    let (made, other) = isGradient ? (small, large) : (large, small)
    let count = (isGradient ? x.shape : out).elementCount / lanes
    var resize = KernelStruct()
    resize.append(count)
    resize.append(Divisor(isChannelsLast ? channels / lanes : 1))
    resize.append(Divisor(made.width))
    resize.append(Divisor(made.height))
    resize.append(other.height, other.width)
    let walk = try KernelLaunch(
      c.kernel(
        [.walk, .resize], "resize",
        [element, "-DLANES=\(lanes)"] + (isGradient ? ["-DGRADIENT"] : []) + c.width(count)),
      blocks: KernelLaunch.blocks(count), threads: 256,
      [.pointer(0), .pointer(1)] + tables + [resize.argument])
    c.launch([from, to, scratch], [fill, walk])
  }
}

extension Resize: CUDALowerable {
  var walk: ImageWalk { .channels(layout) }

  func lower(_ c: inout CUDAContext) throws {
    let order = c.order(ofInput: 0)
    let geometry = ResizeGeometry(
      kind: self, x: c.inputType(0), out: c.outputType(0).shape, order: order)
    try geometry.append(
      to: &c, from: c.read(0, in: order), to: c.write(0, in: order), isGradient: false)
  }
}

extension ResizeGradient: CUDALowerable {
  var walk: ImageWalk { .channels(forward.layout) }

  func lower(_ c: inout CUDAContext) throws {
    let order = c.order(ofInput: 1)
    let geometry = ResizeGeometry(
      kind: forward, x: c.outputType(0), out: c.inputType(0).shape, order: order)
    try geometry.append(
      to: &c, from: c.read(0, in: order), to: c.write(0, in: order), isGradient: true)
  }
}
