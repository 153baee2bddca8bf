import InPlaceABN

/// Two networks against each other: one makes points, the other tells them from real ones.
///
/// Each has a builder with an optimizer; both train in one scope. The builders' prefixes keep the
/// names apart that nobody chooses (`fc_0.w_0`, `learning_rate_0`, Adam's moments, the schedules'
/// counters). The discriminator stands in both programs: its parameters have names, by which both
/// programs mean the same values.
public struct Players {
  public let generator = ProgramBuilder(seed: 1, prefix: "generator.")
  public let critic = ProgramBuilder(seed: 2, prefix: "critic.")
  public let fake, fooling, judging: Variable

  public init(steps: Int) throws {
    func discriminator(_ x: Variable) throws -> Variable {
      let hidden = try fc(
        x, size: 32, paramAttr: "d1.w", biasAttr: "d1.b", act: .leakyReLU(slope: 0.2))
      return try fc(hidden, size: 1, paramAttr: "d2.w", biasAttr: "d2.b")
    }
    (fake, fooling) = try generator.build { [generator] in
      let noise = try data("noise", shape: [-1, 4])
      let fake = try fc(fc(noise, size: 32, act: .relu), size: 2)
      let own = generator.main.parameters  // Those so far: the discriminator's stay as they are.
      let loss = try mean(square(discriminator(fake) - 1))
      try Adam(learningRate: Schedule.cosine(0.005, steps: steps), beta1: 0.5)
        .minimize(loss, parameters: own)
      return (fake, loss)
    }
    judging = try critic.build {
      let (real, fake) = (try data("real", shape: [-1, 2]), try data("fake", shape: [-1, 2]))
      let loss = try mean(square(discriminator(real) - 1)) + mean(square(discriminator(fake)))
      try Adam(learningRate: Schedule.cosine(0.01, steps: steps), beta1: 0.5).minimize(loss)
      return loss
    }
  }
}

/// Plays as many turns, and returns points that the generator makes at the end, [256, 2].
public func play(steps: Int, report: (String) -> Void = { _ in }) throws -> Tensor {
  let players = try Players(steps: steps)
  let (executor, scope, random) = (Executor(), Scope(), CounterRandom(seed: 1, stream: 0))
  var drawn: UInt64 = 0
  /// Rows of numbers that are uniform between -1 and 1, as they stand or around a center.
  func rows(_ count: Int, _ width: Int, around center: [Double]? = nil) -> Tensor {
    let numbers = (0..<count * width).map { place in
      drawn += 1
      let number = 2 * random.uniform(drawn) - 1
      return Float(center.map { $0[place % width] + number / 2 } ?? number)
    }
    return Tensor(numbers, shape: [count, width])
  }
  func made(_ count: Int) throws -> Tensor {
    let making = players.generator.main.cloned(forTest: true)
    return try executor.run(
      making, feed: ["noise": rows(count, 4)], fetch: [players.fake], scope: scope)[0]
  }

  for builder in [players.generator, players.critic] {
    try executor.run(builder.startup, scope: scope)
  }
  for step in 0..<steps {
    let points = ["real": rows(64, 2, around: [2, -1]), "fake": try made(64)]
    let judged = try executor.run(
      players.critic.main, feed: points, fetch: [players.judging], scope: scope)
    let fooled = try executor.run(
      players.generator.main, feed: ["noise": rows(64, 4)], fetch: [players.fooling], scope: scope)
    if step % 100 == 99 {
      report("step \(step + 1)  judging \(judged[0].doubles[0])  fooling \(fooled[0].doubles[0])")
    }
  }
  return try made(256)
}

@main
enum Main {
  static func main() throws {
    let points = try play(steps: 600) { print($0) }.doubles
    let center = (0..<2).map { axis in
      stride(from: axis, to: points.count, by: 2).map { points[$0] }.reduce(0, +) / 256
    }
    print("real points are around (2, -1), those made around (\(center[0]), \(center[1]))")
  }
}
