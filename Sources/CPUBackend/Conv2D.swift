import ABNDNNL
import ABNOperators
import ABNRuntime
import ABNTensors

extension ConvolutionShape {
  /// The sizes of a convolution of x with a weight.
  init(_ kind: Conv2D, x: Shape, w: Shape) throws {
    let spatial = kind.spatialAxes
    let image = (height: x[spatial[0]], width: x[spatial[1]])
    let sides = try [image.height, image.width].enumerated().map {
      try kind.window.sides($0.offset, input: $0.element)
    }
    self.init(
      batch: x[0], channels: x[kind.layout.channelAxis(rank: 4)], image: image, filters: w[0],
      kernel: (w[2], w[3]),
      output: (
        try kind.window.outputSize(0, input: image.height),
        try kind.window.outputSize(1, input: image.width)
      ), groups: kind.groups, layout: kind.layout,
      window: DNNLConvolution(
        strides: kind.window.stride, dilations: kind.window.dilation,
        paddingBefore: sides.map(\.before), paddingAfter: sides.map(\.after)))
  }
}

extension LoweringContext {
  /// The primitive of this operator, which is a convolution in float32.
  mutating func convolution() throws -> MadeConvolution {
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

extension Conv2D: ConvolutionLowerable {
  func product(of inputs: [TensorType], _ outputs: [TensorType]) throws -> ConvolutionProduct {
    ConvolutionProduct(
      .forward, try ConvolutionShape(self, x: inputs[0].shape, w: inputs[1].shape),
      hasBias: inputs.count > 2)
  }

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

extension Conv2DDataGradient: ConvolutionLowerable {
  func product(of inputs: [TensorType], _ outputs: [TensorType]) throws -> ConvolutionProduct {
    ConvolutionProduct(
      .dataGradient, try ConvolutionShape(forward, x: outputs[0].shape, w: inputs[0].shape),
      hasBias: false)
  }

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

extension Conv2DWeightGradient: ConvolutionLowerable {
  func product(of inputs: [TensorType], _ outputs: [TensorType]) throws -> ConvolutionProduct {
    ConvolutionProduct(
      .weightGradient, try ConvolutionShape(forward, x: inputs[0].shape, w: outputs[0].shape),
      hasBias: hasBias)
  }

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
