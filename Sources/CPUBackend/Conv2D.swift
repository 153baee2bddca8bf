import ABNOperators
import ABNRuntime
import ABNTensors

/// The sizes of a convolution in oneDNN's order, whatever the variables' layout.
struct ConvolutionShape: Sendable, Hashable {
  let batch, channels, height, width: Int
  let filters, kernelHeight, kernelWidth: Int
  let outHeight, outWidth: Int
  let groups: Int
  let layout: DataLayout
  let window: DNNLConvolution

  init(_ kind: Conv2D, x: Shape, w: Shape) throws {
    let spatial = kind.spatialAxes
    (batch, channels) = (x[0], x[kind.layout.channelAxis(rank: 4)])
    (height, width) = (x[spatial[0]], x[spatial[1]])
    (filters, kernelHeight, kernelWidth) = (w[0], w[2], w[3])
    outHeight = try kind.window.outputSize(0, input: height)
    outWidth = try kind.window.outputSize(1, input: width)
    groups = kind.groups
    layout = kind.layout
    let sides = try [height, width].enumerated().map {
      try kind.window.sides($0.offset, input: $0.element)
    }
    window = DNNLConvolution(
      strides: kind.window.stride, dilations: kind.window.dilation,
      paddingBefore: sides.map(\.before), paddingAfter: sides.map(\.after))
  }

  var source: [Int] { [batch, channels, height, width] }
  var destination: [Int] { [batch, filters, outHeight, outWidth] }
  var weights: [Int] {
    groups == 1
      ? [filters, channels, kernelHeight, kernelWidth]
      : [groups, filters / groups, channels / groups, kernelHeight, kernelWidth]
  }

  /// Floating-point operators of each of the three products.
  var flops: Int {
    saturatingProduct(
      2, batch, filters, outHeight, outWidth, channels / groups, kernelHeight, kernelWidth)
  }

  /// The formats in which an image variable may stand, the freest first: NCHW variables leave it to
  /// oneDNN where they may stand in blocks.
  private func freeFormats(usesBlocks: Bool) -> [DNNLFormat] {
    layout == .nhwc ? [.channelsLast] : usesBlocks ? [.any, .plain] : [.plain]
  }

  /// Makes a primitive with the freest formats whose images can be walked by everything else.
  ///
  /// - Parameters:
  ///   - usesBlocks: whether images may stand in blocks of channels.
  ///   - make: gets descriptors of x (or its gradient), weights, y (or its gradient).
  /// - Returns: the primitive, and the layouts of x and y.
  func primitive(
    _ dtype: DType, usesBlocks: Bool,
    _ make: (DNNLDescriptor, DNNLDescriptor, DNNLDescriptor) throws -> DNNLPrimitive,
    x xRole: DNNLPrimitive.Argument, y yRole: DNNLPrimitive.Argument
  ) throws -> (primitive: DNNLPrimitive, x: PhysicalLayout, y: PhysicalLayout) {
    let formats = freeFormats(usesBlocks: usesBlocks)
    for (xFormat, yFormat) in formats.flatMap({ x in formats.map { (x, $0) } }) {
      let made = try make(
        DNNLDescriptor(source, dtype, xFormat), DNNLDescriptor(weights, dtype, .any),
        DNNLDescriptor(destination, dtype, yFormat))
      if layout == .nhwc { return (made, .plain, .plain) }
      guard let x = made.descriptor(xRole).flatMap({ PhysicalLayout($0) }),
        let y = made.descriptor(yRole).flatMap({ PhysicalLayout($0) })
      else { continue }
      return (made, x, y)
    }
    preconditionFailure("a convolution in explicit formats has those formats")
  }
}

extension LoweringContext {
  /// The primitive of this operator, which is a convolution in float32.
  mutating func convolution() throws -> ConvolutionPrimitives.Made {
    guard let product = try ConvolutionProduct(op, in: program) else {
      preconditionFailure("\(op.kindName) is no convolution")
    }
    return try convolutions[product]
  }

  /// A weight in the layout that a primitive asks for, by a reorder step where it is another.
  mutating func reorderedWeight(
    _ input: Int, dims: [Int], to wanted: DNNLDescriptor
  ) throws -> StepArgument {
    let plain = try DNNLDescriptor(dims, inputType(input).dtype, .plain)
    let own = try read(input)
    if plain == wanted { return own }
    let buffer = intermediate("weight", bytes: wanted.byteCount)
    step(
      [own, .write(buffer)], detail: "(weight reorder)", purpose: .conversion,
      run: dnnlRun(try .reorder(from: plain, to: wanted), slots: [0, 1, nil]))
    return .read(buffer)
  }

