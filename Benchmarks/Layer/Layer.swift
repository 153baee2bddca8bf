import ABNKernels
import ABNMeasuring
import Benchmark
import InPlaceABN

/// One layer in training: forward over x, then backward over dz, as `abn bench layer` times it.
struct Case {
  var name: String
  var sizes: [Int]
  var layout = ABNLayout.channelSecond
  var element = ABNElement.float32
  var activation = ABNActivation.leakyReLU(slope: 0.01)
  var set: ABNInstructionSet?

  static let large = [64, 64, 112, 112]

  /// The rows of Documentation/Performance.md.
  static let all = [
    Case(name: "NCHW 64x64x112x112", sizes: large),
    Case(name: "nChw16c 32x256x56x56", sizes: [32, 256, 56, 56], layout: .blocked(16)),
    Case(name: "NHWC 64x64x112x112", sizes: large, layout: .channelLast),
    Case(name: "nChw16c 64x64x112x112", sizes: large, layout: .blocked(16)),
    Case(name: "elu 64x64x112x112", sizes: large, activation: .elu(alpha: 1)),
    Case(name: "elu of 0.01 64x64x112x112", sizes: large, activation: .elu(alpha: 0.01)),
    Case(name: "prelu 64x64x112x112", sizes: large, activation: .prelu),
    Case(name: "float16 64x64x112x112", sizes: large, element: .float16),
    Case(name: "bfloat16 64x64x112x112", sizes: large, element: .bfloat16),
    Case(name: "AVX2 64x64x112x112", sizes: large, set: .avx2),
    Case(name: "baseline 64x64x112x112", sizes: large, set: .baseline),
    Case(name: "NCHW 32x64x56x56", sizes: [32, 64, 56, 56]),
    Case(name: "NCHW 32x256x14x14", sizes: [32, 256, 14, 14]),
    Case(name: "NCHW 2x2048x7x7", sizes: [2, 2048, 7, 7]),
    Case(name: "rank 2 256x512", sizes: [256, 512]),
  ]

  func kernel() throws -> ABNKernel {
    let geometry = try ABNGeometry(
      outer: sizes[0], channels: sizes[1], spatial: sizes.dropFirst(2).reduce(1, *), layout: layout)
    return try ABNKernel(
      geometry: geometry, element: element, activation: activation, instructionSet: set)
  }

  /// Whether Performance.md has an aim for the case against what the memory of the machine allows.
  var hasFloor: Bool {
    element == .float32 && set == nil && activation == .leakyReLU(slope: 0.01)
      && sizes.reduce(1, *) > 1 << 24
  }
}

/// Forward plus backward over the time in which the machine's memory moves what must move
/// (`ABNLayerTiming`), in thousandths.
let ratioToFloor = BenchmarkMetric.custom("Time over floor, thousandths", polarity: .prefersSmaller)

let benchmarks: @Sendable () -> Void = {
  for layer in Case.all where layer.set?.isSupported ?? true {
    Benchmark(
      layer.name,
      configuration: .init(
        metrics: [.wallClock], warmupIterations: 1, scalingFactor: .one,
        maxDuration: .seconds(3), maxIterations: 200)
    ) { benchmark, buffers in
      for _ in benchmark.scaledIterations {
        buffers.fill()
        benchmark.startMeasurement()
        do {
          try buffers.forward()
          try buffers.backward()
        } catch {
          benchmark.error("\(layer.name): \(error)")
        }
        benchmark.stopMeasurement()
      }
    } setup: {
      try Buffers(layer.kernel())
    }
  }
  for layer in Case.all where layer.hasFloor {
    Benchmark(
      "floor of \(layer.name)",
      configuration: .init(
        metrics: [ratioToFloor], warmupIterations: 0, scalingFactor: .one,
        maxDuration: .seconds(10), maxIterations: 5)
    ) { benchmark in
      do {
        // A median of 9 rounds in which the layer and the floor take turns.
        let timing = try layer.kernel().timing(team: Parallel.team)
        benchmark.measurement(ratioToFloor, Int((timing.ratioToFloor * 1000).rounded()))
      } catch {
        benchmark.error("\(layer.name): \(error)")
      }
    }
  }
}
