import ABNGraph
import ABNModelFiles
import ABNModels
import ABNOperators
import ABNPasses
import ABNTensors
import ABNTestSupport
import InPlaceABN
import Testing

/// Mixed precision: convolutions and what stands between them on 16 bits, the rest in float32.
@Suite struct LowerPrecisionTests {
  private struct Trained {
    var losses: [Double] = []
    var executable: Executable
    var scope: Scope
  }

  /// Three training steps of a network on random images.
  private func train(_ name: String, _ lowering: [any ProgramPass]) throws -> Trained {
    let model = try Model.named(name)
    let (size, batch) = (32, 16)
    let programs = try ClassifierPrograms(
      model, options: ModelOptions(classes: 10), image: [model.image[0], size, size], seed: 4
    ) { _ = try Momentum(learningRate: 0.002, momentum: 0.9).minimize($0) }
    let shapes = try programs.feedShapes(batchSize: batch)
    let backend = CPUBackend(passes: lowering + memoryPasses + trainingPasses)
    let (executor, scope) = (Executor(backend: backend), Scope())
    try executor.run(programs.startup, scope: scope)
    let random = CounterRandom(seed: 6, stream: 2)
    let images = shapes["images"]!
    let feed = [
      "images": Tensor(
        (0..<images.elementCount).map { Float(random.uniform(UInt64($0)) - 0.5) }, shape: images),
      "labels": Tensor((0..<batch).map { Int64($0 * 3 % 10) }, shape: shapes["labels"]!),
    ]
    let fetch: [any Fetchable] = [programs.loss]
    var trained = Trained(
      executable: try executor.compile(programs.training, feed: shapes, fetch: fetch), scope: scope)
    for _ in 0..<3 {
      trained.losses += try executor.run(
        programs.training, feed: feed, fetch: fetch, scope: scope)[0].doubles
    }
    return trained
  }

  /// 2^-8 is the relative rounding of bfloat16; a loss of 2.3 gathers a few of them.
  @Test(arguments: ["lenet", "resnet20"])
  func lossesAreThoseOfFloat32UpToTheRounding(_ name: String) throws {
    let wide = try train(name, [])
    let narrow = try train(name, [LowerPrecision(to: .bfloat16)])
    #expect(wide.losses != narrow.losses)
    for (a, b) in zip(wide.losses, narrow.losses) { #expect(abs(a - b) < 0.03, "\(a) \(b)") }
    #expect(narrow.losses.last! < narrow.losses[0])
  }

  @Test func convolutionsAndLayersReadAndMakeSixteenBits() throws {
    let program = try train("resnet20", [LowerPrecision(to: .bfloat16)]).executable.program!
    func type(_ id: VariableID) -> DType { program[id].dtype }
    var convolutions = 0
    for op in program.operators {
      switch op.kind {
      case is Conv2D, is Conv2DDataGradient, is Conv2DWeightGradient:
        convolutions += 1
        #expect((op.inputs + op.outputs).allSatisfy { type($0) == .bfloat16 })
      case is InPlaceActivatedBatchNorm:
        #expect(type(op.inputs[0]) == .bfloat16 && type(op.inputs[1]) == .float32)
        #expect(type(op.outputs[0]) == .bfloat16 && type(op.outputs[1]) == .float32)
      case is SoftmaxCrossEntropy, is MomentumUpdate:
        #expect(op.inputs.allSatisfy { type($0) != .bfloat16 })
      default: break
      }
    }
    #expect(convolutions > 50)
    for variable in program.variables where variable.isPersistable || variable.role == .data {
      #expect(variable.dtype != .bfloat16, "\(variable.name)")
    }
  }

  @Test func fetchesAreFloat32() throws {
    let builder = ProgramBuilder(seed: 3)
    let made = try builder.build {
      let x = try data("x", shape: [2, 3, 8, 8])
      return try inplaceABN(conv2d(x, numFilters: 4, filterSize: 3), act: .leakyReLU(slope: 0.1))
    }
    let backend = CPUBackend(passes: [LowerPrecision(to: .bfloat16)])
    let (executor, scope) = (Executor(backend: backend), Scope())
    try executor.run(builder.startup, scope: scope)
    let random = CounterRandom(seed: 1, stream: 1)
    let x = Tensor((0..<384).map { Float(random.uniform(UInt64($0)) - 0.5) }, shape: [2, 3, 8, 8])
    let value = try executor.run(builder.main, feed: ["x": x], fetch: [made], scope: scope)[0]
    #expect(value.dtype == .float32)
    #expect(value.doubles.allSatisfy { Float($0).bitPattern & 0xFFFF == 0 })
  }

  /// A layer that reads float32 stays so with its gradient, though a convolution reads its output on
  /// 16 bits.
  @Test func aLayerAndItsGradientAreOfOneType() throws {
    let builder = ProgramBuilder(seed: 3)
    try builder.build {
      let x = try scale(data("x", shape: [2, 3, 8, 8]), factor: 2)
      let z = try inplaceABN(x, act: .leakyReLU(slope: 0.1))
      let loss = try mean(conv2d(z, numFilters: 4, filterSize: 3))
      _ = try SGD(learningRate: 0.1).minimize(loss)
    }
    let backend = CPUBackend(
      passes: [LowerPrecision(to: .bfloat16)] + memoryPasses + trainingPasses)
    let (executor, scope) = (Executor(backend: backend), Scope())
    try executor.run(builder.startup, scope: scope)
    let random = CounterRandom(seed: 1, stream: 1)
    let x = Tensor((0..<384).map { Float(random.uniform(UInt64($0)) - 0.5) }, shape: [2, 3, 8, 8])
    let executable = try executor.compile(builder.main, feed: ["x": x.shape])
    let program = try #require(executable.program)
    let images = program.operators.filter {
      $0.kind is InPlaceActivatedBatchNorm || $0.kind is InPlaceABNGradient
    }.map { program[$0.inputs[0]].dtype }
    #expect(images == [.float32, .float32])
    try executor.run(builder.main, feed: ["x": x], scope: scope)
  }

  /// A program of integers, or without products, is left as it is.
  @Test func whatHasNoProductStays() throws {
    let builder = ProgramBuilder(seed: 3)
    let sum = try builder.build { try mean(square(data("x", shape: [4, 4]))) }
    let rewritten = try LowerPrecision(to: .bfloat16).rewrite(builder.main, fetches: [sum.id])
    #expect(rewritten.program.revision == builder.main.revision)
  }
}
