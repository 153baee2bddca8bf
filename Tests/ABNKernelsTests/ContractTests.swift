import Testing

@testable import ABNKernels
import ABNMeasuring

/// Threads, bad input, instruction sets, shapes without elements.
@Suite struct ContractTests {
  /// Shapes that are cut into one, several and many parts.
  static func geometries() throws -> [ABNGeometry] {
    try [
      ABNGeometry(outer: 3, channels: 3, spatial: 40_000, layout: .channelSecond),
      ABNGeometry(outer: 8, channels: 40, spatial: 300, layout: .channelSecond),
      // Small channels, several to a part.
      ABNGeometry(outer: 2, channels: 300, spatial: 49, layout: .channelSecond),
      ABNGeometry(outer: 4, channels: 54, spatial: 1500, layout: .channelLast),
      ABNGeometry(outer: 4, channels: 20, spatial: 3000, layout: .blocked(16)),
      ABNGeometry(outer: 2, channels: 5, spatial: 20_000, layout: .blocked(8)),
      ABNGeometry(outer: 1, channels: 2, spatial: 100_003, layout: .channelSecond),
    ]
  }

  @Test func resultsDoNotDependOnThreads() throws {
    for geometry in try Self.geometries() {
      for element in [ABNElement.float32, .bfloat16] {
        for activation in [ABNActivation.leakyReLU(alpha: 0.01), .gelu, .prelu] {
          var input = LayerInput(geometry, element, activation)
          input.scale[1] = 0
          for set in AgreementTests.sets {
            let one = try LayerRun(input: input, set: set)()
            var run = LayerRun(
              input: input, set: set, team: KernelTeam(count: 1, run: manyThreads))
            let many = try run()
            #expect(one.bytes == many.bytes, "\(set) \(element) \(activation) \(geometry)")
            run.team = KernelTeam(count: 3, run: manyThreads)
            #expect(try run().bytes == one.bytes, "\(set) \(element) \(activation) \(geometry)")
            let error = relativeError(one.dx, input.reference.dx)
            #expect(error < 40 * element.unitRoundoff, "\(error) \(activation) \(geometry)")
            #expect(one.isIntact && many.isIntact)
          }
        }
      }
    }
  }

