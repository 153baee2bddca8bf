import ABNGraph
import ABNOperators
import ABNTensors

/// One of the three products of a convolution.
struct ConvolutionProduct: Hashable, Sendable {
  enum Direction: Hashable, Sendable { case forward, dataGradient, weightGradient }

  let direction: Direction
  let shape: ConvolutionShape
  let hasBias: Bool
  /// What is done to y before it is stored.
  var epilogue: DNNLEpilogue?
}

extension ConvolutionProduct {
  /// The product that an operator computes by oneDNN; nil for others, and for other types than
  /// float32. 16-bit variables are float32 to oneDNN.
  init?(_ op: Operator, in program: Program) throws {
    func type(_ id: VariableID) -> TensorType { program[id].type.accumulation }
    let (inputs, outputs) = (op.inputs, op.outputs)
    switch op.kind {
    case let kind as Conv2D:
      (direction, hasBias) = (.forward, inputs.count > 2)
      shape = try ConvolutionShape(kind, x: type(inputs[0]).shape, w: type(inputs[1]).shape)
    case let kind as Conv2DFusion:
      (direction, hasBias, epilogue) = (.forward, true, kind.epilogue)
      shape = try ConvolutionShape(
        kind.convolution, x: type(inputs[0]).shape, w: type(inputs[1]).shape)
    case let kind as Conv2DDataGradient:
      (direction, hasBias) = (.dataGradient, false)
      shape = try ConvolutionShape(
        kind.forward, x: type(outputs[0]).shape, w: type(inputs[0]).shape)
    case let kind as Conv2DWeightGradient:
      (direction, hasBias) = (.weightGradient, kind.hasBias)
      shape = try ConvolutionShape(
        kind.forward, x: type(inputs[0]).shape, w: type(outputs[0]).shape)
    default: return nil
    }
    guard type(inputs[0]).dtype == .float32 else { return nil }
  }

  /// Makes the primitive in the freest formats whose images everything else can walk, or in
  /// row-major images alone.
  func made(usesBlocks: Bool) throws -> ConvolutionPrimitives.Made {
    let bias = hasBias ? try DNNLDescriptor([shape.filters], .float32, .plain) : nil
    let window = shape.window
    let refused = fault?.prefix
    let (primitive, x, y) =
      switch direction {
      case .forward:
        try shape.primitive(
          .float32, usesBlocks: usesBlocks,
          {
            try .convolutionForward(
              window, source: $0, weights: $1, bias: bias, destination: $2,
              epilogue: epilogue, refused: refused)
          }, x: .source, y: .destination)
      case .dataGradient:
        try shape.primitive(
          .float32, usesBlocks: usesBlocks,
          {
            try .convolutionBackwardData(
              window, diffSource: $0, weights: $1, diffDestination: $2, refused: refused)
          }, x: .diffSource, y: .diffDestination)
      case .weightGradient:
        try shape.primitive(
          .float32, usesBlocks: usesBlocks,
          {
            try .convolutionBackwardWeights(
              window, source: $0, diffWeights: $1, diffBias: bias, diffDestination: $2,
              refused: refused)
          }, x: .source, y: .diffDestination)
      }
    return .init(primitive: primitive, x: x, y: y, note: note(on: primitive))
  }
}

extension ConvolutionProduct {
  /// What the plan says of a primitive that is not the one oneDNN would have chosen.
  private func note(on primitive: DNNLPrimitive) -> String? {
    guard let fault, let passedOver = primitive.passedOver else { return nil }
    return "\(primitive.implementation), as \(passedOver) of oneDNN \(DNNL.versionString) "
      + fault.reason
  }
}

/// The convolutions of a program: equal ones are one primitive.
struct ConvolutionPrimitives {
  /// A primitive and the layouts of its images.
  struct Made {
    let primitive: DNNLPrimitive
    /// Of x, or of its gradient.
    let x: PhysicalLayout
    /// Of y, or of its gradient.
    let y: PhysicalLayout
    /// For reports: why it is not the implementation that oneDNN chose; nil where it is.
    let note: String?
  }

  /// Whether images may stand in blocks of channels.
  let usesBlocks: Bool
  private var known: [ConvolutionProduct: Made] = [:]

  init(usesBlocks: Bool) { self.usesBlocks = usesBlocks }

  subscript(product: ConvolutionProduct) -> Made {
    mutating get throws {
      if let found = known[product] { return found }
      let made = try product.made(usesBlocks: usesBlocks)
      known[product] = made
      return made
    }
  }

  /// The layouts that an operator's convolution likes best for its images; nil for other
  /// operators.
  mutating func preferredLayouts(
    of op: Operator, in program: Program
  ) throws -> [(VariableID, PhysicalLayout)]? {
    guard let product = try ConvolutionProduct(op, in: program) else { return nil }
    let made = try self[product]
    let (inputs, outputs) = (op.inputs, op.outputs)
    return switch product.direction {
    case .forward:
      // A residual stands as y does.
      [(inputs[0], made.x), (outputs[0], made.y)] + inputs.dropFirst(3).map { ($0, made.y) }
    case .dataGradient: [(outputs[0], made.x), (inputs[1], made.y)]
    case .weightGradient: [(inputs[0], made.x), (inputs[1], made.y)]
    }
  }
}
