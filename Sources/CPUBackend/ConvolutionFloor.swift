import ABNGraph
import ABNKernels
import ABNMeasuring
import ABNOperators
import ABNRuntime
import ABNTensors

extension CPUBackend: FloorMeasuring {
  /// Measures buffers of 103 MB on all threads of the team: beyond every cache.
  ///
  /// - Throws: `ABNError(.system)` where there is no memory for it.
  package func machineRates() throws -> MachineRates {
    do {
      let timing = try ABNKernel(
        geometry: ABNGeometry(
          outer: 32, channels: 64, spatial: 112 * 112, layout: .channelSecond),
        element: .float32, activation: .identity
      ).timing(repetitions: 5, team: Parallel.team)
      return MachineRates(readRate: timing.readGBs * 1e9, inPlaceRate: timing.inPlaceGBs * 1e9)
    } catch {
      throw ABNError(.system, error.what, got: error.got, wanted: error.wanted, fix: error.fix)
    }
  }

  /// The time of each float32 convolution of a program, gradients included, run by oneDNN alone:
  /// every tensor in the layout that it likes best, weights too, all of them on random data, one
  /// after the other without anything between.
  ///
  /// Equal convolutions are measured once. The buffers are this function's own and are freed again.
  ///
  /// - Returns: seconds by the operator's position in the program.
  /// - Throws: what oneDNN throws when a primitive is made.
  package func secondsAlone(of program: Program) throws -> [Int: Double] {
    try convolutionSeconds(of: program, repetitions: 3)
  }

  /// As `secondsAlone`.
  ///
  /// - Parameter repetitions: of each; the median counts, after one run that does not.
  func convolutionSeconds(of program: Program, repetitions: Int) throws -> [Int: Double] {
    var known: [ConvolutionProduct: Double] = [:]
    var result: [Int: Double] = [:]
    for (index, op) in program.operators.enumerated() {
      guard let lone = try ConvolutionProduct(op, in: program) else { continue }
      if known[lone] == nil { known[lone] = try lone.seconds(repetitions: repetitions) }
      result[index] = known[lone]!
    }
    return result
  }
}

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

  /// The median time of the product alone.
  fileprivate func seconds(repetitions: Int) throws -> Double {
    let primitive = try freePrimitive()
    let sizes = primitive.arguments.map {
      $0 == .scratchpad ? primitive.scratchpadBytes : primitive.descriptor($0)?.byteCount ?? 0
    }
    let buffers = sizes.map { bytes in
      UnsafeMutableRawPointer.allocate(byteCount: max(64, bytes), alignment: 4096)
    }
    defer { buffers.forEach { $0.deallocate() } }
    let random = CounterRandom(seed: 7, stream: 0)
    for (buffer, bytes) in zip(buffers, sizes) {
      nonisolated(unsafe) let numbers = buffer.bindMemory(
        to: Float.self, capacity: max(16, bytes / 4))
      Parallel.ranges(bytes / 4) { range in
        for index in range { numbers[index] = Float(random.uniform(UInt64(index)) - 0.5) }
      }
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
