import ABNOperators
import ABNRuntime
import ABNTensors

extension CUDAContext {
  /// Appends out = a b; see `MatrixProductPlan`. A sum of nothing is zero.
  fileprivate mutating func multiply(
    _ a: StepArgument, _ b: StepArgument, _ out: StepArgument, _ sizes: MatrixProductPlan.Sizes,
    _ dtype: DType
  ) throws {
    _ = try dtype.deviceType()
    let (rows, inner, columns) = (sizes.rows, sizes.inner, sizes.columns)
    guard rows > 0, inner > 0, columns > 0 else {
      let bytes = rows * columns * dtype.bytes
      step([a, b, out], mayShare: false) { device, p in
        try CUDAMemory.memory(of: device).fill(p[2], with: 0, count: bytes)
      }
      return
    }
    let plan = try MatrixProductPlan(sizes, dtype, allowsTF32: allowsTF32, device.cuBLASLt())
    var all = [a, b, out]
    if plan.workspaceBytes > 0 { all.append(scratch(bytes: plan.workspaceBytes)) }
    let hasWorkspace = plan.workspaceBytes > 0
    step(all, flops: 2 * rows * inner * columns, mayShare: false) { device, p in
      try plan.run(
        a: p[0], b: p[1], out: p[2], workspace: hasWorkspace ? p[3] : nil, on: device.stream)
    }
  }
}

extension Mul {
  /// Rows and columns of x as a matrix.
  fileprivate func matrix(_ shape: Shape) -> (rows: Int, columns: Int) {
    (
      shape.dimensions[..<numFlattenDims].reduce(1, *),
      shape.dimensions[numFlattenDims...].reduce(1, *)
    )
  }
}

extension Mul: CUDALowerable {
  func lower(_ c: inout CUDAContext) throws {
    let (rows, inner) = matrix(c.inputType(0).shape)
    try c.multiply(
      c.read(0), c.read(1), c.write(0),
      MatrixProductPlan.Sizes(
        rows: rows, inner: inner, columns: c.inputType(1).shape[1], isATransposed: false,
        isBTransposed: false), c.inputType(0).dtype)
  }
}

extension MulDataGradient: CUDALowerable {
  func lower(_ c: inout CUDAContext) throws {
    let (rows, columns) = forward.matrix(c.outputType(0).shape)
    try c.multiply(
      c.read(1), c.read(0), c.write(0),
      MatrixProductPlan.Sizes(
        rows: rows, inner: c.inputType(0).shape[1], columns: columns, isATransposed: false,
        isBTransposed: true), c.outputType(0).dtype)
  }
}

extension MulWeightGradient: CUDALowerable {
  func lower(_ c: inout CUDAContext) throws {
    let (inner, rows) = forward.matrix(c.inputType(0).shape)
    try c.multiply(
      c.read(0), c.read(1), c.write(0),
      MatrixProductPlan.Sizes(
        rows: rows, inner: inner, columns: c.outputType(0).shape[1], isATransposed: true,
        isBTransposed: false), c.outputType(0).dtype)
  }
}
