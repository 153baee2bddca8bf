import ABNDNNL
import ABNGraph
import ABNOperators
import ABNRuntime
import ABNTensors

extension Conv2DFusion: ConvolutionLowerable {
  func product(of inputs: [TensorType], _ outputs: [TensorType]) throws -> ConvolutionProduct {
    ConvolutionProduct(
      .forward, try ConvolutionShape(convolution, x: inputs[0].shape, w: inputs[1].shape),
      hasBias: true, epilogue: epilogue)
  }

  /// The sum and the activation in oneDNN's words.
  var epilogue: DNNLEpilogue {
    DNNLEpilogue(
      addsDestination: hasResidual, slope: slope.map { Float($0) })
  }

  func lower(_ c: inout LoweringContext) throws {
    guard c.inputType(0).dtype == .float32 else { return try lowerPlainly(&c) }
    let made = try c.convolution()
    let shape = try ConvolutionShape(
      convolution, x: c.inputType(0).shape, w: c.inputType(1).shape)
    let weight = try c.reorderedWeight(
      1, dims: shape.weights, to: made.primitive.descriptor(.weights)!)
    var arguments = [
      try c.read(0, in: made.x), weight, c.write(0, in: made.y), try c.read(2),
    ]
    if hasResidual { arguments.append(try c.read(3, in: made.y)) }
    let scratch = c.addScratchpad(of: made.primitive, to: &arguments)
    let convolve = dnnlRun(made.primitive, slots: [0, 1, 3, 2, scratch])
    let bytes = c.outputType(0).bytes
    let hasResidual = hasResidual
    // A residual that is convolved too is read at other positions than it is written at.
    let isApart = !hasResidual || c.op.inputs[0] != c.op.inputs[3]
    c.step(arguments, flops: shape.flops, mayShare: isApart, note: made.note) { p in
      // oneDNN adds to what stands in the destination.
      if hasResidual, p[2] != p[4] {
        nonisolated(unsafe) let (from, to) = (p[4], p[2])
        Parallel.ranges(bytes, grain: 1 << 16) { range in
          (to + range.lowerBound).copyMemory(
            from: from + range.lowerBound, byteCount: range.count)
        }
      }
      try convolve(p)
    }
  }

  /// float64: the sum as written, then the rest.
  private func lowerPlainly(_ c: inout LoweringContext) throws {
    let dtype = c.inputType(0).dtype
    let type = c.outputType(0)
    let shape = try ConvolutionShape(
      convolution, x: c.inputType(0).shape, w: c.inputType(1).shape)
    let reference = ReferenceConvolution(shape)
    let sum = c.intermediate("before the activation", bytes: type.bytes)
    c.step(
      [try c.read(0), try c.read(1), .write(sum), try c.read(2)], flops: shape.flops,
      run: reference.forward(true))
    let arguments = [.read(sum)] + (hasResidual ? [try c.read(3)] : []) + [c.write(0)]
    c.step(
      arguments, detail: "(activation)",
      run: try c.float(
        dtype, finish(type.shape.elementCount, Float.self),
        finish(type.shape.elementCount, Double.self)))
  }

  private func finish<T: CPUFloat>(_ count: Int, _: T.Type) -> @Sendable (StepPointers) -> Void {
    let (slope, hasResidual) = (T(slope ?? 1), hasResidual)
    return { p in
      nonisolated(unsafe) let (sum, residual, y) = (
        p(0, as: T.self), p(1, as: T.self), p(hasResidual ? 2 : 1, as: T.self)
      )
      Parallel.ranges(count) { range in
        for i in range {
          let v = hasResidual ? sum[i] + residual[i] : sum[i]
          y[i] = v > 0 ? v : slope * v
        }
      }
    }
  }
}

extension FoldNormalization: CPULowerable {
  func lower(_ c: inout LoweringContext) throws {
    let weight = c.inputType(0)
    let filters = weight.shape[0]
    let count = weight.shape.elementCount / max(1, filters)
    let hasBias = c.inputCount > 5
    let arguments =
      try (0..<c.inputCount).map { try c.read($0) } + [c.write(0), c.write(1)]
    let epsilon = epsilon
    func run<T: CPUFloat>(_: T.Type) -> @Sendable (StepPointers) -> Void {
      { p in
        nonisolated(unsafe) let (w, scale, bias) = (
          p(0, as: T.self), p(1, as: T.self), p(2, as: T.self)
        )
        nonisolated(unsafe) let (mean, variance) = (p(3, as: T.self), p(4, as: T.self))
        nonisolated(unsafe) let own = hasBias ? p(5, as: T.self) : nil
        nonisolated(unsafe) let (newWeight, newBias) = (
          p(hasBias ? 6 : 5, as: T.self), p(hasBias ? 7 : 6, as: T.self)
        )
        Parallel.ranges(filters, grain: max(1, 16384 / max(1, count))) { range in
          for filter in range {
            let s = Double(scale[filter]) / (Double(variance[filter]) + epsilon).squareRoot()
            let shift = Double(own?[filter] ?? 0) - Double(mean[filter])
            newBias[filter] = T(Double(bias[filter]) + shift * s)
            for i in filter * count..<(filter + 1) * count {
              newWeight[i] = T(Double(w[i]) * s)
            }
          }
        }
      }
    }
    c.step(arguments, run: try c.float(weight.dtype, run(Float.self), run(Double.self)))
  }
}
