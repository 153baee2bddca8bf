import ABNFormats
import ABNTensors
import ABNTestSupport
import Foundation
import InPlaceABN
import Testing

/// Saving and loading what a program says: which variables, which types, and what is refused.
@Suite struct PaddleScopeTests {
  /// A layer under momentum with a decaying rate: parameters, and state that is none.
  private func trained(size: Int = 3, steps: Int = 2) throws -> (ProgramBuilder, Scope) {
    let builder = ProgramBuilder(seed: 11)
    let loss = try builder.build {
      let y = try inplaceABN(fc(data("x", shape: [4, 5]), size: size), act: .elu())
      let loss = try mean(elementwiseMul(y, y))
      try Momentum(learningRate: 0.1, momentum: 0.9).minimize(loss)
      return loss
    }
    let scope = Scope()
    let executor = Executor(backend: CPUBackend())
    try executor.run(builder.startup, scope: scope)
    let random = CounterRandom(seed: 2, stream: 2)
    let x = Tensor((0..<20).map { Float(random.uniform(UInt64($0))) }, shape: [4, 5])
    for _ in 0..<steps {
      try executor.run(builder.main, feed: ["x": x], fetch: [loss], scope: scope)
    }
    return (builder, scope)
  }

  @Test(arguments: [nil, "all"]) func parametersComeBackWithoutState(filename: String?) throws {
    let folder = try OutputFolder()
    let (builder, scope) = try trained()
    let before = scope.snapshot()
    let parameters = Set(builder.main.parameters.map(\.name))
    // Weights, bias, scale, offset and both moving statistics; three of them with a velocity.
    #expect(parameters.count == 6)
    #expect(before.count > parameters.count)
    try saveParams(builder.main, scope, to: folder.path + "/a/b", filename: filename)
    let other = try trained(steps: 0)
    let fresh = other.1.snapshot()
    try loadParams(other.0.main, other.1, from: folder.path + "/a/b", filename: filename)
    for (name, value) in other.1.snapshot() {
      #expect(value == (parameters.contains(name) ? before : fresh)[name], "\(name)")
    }
  }

  @Test(arguments: [nil, "all"]) func persistablesContinueTheTraining(filename: String?) throws {
    let folder = try OutputFolder()
    let (builder, scope) = try trained()
    try savePersistables(builder.main, scope, to: folder.path, filename: filename)
    let loaded = Scope()
    try loadPersistables(builder.main, loaded, from: folder.path, filename: filename)
    #expect(loaded.snapshot() == scope.snapshot())
  }

  @Test func errorsNameTheVariable() throws {
    let folder = try OutputFolder()
    let (builder, scope) = try trained()
    try saveParams(builder.main, scope, to: folder.path)
    try saveParams(builder.main, scope, to: folder.path, filename: "all")

    // Four units instead of three, from both formats; the scope stays empty.
    let wide = try trained(size: 4).0.main
    let empty = Scope()
    for filename in [nil, "all"] {
      expectFailure(.shape, ["fc_0.w_0", "[5, 3]", "[5, 4]", "PaddleScopeTests.swift"]) {
        try loadParams(wide, empty, from: folder.path, filename: filename)
      }
    }
    let name = "inplace_abn_0.w_2"
    try PaddleParameters.writeVariable(
      scope[name]!.cast(to: .float64), to: "\(folder.path)/\(name)")
    expectFailure(.dtype, [name, "float64", "float32"]) {
      try loadParams(builder.main, empty, from: folder.path)
    }
    try FileManager.default.removeItem(atPath: "\(folder.path)/\(name)")
    expectFailure(.file, [name, "No such file"]) {
      try loadParams(builder.main, empty, from: folder.path)
    }
    expectFailure(.file, ["variables"]) {
      try loadPersistables(builder.main, empty, from: folder.path, filename: "all")
    }
    expectFailure(.shape, [name, "[7]"]) {
      try setProgramState(builder.main, empty, to: [name: Tensor([Float](repeating: 1, count: 7))])
    }
    #expect(empty.names.isEmpty)

    expectFailure(.name, ["fc_0.w_0", "startup"]) {
      try saveParams(builder.main, empty, to: folder.path)
    }
    let wrong = Scope()
    for variable in builder.main.parameters { wrong[variable.name] = scope[variable.name] }
    wrong[name] = Tensor([1, 2] as [Float])
    expectFailure(.shape, [name, "[2]", "[3]"]) {
      try saveParams(builder.main, wrong, to: folder.path + "/new")
    }
    #expect(!FileManager.default.fileExists(atPath: folder.path + "/new"))
    expectFailure(.name, ["main program"]) {
      try saveParams(Program(), scope, to: folder.path)
    }
  }

  /// Values for some names: the others keep theirs, unknown ones are told.
  @Test func stateMayBeAPart() throws {
    let (builder, scope) = try trained()
    var wanted = scope.snapshot()
    wanted["fc_0.b_0"] = Tensor([1, 2, 3] as [Float])
    let unknown = try setProgramState(
      builder.main, scope,
      to: [
        "fc_0.b_0": wanted["fc_0.b_0"]!, "z": Tensor([1] as [Float]), "a": Tensor([1] as [Float]),
      ])
    #expect(unknown == ["a", "z"])
    #expect(scope.snapshot() == wanted)
  }

  private func expectFailure<R>(
    _ category: ABNError.Category, _ words: [String],
    sourceLocation: Testing.SourceLocation = #_sourceLocation, _ body: () throws -> R
  ) {
    let error = #expect(throws: ABNError.self, sourceLocation: sourceLocation) { try body() }
    guard let error else { return }
    #expect(error.category == category, "\(error)", sourceLocation: sourceLocation)
    for word in words {
      #expect("\(error)".contains(word), "\(error)", sourceLocation: sourceLocation)
    }
  }
}
