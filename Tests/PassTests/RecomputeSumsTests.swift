import ABNChecking
import ABNGraph
import ABNModelFiles
import ABNModels
import ABNPasses
import ABNTensors
import InPlaceABN
import Testing

/// The ends of residual blocks computed again from their terms: the same bits for fewer bytes.
@Suite struct RecomputeSumsTests {
  /// The passes of backends to which exact bits are worth a way over memory.
  private static let others: [any ProgramPass] =
    [RecomputeActivations(), SaveMasks(), RestoreInputs()] + trainingPasses

  private func train(
    _ passes: [any ProgramPass], _ act: Activation
  ) throws -> (losses: [Double], state: [String: [Double]], plan: Executable) {
    let model = try Model.named("resnet20")
    let programs = try ClassifierPrograms(
      model, options: ModelOptions(classes: 10, activation: act), image: [3, 32, 32], seed: 2
    ) { _ = try Momentum(learningRate: 0.05, momentum: 0.9).minimize($0) }
    let shapes = try programs.feedShapes(batchSize: 4)
    let (executor, scope) = (Executor(backend: CPUBackend(passes: passes)), Scope())
    try executor.run(programs.startup, scope: scope)
    let random = CounterRandom(seed: 6, stream: 2)
    let images = shapes["images"]!
    let feed = [
      "images": Tensor(
        (0..<images.elementCount).map { Float(random.uniform(UInt64($0)) - 0.5) }, shape: images),
      "labels": Tensor((0..<4).map { Int64($0 * 3 % 10) }, shape: shapes["labels"]!),
    ]
    let losses = try (0..<2).flatMap { _ in
      try executor.run(programs.training, feed: feed, fetch: [programs.loss], scope: scope)[0]
        .doubles
    }
    let plan = try executor.compile(programs.training, feed: shapes, fetch: [programs.loss])
    return (losses, scope.snapshot().mapValues(\.doubles), plan)
  }

  @Test(arguments: [Activation.leakyReLU(slope: 0.01), .relu, .swish])
  func sameBitsForFewerBytes(_ act: Activation) throws {
    let plain = try train(Self.others, act)
    let again = try train([RecomputeSums()] + Self.others, act)
    #expect(plain.losses == again.losses)
    #expect(plain.state == again.state)
    let sums = again.plan.decisions.filter {
      $0.variable.contains("tmp") && $0.action == .recomputed
    }
    #expect(sums.count >= 9, "one for each of the nine blocks")
    #expect(again.plan.plan.arenaBytes < plain.plan.plan.arenaBytes * 9 / 10)
  }

  /// In float64, with sums anywhere, views, fetches and layers in place behind them.
  @Test func sameBitsInRandomGraphs() throws {
    var changed = 0
    for seed in 7001...7100 {
      let graph = RandomGraph(seed: UInt64(seed))
      let plain = try graph.run(inPlace: true, passes: Self.others)
      let again = try graph.run(inPlace: true, passes: [RecomputeSums()] + Self.others)
      for (name, values) in plain.values {
        #expect(
          again.values[name]?.map(\.bitPattern) == values.map(\.bitPattern),
          "seed \(seed), \(name):\n\(graph)")
      }
      if again.decisions.count != plain.decisions.count { changed += 1 }
    }
    #expect(changed > 5, "\(changed) graphs had a sum to compute again")
  }
}
