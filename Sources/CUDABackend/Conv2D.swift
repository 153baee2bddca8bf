import ABNGraph
import ABNOperators
import ABNRuntime
import ABNTensors

/// A convolution of the program, over images and weights in the order that suits the card.
struct ConvolutionOperands {
  let kind: Conv2D
  let x, w, y: Shape
  let dtype: DType
  /// How the images and the weights stand: the same for all three.
  let order: ImageOrder

  init(_ kind: Conv2D, x: TensorType, w: TensorType, _ c: CUDAContext) throws {
    try self.init(kind, x: x, w: w, order: c.preferredImageOrder(x))
  }

  init(_ kind: Conv2D, x: TensorType, w: TensorType, order: ImageOrder) throws {
    self.kind = kind
    self.x = x.shape
    self.w = w.shape
    dtype = x.dtype
    y = try kind.outputTypes(for: [x, w])[0].shape
    self.order = order
  }

  /// The order in which an image variable is read and written: those of NHWC operators have one.
  var imageOrder: ImageOrder { kind.layout == .nhwc ? .rowMajor : order }
  /// The order of the weights [F, C, height, width]: that of the images.
  var weightOrder: ImageOrder { isChannelsLast ? .channelsLast : .rowMajor }
  private var isChannelsLast: Bool { kind.layout == .nhwc || order == .channelsLast }

  /// N, C, H, W of an image variable, and the strides of its elements in memory.
  private func image(_ shape: Shape) -> (sizes: [Int], strides: [Int]) {
    let axis = kind.layout.channelAxis(rank: 4)
    let spatial = kind.spatialAxes
    return strided([shape[0], shape[axis], shape[spatial[0]], shape[spatial[1]]])
  }

  /// The strides of [N, C, H, W] in the order of this convolution.
  private func strided(_ sizes: [Int]) -> (sizes: [Int], strides: [Int]) {
    let (c, h, w) = (sizes[1], sizes[2], sizes[3])
    return (sizes, isChannelsLast ? [c * h * w, 1, w * c, c] : [c * h * w, h * w, w, 1])
  }

  func product(_ which: ConvolutionProduct.Kind, allowsTF32: Bool) throws -> ConvolutionProduct {
    let (x, w, y) = (image(x), strided(w.dimensions), image(y))
    let sides = try (0..<2).map { try kind.window.sides($0, input: x.sizes[2 + $0]) }
    return ConvolutionProduct(
      kind: which, dtype: dtype, allowsTF32: allowsTF32, x: x.sizes, w: w.sizes, y: y.sizes,
      xStrides: x.strides, wStrides: w.strides, yStrides: y.strides, stride: kind.window.stride,
      dilation: kind.window.dilation, before: sides.map(\.before), after: sides.map(\.after))
  }

  /// Channels of y, places of one channel that stand beside one another, and how often they come.
  var bias: (outer: Int, channels: Int, inner: Int) {
    let sizes = image(y).sizes
    let places = sizes[2] * sizes[3]
    return isChannelsLast ? (sizes[0] * places, sizes[1], 1) : (sizes[0], sizes[1], places)
  }
}

extension ConvolutionProduct {
  /// Two for a multiply-add.
  var flops: Int { [2, y[0], y[1], y[2], y[3], w[1], w[2], w[3]].reduce(1, *) }

  /// The kernel that computes it as the formula says.
  ///
  /// - Parameter tensors: x, w and y.
  func direct(_ device: CUDADevice, _ tensors: [KernelArgument]) throws -> KernelLaunch {
    let (entry, outputs) =
      switch kind {
      case .forward: ("directForward", y)
      case .dataGradient: ("directDataGradient", x)
      case .weightGradient: ("directWeightGradient", w)
      }
    let numbers =
      [x, w, y, xStrides, wStrides, yStrides, stride, dilation, before].flatMap { $0 }
      + [x[1] / w[1]]
    let bytes = numbers.map(Int64.init).withUnsafeBytes { Array($0) }
    return try KernelLaunch(
      device.kernel(
        KernelSource([.convolution], entry: entry, defines: ["-DT=\(dtype.deviceType())"])),
      blocks: max(1, min(1 << 20, (outputs.reduce(1, *) + 255) / 256)), threads: 256,
      tensors + [.bytes(bytes)])
  }
}

extension CUDAContext {
  /// Appends one product of a convolution over x, w and y, by the library where it has an engine
  /// that computes what is asked for.
  mutating func convolve(
    _ product: ConvolutionProduct, _ arguments: [StepArgument], mayShare: Bool = true
  ) throws {
    let isEmpty = (product.x + product.w + product.y).contains(0)
    let plan =
      isEmpty ? nil : try ConvolutionRun(product, device)
    guard let plan else {
      launch(
        arguments, [try product.direct(device, [.pointer(0), .pointer(1), .pointer(2)])],
        flops: product.flops, mayShare: mayShare,
        note: "no engine of cuDNN computes it in \(product.dtype): by the formula, slowly")
      return
    }
    var all = arguments
    if plan.workspaceBytes > 0 { all.append(scratch(bytes: plan.workspaceBytes)) }
    let hasWorkspace = plan.workspaceBytes > 0
    step(all, flops: product.flops, mayShare: mayShare) { device, p in
      try plan.run(
        x: p[0], w: p[1], y: p[2], workspace: hasWorkspace ? p[3] : nil, on: device.stream)
    }
  }