  /// Appends a primitive's scratchpad to a step's arguments, if it has one; gives its slot.
  mutating func addScratchpad(
    of primitive: DNNLPrimitive, to arguments: inout [StepArgument]
  ) -> Int? {
    guard primitive.scratchpadBytes > 0 else { return nil }
    arguments.append(scratch(bytes: primitive.scratchpadBytes))
    return arguments.count - 1
  }
}

extension Conv2D: CPULowerable {
  var walk: ImageWalk { .primitive }

  func lower(_ c: inout LoweringContext) throws {
    let dtype = c.inputType(0).dtype
    let shape = try ConvolutionShape(self, x: c.inputType(0).shape, w: c.inputType(1).shape)
    let hasBias = c.inputCount > 2
    guard dtype == .float32 else {
      let reference = ReferenceConvolution(shape)
      var arguments = [try c.read(0), try c.read(1), c.write(0)]
      if hasBias { arguments.append(try c.read(2)) }
      c.step(
        arguments, flops: shape.flops,
        run: reference.forward(hasBias))
      return
    }
    let made = try c.convolution()
    let (primitive, x, y) = (made.primitive, made.x, made.y)
    let weight = try c.reorderedWeight(
      1, dims: shape.weights, to: primitive.descriptor(.weights)!)
    var arguments = [try c.read(0, in: x), weight, c.write(0, in: y)]
    if hasBias { arguments.append(try c.read(2)) }
    let scratch = c.addScratchpad(of: primitive, to: &arguments)
    c.step(
      arguments, flops: shape.flops, note: made.note,
      run: dnnlRun(primitive, slots: [0, 1, hasBias ? 3 : nil, 2, scratch]))
  }
}

extension Conv2DDataGradient: CPULowerable {
  var walk: ImageWalk { .primitive }

  func lower(_ c: inout LoweringContext) throws {
    let dtype = c.outputType(0).dtype
    let shape = try ConvolutionShape(
      forward, x: c.outputType(0).shape, w: c.inputType(0).shape)
    guard dtype == .float32 else {
      let reference = ReferenceConvolution(shape)
      let arguments = [try c.read(0), try c.read(1), c.write(0)]
      c.step(
        arguments, flops: shape.flops,
        run: reference.backwardData())
      return
    }
    let made = try c.convolution()
    let (primitive, x, y) = (made.primitive, made.x, made.y)
    let weight = try c.reorderedWeight(
      0, dims: shape.weights, to: primitive.descriptor(.weights)!)
    var arguments = [try c.read(1, in: y), weight, c.write(0, in: x)]
    let scratch = c.addScratchpad(of: primitive, to: &arguments)
    c.step(
      arguments, flops: shape.flops, note: made.note,
      run: dnnlRun(primitive, slots: [0, 1, 2, scratch]))
  }
}

extension Conv2DWeightGradient: CPULowerable {
  var walk: ImageWalk { .primitive }

  func lower(_ c: inout LoweringContext) throws {
    let dtype = c.outputType(0).dtype
    let shape = try ConvolutionShape(
      forward, x: c.inputType(0).shape, w: c.outputType(0).shape)
    guard dtype == .float32 else {
      let reference = ReferenceConvolution(shape)
      var arguments = [try c.read(0), try c.read(1), c.write(0)]
      if hasBias { arguments.append(c.write(1)) }
      c.step(
        arguments, flops: shape.flops,
        run: reference.backwardWeight(hasBias))
      return
    }
    let made = try c.convolution()
    let (primitive, x, y) = (made.primitive, made.x, made.y)
    let plain = try DNNLDescriptor(shape.weights, dtype, .plain)
    let own = primitive.descriptor(.diffWeights)!
    let isPlain = own == plain
    let direct =
      isPlain ? c.write(0) : .write(c.intermediate("weight gradient", bytes: own.byteCount))
    var arguments = [try c.read(0, in: x), try c.read(1, in: y), direct]
    if hasBias { arguments.append(c.write(1)) }
    let scratch = c.addScratchpad(of: primitive, to: &arguments)
    c.step(
      arguments, flops: shape.flops, note: made.note,
      run: dnnlRun(primitive, slots: [0, 1, 2, hasBias ? 3 : nil, scratch]))
    if !isPlain {
      c.step(
        [.read(direct.buffer), c.write(0)], detail: "(weight reorder)", purpose: .conversion,
        run: dnnlRun(try .reorder(from: own, to: plain), slots: [0, 1, nil]))
    }
  }
}
