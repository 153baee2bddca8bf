import ABNTensors

/// One of the three products of a convolution.
package struct ConvolutionProduct: Hashable, Sendable {
  package enum Direction: Hashable, Sendable { case forward, dataGradient, weightGradient }

  package let direction: Direction
  package let shape: ConvolutionShape
  package let hasBias: Bool
  /// What is done to y before it is stored.
  package let epilogue: DNNLEpilogue?

  /// A product in float32.
  package init(
    _ direction: Direction, _ shape: ConvolutionShape, hasBias: Bool, epilogue: DNNLEpilogue? = nil
  ) {
    self.direction = direction
    self.shape = shape
    self.hasBias = hasBias
    self.epilogue = epilogue
  }
}

/// The primitive of a product and the layouts of its images.
package struct MadeConvolution {
  package let primitive: DNNLPrimitive
  /// Of x, or of its gradient.
  package let x: PhysicalLayout
  /// Of y, or of its gradient.
  package let y: PhysicalLayout
  /// For reports: why it is not the implementation that oneDNN chose; nil where it is.
  package let note: String?
}

extension ConvolutionProduct {
  /// Makes the primitive in the freest formats whose images everything else can walk, or in
  /// row-major images alone.
  package func made(usesBlocks: Bool) throws -> MadeConvolution {
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
