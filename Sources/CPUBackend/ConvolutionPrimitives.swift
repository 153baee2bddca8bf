import ABNDNNL
import ABNGraph
import ABNOperators
import ABNTensors

/// A kind that is one of the products of a convolution: it says which, and `LayoutAssignment` and
/// `LoweringContext` see to its primitive and layouts.
protocol ConvolutionLowerable: CPULowerable {
  /// The product of an operator over these types. 16-bit variables are float32 to oneDNN.
  func product(of inputs: [TensorType], _ outputs: [TensorType]) throws -> ConvolutionProduct
}

extension ConvolutionLowerable {
  var walk: ImageWalk { .primitive }
}

extension ConvolutionProduct {
  /// The product that an operator computes by oneDNN; nil for others, and for other types than
  /// float32.
  init?(_ op: Operator, in program: Program) throws {
    guard let kind = op.kind as? any ConvolutionLowerable else { return nil }
    let (inputs, outputs) = (
      op.inputs.map { program[$0].type.accumulation },
      op.outputs.map { program[$0].type.accumulation }
    )
    guard inputs[0].dtype == .float32 else { return nil }
    self = try kind.product(of: inputs, outputs)
  }
}

/// The convolutions of a program: equal ones are one primitive.
struct ConvolutionPrimitives {
  /// Whether images may stand in blocks of channels.
  let usesBlocks: Bool
  private var known: [ConvolutionProduct: MadeConvolution] = [:]

  init(usesBlocks: Bool) { self.usesBlocks = usesBlocks }

  subscript(product: ConvolutionProduct) -> MadeConvolution {
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
