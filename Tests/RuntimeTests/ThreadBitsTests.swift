import InPlaceABN
import Testing

/// What this package computes itself has the same bits on any number of threads.
@Suite struct ThreadBitsTests {
  @Test func ownStepsDoNotDependOnThreads() async {
    // In a process of its own: the number of threads is that of the whole process.
    await #expect(processExitsWith: .success) {
      let builder = ProgramBuilder(seed: 3)
      var x: Variable!
      let loss = try builder.build {
        x = try data("x", shape: [4, 24, 37, 29], stopsGradient: false)
        let a = try inplaceABN(scale(x, factor: 1.5), act: .leakyReLU(slope: 0.1))
        let b = try dropout(batchNorm(a, act: .gelu), probability: 0.2)
        let c = try resizeBilinear(b, outShape: [19, 31])
        let d = try softmax(
          transpose(
            elementwiseSub(c, reduceMean(c, axes: [2], keepDimensions: true)), [0, 2, 3, 1]))
        return try mean(square(d))
      }
      let result = try builder.main.differentiated(
        loss, withRespectTo: [x] + builder.main.parameters.filter { $0.parameterTraits!.trainable })
      let fetch = [loss] + result.gradients.values.sorted { $0.id < $1.id }
      let random = CounterRandom(seed: 1, stream: 1)
      let image = Tensor(
        (0..<4 * 24 * 37 * 29).map { Float(random.uniform(UInt64($0)) - 0.5) },
        shape: [4, 24, 37, 29])
      var results: [[Tensor]] = []
      for threads in [1, 2, 3, 5] {
        Parallel.threads = threads
        let (executor, scope) = (Executor(backend: CPUBackend()), Scope())
        try executor.run(builder.startup, scope: scope)
        results.append(
          try executor.run(result.program, feed: ["x": image], fetch: fetch, scope: scope)
            + scope.names.map { scope[$0]! })
      }
      for other in results.dropFirst() { #expect(other == results[0]) }
    }
  }
}