  /// Whether float32 products may round their inputs.
  var allowsTF32: Bool { precision != .float32 }
}

extension Conv2D {
  /// Appends y = f(conv2d(x, w) + bias + residual), f being leaky_relu or, with a slope of 1, the
  /// identity.
  fileprivate func lower(_ c: inout CUDAContext, residual: Int?, slope: Double) throws {
    let o = try ConvolutionOperands(self, x: c.inputType(0), w: c.inputType(1), c)
    let y = c.write(0, in: o.imageOrder)
    if let padded = try PaddedChannels(o) {
      let x = try padded.images(c.read(0), &c)
      let w = try padded.weights(c.read(1), &c)
      try c.convolve(
        padded.product(.forward, allowsTF32: c.allowsTF32), [x, w, y], mayShare: false)
    } else {
      try c.convolve(
        o.product(.forward, allowsTF32: c.allowsTF32),
        [c.read(0, in: o.imageOrder), c.read(1, in: o.weightOrder), y], mayShare: false)
    }
    guard c.inputCount > 2 else { return }
    let (outer, channels, inner) = o.bias
    let all = outer * channels * inner
    let launch = try KernelLaunch(
      c.kernel([.convolution], "finishConvolution", ["-DT=\(o.dtype.deviceType())"]),
      blocks: max(1, min(1 << 16, (all + 255) / 256)), threads: 256,
      [
        .pointer(0), .pointer(1), residual == nil ? .null : .pointer(2), .i64(Int64(all)),
        .i64(Int64(channels)), .i64(Int64(inner)), .f64(slope),
      ])
    let added = try residual.map { [try c.read($0, in: o.imageOrder)] } ?? []
    c.launch(
      [.update(y.buffer), try c.read(2)] + added, [launch], detail: "(bias)", mayShare: false)
  }
}

extension Conv2D: CUDALowerable {
  var walk: ImageWalk { .anyOrder }

  func lower(_ c: inout CUDAContext) throws { try lower(&c, residual: nil, slope: 1) }
}

extension Conv2DFusion: CUDALowerable {
  var walk: ImageWalk { .anyOrder }

  func lower(_ c: inout CUDAContext) throws {
    try convolution.lower(&c, residual: hasResidual ? 3 : nil, slope: slope ?? 1)
  }
}

extension Conv2DDataGradient: CUDALowerable {
  var walk: ImageWalk { .anyOrder }

  func lower(_ c: inout CUDAContext) throws {
    let o = try ConvolutionOperands(forward, x: c.outputType(0), w: c.inputType(0), c)
    let product = try o.product(.dataGradient, allowsTF32: c.allowsTF32)
    let x = c.write(0, in: o.imageOrder)
    try c.convolve(
      product, [x, c.read(0, in: o.weightOrder), c.read(1, in: o.imageOrder)], mayShare: false)
  }
}

extension Conv2DWeightGradient: CUDALowerable {
  var walk: ImageWalk { .anyOrder }

  func lower(_ c: inout CUDAContext) throws {
    let o = try ConvolutionOperands(forward, x: c.inputType(0), w: c.outputType(0), c)
    let dy = try c.read(1, in: o.imageOrder)
    if let padded = try PaddedChannels(o) {
      let x = try padded.images(c.read(0), &c)
      let dw = padded.weightGradient(&c)
      try c.convolve(
        padded.product(.weightGradient, allowsTF32: c.allowsTF32), [x, dw, dy], mayShare: false)
      try padded.unpack(dw, to: c.write(0), &c)
    } else {
      try c.convolve(
        o.product(.weightGradient, allowsTF32: c.allowsTF32),
        [c.read(0, in: o.imageOrder), c.write(0, in: o.weightOrder), dy], mayShare: false)
    }
    if hasBias { try biasGradient(&c, o, dy) }
  }

  private func biasGradient(
    _ c: inout CUDAContext, _ o: ConvolutionOperands, _ dy: StepArgument
  ) throws {
    let (outer, channels, inner) = o.bias
    let parts = max(1, min(256, outer * inner / 256))
    let defines = ["-DT=\(try o.dtype.deviceType())"]
    let partial = c.scratch(bytes: parts * channels * o.dtype.accumulation.bytes)
    func number(_ value: Int) -> KernelArgument { .i64(Int64(value)) }
    let first =
      inner == 1
      ? try KernelLaunch(
        c.kernel([.convolution], "biasPartialRows", defines),
        blocks: max(1, min(1 << 16, (channels * parts + 255) / 256)), threads: 256,
        [.pointer(0), .pointer(1), number(outer), number(channels), number(parts)])
      : try KernelLaunch(
        c.kernel([.convolution], "biasPartial", defines),
        blocks: max(1, min(1 << 16, channels * parts)), threads: 256,
        [
          .pointer(0), .pointer(1), number(outer), number(channels), number(inner), number(parts),
        ])
    let second = try KernelLaunch(
      c.kernel([.convolution], "biasGradient", defines),
      blocks: max(1, min(1 << 16, (channels + 255) / 256)), threads: 256,
      [.pointer(1), .pointer(2), number(channels), number(parts)])
    c.launch([dy, partial, c.write(1)], [first, second], detail: "(bias)", mayShare: false)
  }
}