  /// Channels too large for a core's cache, which all threads share: tried on small ones.
  @Test func sharedChannelsDoNotDependOnThreads() throws {
    let geometries = try [
      ABNGeometry(outer: 6, channels: 11, spatial: 49, layout: .channelSecond),
      ABNGeometry(outer: 1, channels: 8, spatial: 1003, layout: .channelSecond),
      ABNGeometry(outer: 3, channels: 150, spatial: 40, layout: .blocked(16)),
      ABNGeometry(outer: 9, channels: 70, spatial: 5, layout: .blocked(8)),
    ]
    for geometry in geometries {
      for element in [ABNElement.float32, .bfloat16] {
        for activation in [ABNActivation.leakyReLU(alpha: 0.01), .gelu, .prelu] {
          var input = LayerInput(geometry, element, activation)
          input.scale[1] = 0
          for set in AgreementTests.sets {
            var run = LayerRun(input: input, set: set, caches: Caches(coreBytes: 100))
            #expect(Plan(geometry, element, run.caches).isPhased)
            let one = try run()
            run.caches.victimBytes =
              AgreementTests.askingForNext(geometry, element).victimBytes
            for threads in [-1, 2, 3, 4, 6, 16, .max] {
              run.team = KernelTeam(count: threads, run: manyThreads)
              let many = try run()
              #expect(
                one.bytes == many.bytes, "\(threads) \(set) \(element) \(activation) \(geometry)")
              #expect(many.isIntact)
            }
            let error = relativeError(one.dx, input.reference.dx)
            #expect(error < 40 * element.unitRoundoff, "\(error) \(activation) \(geometry)")
          }
        }
      }
    }
  }

  @Test func statisticsHoldForALargeMean() throws {
    for geometry in try Self.geometries() {
      let input = LayerInput(geometry, .float32, .identity, mean: 1e5, deviation: 1)
      let reference = input.reference
      for set in AgreementTests.sets {
        let result = try LayerRun(input: input, set: set)()
        for channel in input.x.indices {
          #expect(abs(result.mean[channel] - reference.mean[channel]) < 1e-6)
          let inverse = 1 / (reference.variance[channel] + 1e-5).squareRoot()
          #expect(abs(result.inverse[channel] / inverse - 1) < 2e-6)
        }
        #expect(relativeError(result.z, reference.z) < 1e-6)
      }
    }
  }

  @Test func momentumMixesOldAndNew() throws {
    let geometry = try ABNGeometry(outer: 4, channels: 3, spatial: 5, layout: .channelSecond)
    let input = LayerInput(geometry, .float64, .identity)
    let reference = input.reference
    for momentum in [0, 0.5, 0.9, 1] {
      var run = LayerRun(input: input)
      run.momentum = momentum
      run.moving = ([1, 2, 3], [4, 5, 6])
      let result = try run()
      for channel in 0..<3 {
        let mean = Double(channel + 1) * momentum + reference.mean[channel] * (1 - momentum)
        let variance = Double(channel + 4) * momentum + reference.variance[channel] * (1 - momentum)
        #expect(abs(result.moving.mean[channel] - mean) < 1e-14)
        #expect(abs(result.moving.variance[channel] - variance) < 1e-14)
      }
    }
  }

  /// A `KernelError` about `what`, with all four parts.
  func expectError(_ what: String, _ body: () throws -> Void) {
    do {
      try body()
      Issue.record("no error about \(what)")
    } catch let error as KernelError {
      #expect(error.what.contains(what), "\(error)")
      #expect(!error.got.isEmpty && !error.wanted.isEmpty && !error.fix.isEmpty)
    } catch {
      Issue.record("\(error)")
    }
  }

  @Test func badShapesAreErrors() throws {
    func make(_ outer: Int, _ channels: Int, _ spatial: Int, _ layout: ABNLayout) throws {
      _ = try ABNGeometry(outer: outer, channels: channels, spatial: spatial, layout: layout)
    }
    expectError("outer") { try make(-1, 3, 4, .channelSecond) }
    expectError("channels") { try make(1, -3, 4, .channelLast) }
    expectError("spatial") { try make(1, 3, Int.min, .channelLast) }
    expectError("block") { try make(1, 3, 4, .blocked(4)) }
    expectError("geometry") { try make(1 << 31, 1 << 31, 4, .channelSecond) }
    expectError("geometry") { try make(1, Int.max, 1, .blocked(16)) }
    expectError("geometry") { try make(1, Int.max / 4, 1, .channelSecond) }
    expectError("geometry") { try make(1, 1 << 59, 1, .channelSecond) }
    expectError("geometry") { try make(0, 1 << 40, 1 << 40, .channelSecond) }
    expectError("geometry") { try make(1 << 40, 3, 1 << 40, .blocked(8)) }
    expectError("geometry") { try make(1 << 40, 0, 1 << 40, .channelLast) }
    // The largest that are not refused: nothing that is asked of them overflows.
    for (outer, channels, spatial) in [(1, 1 << 45, 1), (0, 1 << 45, 1 << 14), (1 << 59, 1, 1)] {
      for layout in [ABNLayout.channelSecond, .channelLast, .blocked(8), .blocked(16)] {
        let channels = outer == 1 << 59 && layout != .channelSecond ? 0 : channels
        guard
          let geometry = try? ABNGeometry(
            outer: outer, channels: channels, spatial: spatial, layout: layout)
        else { continue }
        let kernel = try ABNKernel(geometry: geometry, element: .float64, activation: .prelu)
        #expect(kernel.scratchBytes >= 64 && kernel.bufferBytes >= 0)
        #expect(kernel.rescueBytes(.max) == kernel.rescueBytes(channels))
        #expect(kernel.rescueBytes(-1) == 0)
        expectError(channels == 0 ? "timing" : outer > 1 ? "memory" : "batch statistics") {
          _ = try kernel.timing()
        }
      }
    }
    let geometry = try ABNGeometry(outer: 2, channels: 3, spatial: 4, layout: .channelSecond)
    for epsilon in [-1e-5, .nan, .infinity] {
      expectError("epsilon") {
        _ = try ABNKernel(
          geometry: geometry, element: .float32, activation: .relu, epsilon: epsilon)
      }
    }
    for alpha in [Double.nan, .infinity, 1e39, -1e39] {
      expectError("alpha") {
        _ = try ABNKernel(
          geometry: geometry, element: .float32, activation: .elu(alpha: alpha))
      }
    }
    _ = try ABNKernel(geometry: geometry, element: .float64, activation: .elu(alpha: 1e39))
  }

  @Test func badBuffersAreErrors() throws {
    let geometry = try ABNGeometry(outer: 2, channels: 3, spatial: 4, layout: .channelSecond)
    let kernel = try ABNKernel(geometry: geometry, element: .float32, activation: .prelu)
    let memory = Buffer(bytes: 4096)
    memory.base.initializeMemory(as: UInt8.self, repeating: 0, count: 4096)
    let x = memory.base
    let small = x + 2048
    let saved = ABNSavedStatistics(
      mean: small, meanRemainder: small + 64, inverseDeviation: small + 128)
    let scratch = Buffer(bytes: kernel.scratchBytes + 64)
    func parameters(_ count: Int) -> ABNParameters {
      ABNParameters(scale: nil, bias: nil, slopes: small + 192, slopeCount: count)
    }
    func forward(
      _ source: UnsafeRawPointer, _ destination: UnsafeMutableRawPointer, _ slopes: Int = 3,
      _ scratchOffset: Int = 0, momentum: Double = 0.9
    ) throws {
      try kernel.trainForward(
        source: source, destination: destination,
        state: ABNLayerState(parameters: parameters(slopes), saved: saved),
        moving: ABNMovingStatistics(mean: small + 256, variance: small + 320, momentum: momentum),
        workspace: ABNWorkspace(scratch: scratch.base + scratchOffset))
    }
    let before = memory.contents
    expectError("source and destination") { try forward(x, x + 16) }
    expectError("source and destination") { try forward(x + 48, x) }
    expectError("source") { try forward(x + 2, x + 2) }
    expectError("scratch") { try forward(x, x, 3, 4) }
    expectError("slope count") { try forward(x, x, 2) }
    expectError("momentum") { try forward(x, x, momentum: 1.5) }
    expectError("momentum") { try forward(x, x, momentum: .nan) }
    expectError("slopes") {
      try kernel.activate(
        source: x, destination: x, parameters: ABNParameters(scale: nil, bias: nil),
        workspace: ABNWorkspace(scratch: scratch.base))
    }
    func backward(_ gradient: UnsafeMutableRawPointer, _ rescue: ABNRescue? = nil) throws {
      try kernel.backward(
        ABNBackward(
          mode: .batch, kept: .output(x), gradient: gradient, destination: gradient,
          gradients: ABNGradients(scale: nil, bias: nil)),
        state: ABNLayerState(parameters: parameters(3), saved: saved, rescue: rescue),
        workspace: ABNWorkspace(scratch: scratch.base))
    }
    expectError("gradient") { try backward(x) }
    expectError("gradient") { try backward(x + 4) }
    // All slopes are 0 here.
    expectError("channel 0") { try backward(x + 512) }
    expectError("channel 0") { try backward(x + 512, ABNRescue(kernel)) }
    // Those of a tensor of another shape, and of other elements.
    for (spatial, element) in [(5, ABNElement.float32), (4, .float16)] {
      let other = try ABNKernel(
        geometry: ABNGeometry(outer: 2, channels: 3, spatial: spatial, layout: .channelSecond),
        element: element, activation: .prelu)
      expectError("rescue") { try backward(x + 512, ABNRescue(other)) }
    }
    func behind(_ own: ABNActivation, _ kept: ABNKept) throws {
      try ABNKernel(geometry: geometry, element: .float32, activation: own).backward(
        ABNBackward(
          mode: .batch, kept: kept, gradient: x + 512, destination: x + 512,
          gradients: ABNGradients(scale: nil, bias: nil), behind: .swish),
        state: ABNLayerState(
          parameters: ABNParameters(scale: nil, bias: nil), saved: saved, rescue: nil),
        workspace: ABNWorkspace(scratch: scratch.base))
    }
    expectError("activation behind") { try behind(.identity, .input(x)) }
    expectError("activation behind") { try behind(.gelu, .output(x)) }
    #expect(memory.contents == before, "something was written before an error")
  }

  @Test func oneOrNoElementPerChannelIsAnErrorInTraining() throws {
    for (outer, spatial) in [(1, 1), (0, 5), (4, 0)] {
      let geometry = try ABNGeometry(
        outer: outer, channels: 3, spatial: spatial, layout: .channelSecond)
      expectError("batch statistics") {
        _ = try LayerRun(input: LayerInput(geometry, .float32, .identity))()
      }
      // Given statistics need no more than what is there.
      for layout in [ABNLayout.channelSecond, .channelLast, .blocked(8), .blocked(16)] {
        let geometry = try ABNGeometry(
          outer: outer, channels: 3, spatial: spatial, layout: layout)
        let input = LayerInput(geometry, .float32, .leakyReLU(alpha: 0.1)).withGivenStatistics()
        let result = try LayerRun(input: input)()
        #expect(relativeError(result.dx, input.reference.dx) < 1e-6)
        #expect(result.dbias.count == 3 && result.isIntact)
        if outer * spatial == 0 { #expect(result.dscale == [0, 0, 0]) }
      }
    }
  }

  @Test func noChannelsIsNothingToDo() throws {
    for layout in [ABNLayout.channelSecond, .channelLast, .blocked(16)] {
      let geometry = try ABNGeometry(outer: 2, channels: 0, spatial: 3, layout: layout)
      #expect(try LayerRun(input: LayerInput(geometry, .float16, .elu(alpha: 1)))().isIntact)
    }
  }

  @Test func unknownKernelSetsAreErrors() throws {
    guard case .failure(let error) = ABNInstructionSet.named("sse9") else {
      Issue.record("accepted")
      return
    }
    #expect(error.wanted.contains("baseline, avx2, avx512") && error.got == "\"sse9\"")
    #expect(try ABNInstructionSet.named("baseline").get() == .baseline)
  }

  /// What a layer is held against goes over every line of its range, and over no other.
  @Test func sweepsTouchTheirLinesOnly() throws {
    for set in AgreementTests.sets {
      let start = (0..<160).map { UInt32($0) }
      var words = start
      words.withUnsafeMutableBytes { set.sweep(false, $0.baseAddress!, 2, 7) }
      #expect(words == start, "reading, \(set)")
      words.withUnsafeMutableBytes { set.sweep(true, $0.baseAddress!, 2, 7) }
      #expect(words == start.map { 32..<112 ~= $0 ? $0 ^ 1 : $0 }, "changing, \(set)")
    }
    let geometry = try ABNGeometry(outer: 2, channels: 16, spatial: 64, layout: .channelSecond)
    let timing = try ABNKernel(geometry: geometry, element: .float32, activation: .identity)
      .timing(repetitions: 3)
    #expect(timing.readGBs > 0 && timing.inPlaceGBs > 0 && timing.floorMilliseconds > 0)
    #expect(timing.forwardMilliseconds > 0 && timing.backwardMilliseconds > 0)
  }
}
