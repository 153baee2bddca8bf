import ABNTensors

extension ConvolutionProduct {
  /// The primitive with every layout left to oneDNN.
  private func freePrimitive() throws -> DNNLPrimitive {
    let x = try DNNLDescriptor(shape.source, .float32, .any)
    let w = try DNNLDescriptor(shape.weights, .float32, .any)
    let y = try DNNLDescriptor(shape.destination, .float32, .any)
    let refused = fault?.prefix
    return switch direction {
    case .forward:
      try .convolutionForward(
        shape.window, source: x, weights: w,
        bias: hasBias ? DNNLDescriptor([shape.filters], .float32, .plain) : nil, destination: y,
        training: epilogue == nil, epilogue: epilogue, refused: refused)
    case .dataGradient:
      try .convolutionBackwardData(
        shape.window, diffSource: x, weights: w, diffDestination: y, refused: refused)
    case .weightGradient:
      try .convolutionBackwardWeights(
        shape.window, source: x, diffWeights: w, diffDestination: y, refused: refused)
    }
  }

  /// The median time of the product alone, by oneDNN in the layouts that it likes best.
  ///
  /// The buffers are this function's own and are freed again.
  ///
  /// - Parameters:
  ///   - repetitions: how often it runs, after one run that does not count.
  ///   - fill: puts numbers into a buffer: zeros may be faster than any.
  package func seconds(
    repetitions: Int, fill: (UnsafeMutableBufferPointer<Float>) -> Void
  ) throws -> Double {
    let primitive = try freePrimitive()
    let sizes = primitive.arguments.map {
      $0 == .scratchpad ? primitive.scratchpadBytes : primitive.descriptor($0)?.byteCount ?? 0
    }
    let buffers = sizes.map { bytes in
      UnsafeMutableRawPointer.allocate(byteCount: max(64, bytes), alignment: 4096)
    }
    defer { buffers.forEach { $0.deallocate() } }
    for (buffer, bytes) in zip(buffers, sizes) {
      let numbers = buffer.bindMemory(to: Float.self, capacity: max(16, bytes / 4))
      fill(UnsafeMutableBufferPointer(start: numbers, count: bytes / 4))
    }
    let pointers = buffers.map { Optional($0) }
    var times: [Double] = []
    let clock = ContinuousClock()
    for round in 0...repetitions {
      let time = try clock.measure {
        try pointers.withUnsafeBufferPointer { try primitive.execute($0.baseAddress!) }
      }
      if round > 0 { times.append(time / .seconds(1)) }
    }
    return times.sorted()[times.count / 2]
  }
}
