import GAN
import InPlaceABN
import Testing

/// The example of two networks and two optimizers in one scope.
@Suite struct GANTests {
  @Test func pointsComeToStandWhereTheRealOnesAre() throws {
    var lines: [String] = []
    let points = try play(steps: 600) { lines.append($0) }.doubles
    #expect(lines.count == 6 && lines.allSatisfy { $0.contains("judging") })
    for (axis, center) in [2.0, -1].enumerated() {
      let along = stride(from: axis, to: points.count, by: 2).map { points[$0] }
      let mean = along.reduce(0, +) / Double(along.count)
      #expect(abs(mean - center) < 0.25, "axis \(axis): \(mean)")
      // Not all at one place: the real ones are spread over 1 along each axis.
      #expect(along.max()! - along.min()! > 0.3)
    }
  }

  @Test func eachPlayerTrainsItsOwnAndCountsItsOwnSteps() throws {
    let players = try Players(steps: 10)
    let (executor, scope) = (Executor(), Scope())
    try executor.run(players.generator.startup, scope: scope)
    try executor.run(players.critic.startup, scope: scope)
    func changed(_ program: Program, _ feed: [String: Tensor]) throws -> [String] {
      let before = scope.snapshot()
      try executor.run(program, feed: feed, scope: scope)
      return scope.snapshot().filter { before[$0.key] != $0.value }.keys.sorted()
    }
    let noise = Tensor((0..<12).map { Float($0 % 5) - 2 }, shape: [3, 4])
    let points = Tensor([0.5, -1, 2, 0.25, -0.5, 1] as [Float], shape: [3, 2])
    let made = try changed(players.generator.main, ["noise": noise])
    #expect(made.contains("generator.fc_0.w_0") && made.contains("generator.@LR_DECAY_COUNTER@"))
    #expect(made.allSatisfy { $0.hasPrefix("generator.") }, "\(made)")
    let judged = try changed(players.critic.main, ["real": points, "fake": points])
    #expect(judged.contains("d1.w") && judged.contains("critic.@LR_DECAY_COUNTER@"))
    #expect(!judged.contains { $0.hasPrefix("generator.") }, "\(judged)")
    for player in ["generator", "critic"] {
      #expect(scope["\(player).@LR_DECAY_COUNTER@"]?.doubles == [0])
    }
  }
}
