import ABNTestSupport
import InPlaceABN
import Testing

/// Programs of several builders in one scope: which may share values, and which would train one
/// another's.
@Suite struct SharedNamesTests {
  private struct Network {
    let builder: ProgramBuilder
    let loss: Variable
  }

  private static func teacher(_ prefix: String = "", features: Int = 4) throws -> Network {
    let builder = ProgramBuilder(seed: 1, prefix: prefix)
    return try builder.build {
      let x = try data("x", shape: [2, 4])
      let loss = try mean(square(fc(fc(x, size: features, act: .tanh), size: 3)))
      try SGD(learningRate: 0.1).minimize(loss)
      return Network(builder: builder, loss: loss)
    }
  }

  private static func student(_ prefix: String = "") throws -> Network {
    let builder = ProgramBuilder(seed: 2, prefix: prefix)
    return try builder.build {
      let x = try data("x", shape: [2, 4])
      let loss = try mean(square(fc(x, size: 4)))
      try SGD(learningRate: 0.1).minimize(loss)
      return Network(builder: builder, loss: loss)
    }
  }

  private static let x = Tensor((0..<8).map { Float($0) / 4 - 1 }, shape: [2, 4])

  private func step(_ network: Network, _ executor: Executor, _ scope: Scope) throws {
    try executor.run(
      network.builder.main, feed: ["x": Self.x], fetch: [network.loss], scope: scope)
  }

  @Test func anotherNetworkIsRefusedBeforeItTouchesAnything() throws {
    let (teacher, student) = (try Self.teacher(), try Self.student())
    let (executor, scope) = (Executor(), Scope())
    try executor.run(teacher.builder.startup, scope: scope)
    try step(teacher, executor, scope)
    let before = scope.snapshot()
    // fc_0.w_0 is [4, 4] in both, so that their types do not tell them apart.
    for program in [student.builder.startup, student.builder.main] {
      expectError(
        .name, ["\"fc_0.w_0\" in the scope", "SharedNamesTests.swift:", "prefix", "ParamAttr"]
      ) {
        try executor.run(program, scope: scope)
      }
    }
    #expect(scope.snapshot() == before)
    try step(teacher, executor, scope)
  }

  /// A program that was refused for its missing values owns no names.
  @Test func aRefusedRunOwnsNothing() throws {
    let (executor, scope) = (Executor(), Scope())
    let (teacher, student) = (try Self.teacher(), try Self.student())
    #expect(throws: ABNError.self) { try step(student, executor, scope) }
    try executor.run(teacher.builder.startup, scope: scope)
    try step(teacher, executor, scope)
  }

  @Test func prefixesKeepNetworksApart() throws {
    let (executor, scope) = (Executor(), Scope())
    let networks = [try Self.teacher("teacher."), try Self.student("student.")]
    for network in networks { try executor.run(network.builder.startup, scope: scope) }
    for _ in 0..<2 { for network in networks { try step(network, executor, scope) } }
    let alone = Scope()
    try executor.run(networks[0].builder.startup, scope: alone)
    for _ in 0..<2 { try step(networks[0], executor, alone) }
    for name in alone.names { #expect(scope[name] == alone[name], "\(name)") }
  }

  @Test func aNetworkThatIsBuiltAgainIsTheSame() throws {
    let (executor, scope) = (Executor(), Scope())
    let first = try Self.teacher()
    try executor.run(first.builder.startup, scope: scope)
    try step(first, executor, scope)
    try step(try Self.teacher(), executor, scope)
    let clone = first.builder.main.cloned(forTest: true)
    try executor.run(clone, feed: ["x": Self.x], fetch: [first.loss], scope: scope)
    // The same lines with other sizes are another network.
    expectError(.name, ["in the scope", "prefix"]) {
      try executor.run(Self.teacher(features: 5).builder.startup, scope: scope)
    }
  }

  @Test func namesThatSomebodyChoseAreShared() throws {
    let (executor, scope) = (Executor(), Scope())
    func network(_ prefix: String, extra: Bool) throws -> ProgramBuilder {
      let builder = ProgramBuilder(seed: 1, prefix: prefix)
      try builder.build {
        let x = try data("x", shape: [2, 4])
        var y = try fc(x, size: 4, paramAttr: "shared.w", biasAttr: .absent)
        if extra { y = try fc(y, size: 2) }
        try SGD(learningRate: 0.1).minimize(mean(square(y)))
      }
      return builder
    }
    let builders = [try network("a.", extra: false), try network("b.", extra: true)]
    for builder in builders { try executor.run(builder.startup, scope: scope) }
    var values = [try #require(scope["shared.w"])]
    for builder in builders {
      try executor.run(builder.main, feed: ["x": Self.x], scope: scope)
      values.append(try #require(scope["shared.w"]))
    }
    #expect(Set(values.map { $0.doubles }).count == 3)
  }

  @Test func aValueThatIsPutInBelongsToWhoeverUsesItNext() throws {
    let (executor, scope) = (Executor(), Scope())
    let (teacher, student) = (try Self.teacher(), try Self.student())
    try executor.run(teacher.builder.startup, scope: scope)
    for name in scope.names { scope[name] = nil }
    try executor.run(student.builder.startup, scope: scope)
    try step(student, executor, scope)
    expectError(.name, ["in the scope"]) { try step(teacher, executor, scope) }
  }
}
