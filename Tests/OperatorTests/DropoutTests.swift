import ABNCPUBackend
import ABNGraph
import ABNLayers
import ABNOperators
import ABNPasses
import ABNRuntime
import ABNTensors
import ABNTestSupport
import Testing

/// One dropout on x with a loss, its gradient, and a scope: run after run.
private struct DropoutBench {
  let builder: ProgramBuilder
  let program: Program
  let x: Variable
  let out: Variable
  let loss: Variable
  let gradient: Variable
  let executor = Executor(backend: CPUBackend())
  let scope = Scope()
  static let counter = "drop.counter_0"

  init(
    _ probability: Double, _ implementation: DropoutImplementation, shape: Shape,
    dtype: DType = .float64, seed: UInt64 = 7
  ) throws {
    builder = ProgramBuilder(seed: seed)
    (x, out, loss) = try builder.build {
      let x = try data("x", shape: shape, dtype: dtype, stopsGradient: false)
      let out = try dropout(
        x, probability: probability, implementation: implementation, name: "drop")
      return (x, out, try reduceSum(elementwiseMul(out, out)))
    }
    let result = try builder.main.differentiated(loss, withRespectTo: [x])
    (program, gradient) = (result.program, result.gradients[x.id]!)
    try executor.run(builder.startup, scope: scope)
  }

  func run(_ values: Tensor) throws -> (out: [Double], loss: Double, gradient: [Double]) {
    let got = try executor.run(
      program, feed: ["x": values], fetch: [out, loss, gradient], scope: scope)
    return (got[0].doubles, got[1].doubles[0], got[2].doubles)
  }
}

private func numbers(_ shape: Shape, _ dtype: DType = .float64) -> Tensor {
  let random = CounterRandom(seed: 1, stream: 1)
  let values = (0..<shape.elementCount).map { random.uniform(UInt64($0)) + 0.5 }
  return Tensor(values, shape: shape).cast(to: dtype)
}

@Suite struct DropoutTests {
  /// Element i of draw n is dropped where word (i % 256) / 64 of block
  /// n 2^32 + 64 (i / 256) + i % 64
  /// of the layer's stream is below probability 2^32.
  @Test(arguments: [DType.float32, .float64], [[1], [5, 7], [3, 11000]] as [Shape])
  func theMaskIsWhatTheGeneratorSays(_ dtype: DType, _ shape: Shape) throws {
    let x = numbers(shape, dtype)
    let bench = try DropoutBench(0.3, .upscaleInTrain, shape: shape, dtype: dtype, seed: 9)
    let source = CounterRandom(seed: 9, stream: 0)
    for draw in 0..<2 {
      let got = try bench.run(x)
      for (i, value) in x.doubles.enumerated() {
        let block = UInt64(draw) << 32 + UInt64(64 * (i / 256) + i % 64)
        let isKept = Double(source.words(block: block)[i % 256 / 64]) >= 0.3 * 0x1p32
        let wanted = isKept ? value / 0.7 : 0
        guard abs(got.out[i] - wanted) <= 1e-6 * wanted else {
          Issue.record("draw \(draw), element \(i): \(got.out[i]), wanted \(wanted)")
          return
        }
        #expect(abs(got.gradient[i] - 2 * got.out[i] * (isKept ? 1 / 0.7 : 0)) < 1e-4)
      }
    }
  }

  @Test(arguments: [DropoutImplementation.downgradeInInfer, .upscaleInTrain])
  func gradientAgreesWithFiniteDifferences(_ implementation: DropoutImplementation) throws {
    let shape: Shape = [3, 41]
    let bench = try DropoutBench(0.4, implementation, shape: shape)
    let x = numbers(shape)
    let direction = numbers([123]).doubles
    func loss(_ step: Double) throws -> Double {
      // The same draw each time.
      bench.scope[DropoutBench.counter] = Tensor([Int64(5)])
      return try bench.run(
        Tensor(zip(x.doubles, direction).map { $0 + step * $1 }, shape: shape)
      ).loss
    }
    let numeric = (try loss(1e-5) - loss(-1e-5)) / 2e-5
    bench.scope[DropoutBench.counter] = Tensor([Int64(5)])
    let analytic = zip(try bench.run(x).gradient, direction).reduce(0) { $0 + $1.0 * $1.1 }
    #expect(abs(numeric - analytic) <= 1e-7 * abs(analytic))
  }

