import ABNTensors

/// A convolution by one of the libraries: a product of matrices where it is one, else cuDNN's
/// engine.
enum ConvolutionRun: Sendable {
  case engine(ConvolutionPlan)
  case matrices(MatrixProductPlan, ConvolutionProduct.Kind)

  /// nil where neither computes it as asked.
  init?(_ product: ConvolutionProduct, _ device: CUDADevice) throws {
    // Exact float32 products are what cuDNN has slow engines for, those of weights above all.
    if let sizes = product.matrices, product.dtype == .float32, !product.allowsTF32 {
      self = .matrices(
        try MatrixProductPlan(
          sizes, product.dtype, allowsTF32: false, try device.cuBLASLt()), product.kind)
      return
    }
    guard let plan = try ConvolutionChoice.plan(product, try device.cuDNN(), device) else {
      return nil
    }
    self = .engine(plan)
  }

  /// Scratch memory.
  var workspaceBytes: Int {
    switch self {
    case .engine(let plan): plan.workspaceBytes
    case .matrices(let plan, _): plan.workspaceBytes
    }
  }

  /// Which engine, for reports; -2 for a product of matrices.
  var engine: Int {
    switch self {
    case .engine(let plan): plan.engine
    case .matrices: -2
    }
  }

  /// Puts it on a stream.
  func run(
    x: UnsafeMutableRawPointer, w: UnsafeMutableRawPointer, y: UnsafeMutableRawPointer,
    workspace: UnsafeMutableRawPointer?, on stream: CUDAHandle
  ) throws {
    switch self {
    case .engine(let plan): try plan.run(x: x, w: w, y: y, workspace: workspace, on: stream)
    case .matrices(let plan, .forward):
      try plan.run(a: x, b: w, out: y, workspace: workspace, on: stream)
    case .matrices(let plan, .dataGradient):
      try plan.run(a: y, b: w, out: x, workspace: workspace, on: stream)
    case .matrices(let plan, .weightGradient):
      try plan.run(a: y, b: x, out: w, workspace: workspace, on: stream)
    }
  }
}

extension ConvolutionProduct {
  /// The product of matrices that a convolution of 1 x 1 without strides is, over images whose
  /// channels stand beside one another; nil for others.
  var matrices: MatrixProductPlan.Sizes? {
    let (places, channels, filters) = (x[0] * x[2] * x[3], x[1], y[1])
    guard w[1] == channels, w[2] == 1, w[3] == 1, stride == [1, 1], before == [0, 0],
      after == [0, 0], xStrides[1] == 1, yStrides[1] == 1, places > 0, channels > 0, filters > 0
    else { return nil }
    return switch kind {
    case .forward:
      MatrixProductPlan.Sizes(
        rows: places, inner: channels, columns: filters, isATransposed: false,
        isBTransposed: true)
    case .dataGradient:
      MatrixProductPlan.Sizes(
        rows: places, inner: filters, columns: channels, isATransposed: false,
        isBTransposed: false)
    case .weightGradient:
      MatrixProductPlan.Sizes(
        rows: filters, inner: places, columns: channels, isATransposed: true,
        isBTransposed: false)
    }
  }
}
