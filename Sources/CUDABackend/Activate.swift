import ABNActivations
import ABNOperators
import ABNRuntime
import ABNTensors

extension Activation {
  /// The number of the function in `activations.cuh`.
  var number: Int {
    switch self {
    case .identity: 0
    // A product with a slope of 0 would make -0 of what is below 0, and NaN of infinity.
    case .leakyReLU(let slope): slope == 0 ? 4 : 1
    case .prelu: 2
    case .elu: 3
    case .relu: 4
    case .relu6: 5
    case .sigmoid: 6
    case .tanh: 7
    case .swish: 8
    case .gelu: 9
    case .hardSwish: 10
    case .mish: 11
    case .hardSigmoid: 12
    }
  }
}

extension FlatFormula {
  /// A formula with functions of `activations.cuh`, `alpha` being the activation's number.
  init(
    _ function: Activation, _ inputs: [DType], _ outputs: [DType], _ body: String
  ) {
    self.init(inputs, outputs, body, [("alpha", .real(function.alpha ?? 1))])
    files = [.activations]
  }
}

extension Activate: CUDALowerable {
  var walk: ImageWalk { .anyOrder }

  func lower(_ c: inout CUDAContext) throws {
    let (dtype, order) = (try c.floatType(ofInput: 0), c.order(ofInput: 0))
    try c.flat(
      FlatFormula(function, [dtype], [dtype], "out = activate<\(function.number)>(a, alpha);"),
      count: c.inputType(0).shape.elementCount,
      [try c.read(0, in: order), c.write(0, in: order)])
  }
}

extension ActivateGradient: CUDALowerable {
  var walk: ImageWalk { .anyOrder }

  func lower(_ c: inout CUDAContext) throws {
    let (dtype, order) = (try c.floatType(ofInput: 1), c.order(ofInput: 1))
    let function = forward.function
    // The derivative is told from x, or from y of the same sign.
    try c.flat(
      FlatFormula(
        function, [dtype, dtype], [dtype],
        "out = activationGradient<\(function.number)>(a, b, alpha);"),
      count: c.inputType(1).shape.elementCount,
      [try c.read(0, in: order), try c.read(1, in: order), c.write(0, in: order)])
  }
}
