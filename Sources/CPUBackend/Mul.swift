import ABNDNNL
import ABNOperators
import ABNRuntime
import ABNTensors

/// c = a b with any strides: oneDNN for float32, a plain loop for float64 and empty products.
private struct MatrixProduct: Sendable {
  let rows: Int
  let inner: Int
  let columns: Int
  /// Elements to the next row and to the next column.
  let aStrides: [Int]
  let bStrides: [Int]

  /// A step that multiplies argument 0 by argument 1 into argument 2; argument 3 is scratch.
  func append(
    to c: inout LoweringContext, _ a: StepArgument, _ b: StepArgument, _ out: StepArgument,
    dtype: DType
  ) throws {
    switch dtype {
    case .float32 where rows > 0 && columns > 0 && inner > 0:
      let primitive = try DNNLPrimitive.matmul(
        source: DNNLDescriptor([rows, inner], dtype, .strides(aStrides)),
        weights: DNNLDescriptor([inner, columns], dtype, .strides(bStrides)),
        destination: DNNLDescriptor([rows, columns], dtype, .plain))
      var arguments = [a, b, out]
      if primitive.scratchpadBytes > 0 {
        arguments.append(c.scratch(bytes: primitive.scratchpadBytes))
      }
      c.step(
        arguments, flops: saturatingProduct(2, rows, inner, columns),
        run: dnnlRun(
          primitive, slots: [0, 1, nil, 2, primitive.scratchpadBytes > 0 ? 3 : nil]))
    default:
      c.step(
        [a, b, out], flops: saturatingProduct(2, rows, inner, columns),
        run: try c.float(dtype, plain(Float.self), plain(Double.self)))
    }
  }

  private func plain<T: CPUFloat>(_: T.Type) -> @Sendable (StepPointers) -> Void {
    { p in
      nonisolated(unsafe) let (a, b, out) = (p(0, as: T.self), p(1, as: T.self), p(2, as: T.self))
      Parallel.ranges(rows, grain: max(1, 65536 / max(1, inner * columns))) { range in
        for row in range {
          let line = out + row * columns
          line.update(repeating: 0, count: columns)
          for k in 0..<inner {
            let factor = a[row * aStrides[0] + k * aStrides[1]]
            let from = b + k * bStrides[0]
            for column in 0..<columns { line[column] += factor * from[column * bStrides[1]] }
          }
        }
      }
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

extension Mul: CPULowerable {
  func lower(_ c: inout LoweringContext) throws {
    let (rows, inner) = matrix(c.inputType(0).shape)
    let columns = c.inputType(1).shape[1]
    let product = MatrixProduct(
      rows: rows, inner: inner, columns: columns, aStrides: [inner, 1], bStrides: [columns, 1])
    try product.append(
      to: &c, c.read(0), c.read(1), c.write(0), dtype: c.inputType(0).dtype)
  }
}

extension MulDataGradient: CPULowerable {
  func lower(_ c: inout LoweringContext) throws {
    let (rows, columns) = forward.matrix(c.outputType(0).shape)
    let inner = c.inputType(0).shape[1]
    let product = MatrixProduct(
      rows: rows, inner: inner, columns: columns, aStrides: [inner, 1], bStrides: [1, inner])
    try product.append(
      to: &c, c.read(1), c.read(0), c.write(0), dtype: c.outputType(0).dtype)
  }
}

extension MulWeightGradient: CPULowerable {
  func lower(_ c: inout LoweringContext) throws {
    let (inner, rows) = forward.matrix(c.inputType(0).shape)
    let columns = c.outputType(0).shape[1]
    let product = MatrixProduct(
      rows: rows, inner: inner, columns: columns, aStrides: [1, rows], bStrides: [columns, 1])
    try product.append(
      to: &c, c.read(0), c.read(1), c.write(0), dtype: c.outputType(0).dtype)
  }
}
