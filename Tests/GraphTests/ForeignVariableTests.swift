import ABNTestSupport
import InPlaceABN
import Testing

/// Variables that do not belong where they are used, and images without pixels: errors before anything runs.
@Suite struct ForeignVariableTests {
  private func foreign() throws -> Variable {
    let other = ProgramBuilder()
    return try other.build { try mean(fc(data("x", shape: [2, 4]), size: 3)) }
  }

  @Test func ofAnotherProgram() throws {
    let variable = try foreign()
    // In a program without so many variables, and in one that has others of that number.
    for layers in [0, 8] {
      let builder = ProgramBuilder()
      try builder.build {
        var x = try data("image", shape: [3, 3])
        for _ in 0..<layers { x = try relu(x) }
        expectError(.program, ["another program"]) { try relu(variable) }
        expectError(.program, ["another program"]) {
          try builder.main.differentiated(variable)
        }
        expectError(.program, ["another program"]) {
          try builder.main.differentiated(mean(x), withRespectTo: [variable])
        }
      }
    }
  }

  /// Networks of one function have variables of equal numbers, types and lines.
  @Test func ofTheSameNetworkBuiltAgain() throws {
    func build() throws -> (ProgramBuilder, Variable) {
      let builder = ProgramBuilder()
      return (builder, try builder.build { try mean(fc(data("x", shape: [2, 4]), size: 3)) })
    }
    let ((one, own), (_, other)) = (try build(), try build())
    let line = "ForeignVariableTests.swift:\(other.source.line)"
    expectError(.program, ["another program", line]) { try one.build { try relu(other) } }
    expectError(.program, [line]) { try one.build { try SGD(learningRate: 1).minimize(other) } }
    let (executor, scope) = (Executor(backend: CPUBackend()), Scope())
    try executor.run(one.startup, scope: scope)
    let feed = ["x": Tensor(zeros: [2, 4], dtype: .float32)]
    expectError(.program, ["another program", line]) {
      try executor.run(one.main, feed: feed, fetch: [other], scope: scope)
    }
    // Its own loss, from copies, clones and what passes make of it.
    for program in [
      one.main, one.main.cloned(forTest: true), try one.main.differentiated(own).program,
    ] {
      #expect(try executor.run(program, feed: feed, fetch: [own], scope: scope).count == 1)
    }
  }

  @Test(arguments: [
    (DType.float64, Shape([2, 3])), (.float32, Shape([7, 7])), (.float32, Shape([5])),
    (.int64, Shape([2, 3])),
  ]) func seeds(dtype: DType, shape: Shape) throws {
    let builder = ProgramBuilder()
    let (loss, seed) = try builder.build {
      (
        try fc(data("x", shape: [2, 4]), size: 3),
        try data("seed", shape: shape, dtype: dtype)
      )
    }
    expectError(.program, ["seed", "float32[2, 3]"]) {
      try builder.main.differentiated(loss, seed: seed)
    }
  }

  @Test(arguments: [Shape([1, 1, 4, 0]), Shape([1, 1, 0, 4])]) func noPixels(shape: Shape) throws {
    let builder = ProgramBuilder()
    let outputs = try builder.build {
      let x = try data("x", shape: [-1, 1, -1, -1])
      return [
        try conv2d(x, numFilters: 2, filterSize: 2, padding: 1),
        try pool2d(x, poolSize: 2, globalPooling: true),
        try adaptivePool2d(x, poolSize: 1),
        try pool2d(x, poolSize: 2, poolPadding: .uniform(1)),
      ]
    }
    let (executor, scope) = (Executor(backend: CPUBackend()), Scope())
    try executor.run(builder.startup, scope: scope)
    for output in outputs {
      expectError(.shape, ["at least one row"]) {
        try executor.run(
          builder.main, feed: ["x": Tensor(zeros: shape, dtype: .float32)], fetch: [output],
          scope: scope)
      }
    }
  }
}