  @Test(arguments: [0.1, 0.5, 0.9]) func dropsAsOftenAsAsked(_ probability: Double) throws {
    let shape: Shape = [100, 1000]
    let bench = try DropoutBench(probability, .downgradeInInfer, shape: shape)
    let out = try bench.run(numbers(shape)).out
    let share = Double(out.count { $0 == 0 }) / 1e5
    // Five standard deviations.
    #expect(abs(share - probability) < 5 * (probability * (1 - probability) / 1e5).squareRoot())
  }

  @Test func theEndsDropNothingAndAll() throws {
    let x = numbers([50])
    for implementation in [DropoutImplementation.downgradeInInfer, .upscaleInTrain] {
      #expect(try DropoutBench(0, implementation, shape: [50]).run(x).out == x.doubles)
      let all = try DropoutBench(1, implementation, shape: [50]).run(x)
      #expect(all.out.allSatisfy { $0 == 0 } && all.gradient.allSatisfy { $0 == 0 })
    }
  }

  @Test func aRunFromACheckpointDrawsWhatTheUnbrokenOneDraws() throws {
    let x = numbers([99])
    let unbroken = try DropoutBench(0.5, .upscaleInTrain, shape: [99])
    let first = try (0..<3).map { _ in try unbroken.run(x).out }
    let saved = unbroken.scope.snapshot()
    #expect(saved[DropoutBench.counter] == Tensor([Int64(3)]))
    let rest = try (0..<2).map { _ in try unbroken.run(x).out }
    #expect(Set((first + rest).map { $0.map(\.bitPattern) }).count == 5)
    let resumed = try DropoutBench(0.5, .upscaleInTrain, shape: [99])
    for (name, value) in saved { resumed.scope[name] = value }
    #expect(try (0..<2).map { _ in try resumed.run(x).out } == rest)
    let other = try DropoutBench(0.5, .upscaleInTrain, shape: [99], seed: 8)
    #expect(try other.run(x).out != first[0])
  }

  @Test func theMaskDoesNotDependOnTheNumberOfThreads() async {
    // In a process of its own: the number of threads is that of the whole process.
    await #expect(processExitsWith: .success) {
      let x = numbers([70001], .float32)
      let results = try [1, 2, 3].map { threads in
        Parallel.threads = threads
        return try DropoutBench(0.5, .upscaleInTrain, shape: [70001], dtype: .float32).run(x).out
      }
      #expect(results[0] == results[1] && results[0] == results[2])
    }
  }

  @Test func layersDrawMasksOfTheirOwn() throws {
    let x = numbers([200])
    let got = try evaluate([x]) {
      [
        try dropout($0[0], probability: 0.5), try dropout($0[0], probability: 0.5),
        try dropout($0[0], probability: 0.5, seed: 12),
      ]
    }
    #expect(got[0] != got[1] && got[0] != got[2] && got[1] != got[2])
  }

  @Test func evaluationKeepsTheExpectedValue() throws {
    let x = numbers([3, 5])
    for (implementation, factor) in [
      (DropoutImplementation.downgradeInInfer, 0.75), (.upscaleInTrain, 1),
    ] {
      let bench = try DropoutBench(0.25, implementation, shape: [3, 5])
      let test = bench.builder.main.cloned(forTest: true)
      try test.verify()
      let got = try bench.executor.run(
        test, feed: ["x": x], fetch: [bench.out], scope: bench.scope)[0]
      expectClose(got.doubles, x.doubles.map { $0 * factor }, tolerance: 1e-15)
      #expect(bench.scope[DropoutBench.counter] == Tensor([Int64(0)]))
      let same = try evaluate([x]) {
        [try dropout($0[0], probability: 0.25, isTest: true, implementation: implementation)]
      }
      #expect(same[0] == got)
    }
  }

  @Test func runsNeedTheirCounter() throws {
    let bench = try DropoutBench(0.25, .upscaleInTrain, shape: [4])
    #expect(throws: ABNError.self) {
      try bench.executor.run(
        bench.program, feed: ["x": numbers([4])], fetch: [bench.out], scope: Scope())
    }
  }

  @Test func errorsSayWhatDoesNotFit() throws {
    try ProgramBuilder().build {
      let x = try data("x", shape: [2, 3])
      expectError(.attribute, ["1.5", "0...1"]) { try dropout(x, probability: 1.5) }
      expectError(.attribute, ["nan"]) { try dropout(x, probability: .nan) }
      expectError(.attribute, ["\"upscale_in_trein\"", "Did you mean \"upscale_in_train\"?"]) {
        try dropout(x, probability: 0.5, implementation: "upscale_in_trein")
      }
      expectError(.dtype, ["int64"]) { try dropout(cast(x, to: .int64), probability: 0.5) }
    }
  }
}
