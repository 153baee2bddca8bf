import ABNCPUBackend
import ABNGraph
import ABNLayers
import ABNPasses
import ABNRuntime
import ABNTensors
import Testing

/// What operators promise about bytes, as the planner carries it out.
@Suite struct SharingTests {
  /// The compiled gradient of the sum of a graph over x [8, 4, 6], and y.
  private func compiled(
    _ build: (Variable, Variable) throws -> Variable
  ) throws -> Executable {
    let builder = ProgramBuilder()
    var x: Variable!
    var y: Variable!
    let loss = try builder.build {
      x = try data("x", shape: [8, 4, 6], stopsGradient: false)
      y = try data("y", shape: [8, 1, 6], dtype: .int64)
      return try reduceSum(build(x, y))
    }
    let result = try builder.main.differentiated(loss, withRespectTo: [x])
    let used = Set(result.program.operators.flatMap(\.inputs))
    let feed = [x!, y!].filter { used.contains($0.id) }.map { ($0.name, $0.shape) }
    return try Executor(backend: CPUBackend()).compile(
      result.program, feed: Dictionary(uniqueKeysWithValues: feed),
      fetch: [result.gradients[x.id]!])
  }

  private func step(_ name: String, _ executable: Executable) throws -> Step {
    try #require(executable.lowered.steps.first { $0.name == name })
  }

  private func place(_ argument: Int, of step: Step, _ executable: Executable) -> Int? {
    executable.plan.offsets[step.arguments[argument].buffer.index]
  }

  @Test func viewsTakeNoBytes() throws {
    let executable = try compiled { x, _ in try tanh(flatten(reshape(tanh(x), [0, -1]), axis: 2)) }
    for name in ["reshape", "flatten", "reshape_grad"] {
      let view = try step(name, executable)
      #expect(place(0, of: view, executable) == place(1, of: view, executable), "\(name)")
    }
  }

  @Test func crossEntropyWorksInTheBytesOfTheLogits() throws {
    let executable = try compiled { x, y in
      try softmaxWithCrossEntropy(scale(x, factor: 2), y, axis: 1)
    }
    let forward = try step("softmax_with_cross_entropy", executable)
    let backward = try step("softmax_with_cross_entropy_grad", executable)
    // logits, softmax; softmax, its gradient.
    #expect(place(0, of: forward, executable) == place(3, of: forward, executable))
    #expect(place(0, of: backward, executable) == place(3, of: backward, executable))
    #expect(forward.arguments[3].buffer == backward.arguments[0].buffer)
  }

  /// Dropout keeps one number from the forward to the backward pass, and prelu's two results stand
  /// over what it read.
  @Test func gradientsReuseWhatTheyRead() throws {
    let dropped = try compiled { x, _ in try dropout(scale(x, factor: 2), probability: 0.5) }
    let gradient = try step("dropout_grad", dropped)
    let bytes = gradient.arguments.map { dropped.lowered.buffers[$0.buffer.index].bytes }
    #expect(bytes == [768, 8, 768])
    let slopes = try compiled { x, _ in try tanh(prelu(tanh(x), mode: .channel)) }
    let twofold = try step("prelu_grad", slopes)
    #expect(place(2, of: twofold, slopes) == place(3, of: twofold, slopes))
  }

  /// An input that is read for its shape lives no longer for it.
  @Test func shapesAreNoArguments() throws {
    let executable = try compiled { x, _ in
      let parts = try split(concat([tanh(x), tanh(x)], axis: 1), 2, axis: 1)
      return try pad(slice(parts[0], axes: [2], starts: [1], ends: [4]), [0, 0, 1, 1, 0, 0])
    }
    for name in ["concat_grad", "slice_grad"] {
      #expect(try step(name, executable).arguments.count == 2, "\(name)")
    }
    let zeros = try step("fill_zeros_like", executable)
    #expect(zeros.arguments.count == 1)
  }
}
