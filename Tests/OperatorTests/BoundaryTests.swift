import ABNGraph
import ABNOperators
import ABNTensors
import ABNTestSupport
import InPlaceABN
import Testing

/// Where shapes, labels and numbers are at an end of what an operator takes.
@Suite struct BoundaryTests {
  /// Two batches of unknown size, of which one is broadcast when fed: differentiated as if they were equal,
  /// so an error where gradients are asked for, and right where not.
  @Test func unknownSizesThatBroadcastHaveNoGradient() throws {
    let builder = ProgramBuilder(seed: 1)
    let (sum, loss) = try builder.build {
      let a = try data("a", shape: [Shape.unknown, 3])
      let b = try data("b", shape: [Shape.unknown, 3])
      let sum = try elementwiseAdd(a, relu(fc(b, size: 3)))
      let loss = try mean(sum)
      try SGD(learningRate: 0.1).minimize(loss)
      return (sum, loss)
    }
    let (executor, scope) = (Executor(backend: CPUBackend()), Scope())
    try executor.run(builder.startup, scope: scope)
    let many = Tensor((0..<12).map { Float($0) }, shape: [4, 3])
    let one = Tensor([Float(1), 2, 3], shape: [1, 3])
    try executor.run(builder.main, feed: ["a": many, "b": many], fetch: [loss], scope: scope)
    expectError(.feed, ["gradient of", "declare a size of 1 as 1"]) {
      try executor.run(builder.main, feed: ["a": many, "b": one], fetch: [loss], scope: scope)
    }
    let forward = try executor.run(
      builder.main.cloned(forTest: true), feed: ["a": many, "b": one], fetch: [sum], scope: scope)
    #expect(forward[0].shape == [4, 3])
  }

  /// A window that lies in the padding alone has no largest element.
  /// The winner of a window is an int32, also where the window is mostly padding.
  @Test func windowsOfTooManyElements() throws {
    let dtype = DType.float64
    func pool(_ size: Int, _ type: PoolType) throws -> Tensor {
      let builder = ProgramBuilder()
      let y = try builder.build {
        try pool2d(
          data("x", shape: [1, 1, 1, 1], dtype: dtype), poolSize: size, poolType: type,
          poolPadding: .explicit([[size - 1, 0], [size - 1, 0]]))
      }
      return try Executor(backend: CPUBackend()).run(
        builder.main, feed: ["x": Tensor([3.0], shape: [1, 1, 1, 1]).cast(to: dtype)], fetch: [y],
        scope: Scope())[0]
    }
    #expect(try pool(46_340, .max).doubles == [3])
    #expect(try pool(65_536, .average).doubles == [3])
    let error = #expect(throws: ABNError.self) { try pool(65_536, .max) }
    #expect(error?.category == .attribute && error?.got == "4294967296 elements")
  }

  @Test func poolingPadsByLessThanItsKernel() throws {
    for (sides, isRight) in [([[0, 1], [1, 0]], true), ([[0, 2], [0, 0]], false)] {
      let builder = ProgramBuilder()
      func build() throws {
        try builder.build {
          let x = try data("x", shape: [1, 1, 3, 3])
          _ = try pool2d(x, poolSize: 2, poolPadding: .explicit(sides))
        }
      }
      if isRight { try build() } else { expectError(.attribute, ["padding"], build) }
    }
  }

  /// A line without a class has gradient 0, whatever its logits are.
  @Test(arguments: [Float.nan, .infinity, -.infinity])
  func ignoredLinesPoisonNothing(_ bad: Float) throws {
    for axis in [1, 0] {
      let builder = ProgramBuilder(seed: 1)
      let logits = try builder.build {
        let x = try data("x", shape: [2, 2])
        let label = try data("label", shape: axis == 1 ? [2, 1] : [1, 2], dtype: .int64)
        // Row-major x is the logits, but for a factor that has a gradient.
        let logits = try prelu(x)
        let loss = try softmaxWithCrossEntropy(logits, label, axis: axis)
        try SGD(learningRate: 0.1).minimize(mean(loss))
        return logits
      }
      let (executor, scope) = (Executor(backend: CPUBackend()), Scope())
      try executor.run(builder.startup, scope: scope)
      let x = axis == 1 ? [bad, 1, 0.5, 2] : [bad, 0.5, 1, 2]
      let gradient = try executor.run(
        builder.main,
        feed: [
          "x": Tensor(x, shape: [2, 2]),
          "label": Tensor([Int64(-100), 1], shape: axis == 1 ? [2, 1] : [1, 2]),
        ], fetch: ["\(logits.name)@GRAD"], scope: scope)[0].elements(Float.self)
      let (ignored, counted) = axis == 1 ? ([0, 1], [2, 3]) : ([0, 2], [1, 3])
      for place in ignored { #expect(gradient[place] == 0, "\(gradient) axis \(axis)") }
      for place in counted {
        #expect(gradient[place].isFinite && gradient[place] != 0, "\(gradient) axis \(axis)")
      }
    }
  }

  /// float64 to bfloat16 is rounded once: not by way of a float32 that is in the middle of two.
  @Test func bfloat16IsTheNearest() {
    func near(_ value: Double) -> Double { BFloat16(tensorValue: value).tensorValue }
    #expect(near(1 + 0x1p-8 + 0x1p-30) == 1 + 0x1p-7)
    #expect(near(1 + 0x1p-8 - 0x1p-30) == 1)
    #expect(near(1 + 0x1p-8) == 1 && near(1 + 3 * 0x1p-8) == 1 + 0x1p-6)
    #expect(near(-(1 + 0x1p-8 + 0x1p-40)) == -(1 + 0x1p-7))
    #expect(near(16_842_753) == 16_908_288)
    #expect(near(.infinity) == .infinity && near(.nan).isNaN && near(0) == 0)
    #expect(near(1e-60) == 0 && near(1e60) == .infinity)
    #expect(near(3.3895313892515354e38) == 3.3895313892515354e38)
    #expect(near(3.4e38) == .infinity)
  }

  @Test func nothingIsNotResized() throws {
    let resize = try Resize(.bilinear, to: .shape(height: 2, width: 2))
    let error = #expect(throws: ABNError.self) {
      try resize.outputTypes(for: [TensorType([1, 1, 0, 4], .float32)])
    }
    #expect(error?.wanted.contains("row and column") == true)
  }
}
