import ABNCPUBackend
import ABNGraph
import ABNLayers
import ABNOperators
import ABNOptimizers
import ABNRuntime
import ABNTensors
import ABNTestSupport
import Testing

@testable import ABNCUDABackend

/// Updates of many parameters in one step.
@Suite struct UpdateGroupTests {
  private static let source = SourceLocation(fileID: #fileID, line: #line)

  /// A program that updates parameters of these shapes; every other gradient is made by a conversion
  /// from bfloat16.
  private func program(_ shapes: [Shape], _ kind: any ParameterUpdate) throws -> ProgramBuilder {
    let builder = ProgramBuilder(seed: 2)
    func data(_ name: String, _ type: TensorType) throws -> Variable {
      try builder.addData(named: name, type: type, source: Self.source, stopsGradient: true)
    }
    func state(_ name: String, _ shape: Shape, _ dtype: DType = .float32) throws -> Variable {
      let type = TensorType(shape, dtype)
      return try builder.addPersistable(
        named: name, type: type, role: .state, initializer: FillConstant(0, type: type),
        layer: "state", source: Self.source)
    }
    let rate = try data("rate", TensorType([1], .float32))
    let scale = try kind.treatment.isScaled ? [data("scale", TensorType([1], .float64))] : []
    for (index, shape) in shapes.enumerated() {
      var gradient = try data(
        "g\(index)", TensorType(shape, index % 2 == 0 ? .float32 : .bfloat16))
      if index % 2 == 1 {
        gradient = try builder.build { try op(Cast(to: .float32), [gradient]) }
      }
      let states = try kind.stateTypes.enumerated().map { place, type in
        try state(
          "s\(index).\(place)", type == .power ? [1] : shape, type == .power ? .float64 : .float32)
      }
      _ = try builder.append(
        kind, [try state("p\(index)", shape), gradient, rate] + states + scale, role: .optimize,
        layer: "p\(index)", source: Self.source)
    }
    return builder
  }

  private func run(_ backend: any Backend, _ builder: ProgramBuilder) throws -> [String: Tensor] {
    let (scope, executor) = (Scope(), Executor(backend: backend))
    var feed: [String: Tensor] = [:]
    for (stream, variable) in builder.main.variables.enumerated()
    where variable.isPersistable || variable.role == .data {
      let source = CounterRandom(seed: 4, stream: UInt64(stream))
      let value = Tensor(
        (0..<variable.shape.elementCount).map { variable.dtype.anyValue(source, $0) },
        shape: variable.shape
      ).cast(to: variable.dtype)
      if variable.isPersistable {
        scope[variable.name] = value
      } else {
        feed[variable.name] = value
      }
    }
    feed["rate"] = Tensor([Float(0.1)], shape: [1])
    if feed["scale"] != nil { feed["scale"] = Tensor([0.5], shape: [1]) }
    for _ in 0..<2 { try executor.run(builder.main, feed: feed, scope: scope) }
    return scope.snapshot()
  }

  static let kinds: [any ParameterUpdate] = {
    var treatment = GradientTreatment()
    (treatment.isScaled, treatment.regularizer) = (true, .l2(1e-3))
    return [
      SGDUpdate(), MomentumUpdate(momentum: 0.9),
      MomentumUpdate(momentum: 0.9, useNesterov: true, treatment, multiplier: 0.5),
      AdamUpdate(beta1: 0.9, beta2: 0.999, epsilon: 1e-8, decay: 0.01, treatment),
    ]
  }()

  /// More than a launch takes, of sizes that fill no block, one, and many.
  @Test(.enabled(if: FlatCase.card != nil), arguments: kinds.indices)
  func leavesWhatTheProcessorLeaves(_ index: Int) throws {
    let shapes: [Shape] = (0..<140).map { [1 + $0 * 17 % 97] } + [[3000], [70_001], [40, 1000]]
    let builder = try program(shapes, Self.kinds[index])
    let card = try FlatCase.turn.withLock { _ in
      try run(#require(FlatCase.card), builder)
    }
    for (name, wanted) in try run(CPUBackend(), builder) {
      let own = try #require(card[name])
      for (a, b) in zip(own.doubles, wanted.doubles) where a != b && !(a.isNaN && b.isNaN) {
        Issue.record("\(name): \(a) on the card, \(b) on the processor")
        break
      }
    }
  }

  @Test func oneOperatorForSmallParameters() throws {
    let builder = try program([[8], [9], [1 << 20], [10], [11]], MomentumUpdate(momentum: 0.9))
    let result = try GroupUpdates().rewrite(builder.main, fetches: []).program
    try result.verify()
    let kinds = result.operators.map(\.kindName)
    // The large one, whose gradient is float32, stays; conversions are gone.
    #expect(kinds == ["momentum", "momentum of 4"])
    #expect((result.operators[1].kind as? UpdateGroup)?.count == 4)
  }

  @Test func whatIsReadInBetweenIsUpdatedBefore() throws {
    let builder = try program([[8]], SGDUpdate())
    let parameter = try #require(builder.main.variable(named: "p0"))
    let seen = try builder.build { try op(Scale(factor: 2), [parameter]) }
    let rate = try #require(builder.main.variable(named: "rate"))
    let type = TensorType([4], .float32)
    let other = try builder.addPersistable(
      named: "q", type: type, role: .state, initializer: FillConstant(0, type: type),
      layer: "q", source: Self.source)
    let gradient = try builder.addData(
      named: "gq", type: type, source: Self.source, stopsGradient: true)
    _ = try builder.append(
      SGDUpdate(), [other, gradient, rate], role: .optimize, layer: "q", source: Self.source)
    let result = try GroupUpdates().rewrite(builder.main, fetches: [seen.id]).program
    #expect(result.operators.map(\.kindName) == ["sgd", "scale", "sgd"])
  }

  @Test func aFetchedConversionStays() throws {
    let builder = try program([[8], [9]], SGDUpdate())
    let cast = try #require(builder.main.operators.first { $0.kind is Cast })
    let result = try GroupUpdates().rewrite(builder.main, fetches: [cast.outputs[0]]).program
    #expect(result.operators.map(\.kindName) == ["cast", "sgd of 2"])
  }

  /// Four steps of training a program without convolutions and products, by every optimizer, with
  /// dropout, a schedule and a clip by the common norm.
  @Test(.enabled(if: FlatCase.card != nil), arguments: 0..<3)
  func trainingLeavesWhatTheProcessorLeaves(_ index: Int) throws {
    let rate = Schedule.warmup(steps: 2, from: 0.01, then: .cosine(0.1, steps: 9))
    func build(_ builder: ProgramBuilder) throws -> Variable {
      try builder.build {
        let (x, y) = (try data("x", shape: [8, 6, 5]), try data("y", shape: [8, 6, 5]))
        func parameter(_ name: String, _ shape: Shape) throws -> Variable {
          let type = TensorType(shape, .float32)
          return try builder.addPersistable(
            named: name, type: type, role: .parameter(ParameterTraits()),
            initializer: FillConstant(0.3, type: type), layer: name, source: Self.source)
        }
        var z = try elementwiseMul(x, parameter("w", [6, 1]))
        z = try dropout(gelu(elementwiseAdd(z, parameter("b", [5]))), probability: 0.25)
        z = try leakyReLU(prelu(elementwiseDiv(z, parameter("d", [6, 5])), mode: .all), alpha: 0.1)
        let loss = try mean(squareErrorCost(z, y))
        let clip = GradientClip.globalNorm(0.05)
        let optimizer: any Optimizer =
          switch index {
          case 0: SGD(learningRate: rate, regularization: .l2(1e-3), gradientClip: clip)
          case 1: Momentum(learningRate: rate, momentum: 0.9, gradientClip: clip)
          default: Adam(learningRate: rate, gradientClip: clip)
          }
        _ = try optimizer.minimize(loss)
        return loss
      }
    }
    func train(_ backend: any Backend) throws -> (losses: [Double], left: [String: Tensor]) {
      let builder = ProgramBuilder(seed: 12)
      let loss = try build(builder)
      let (scope, executor) = (Scope(), Executor(backend: backend))
      try executor.run(builder.startup, scope: scope)
      var losses: [Double] = []
      for step in 0..<4 {
        let source = CounterRandom(seed: 6, stream: UInt64(step))
        func batch(_ first: UInt64) -> Tensor {
          Tensor(
            (0..<240).map { Float(source.uniform(first + UInt64($0)) - 0.5) }, shape: [8, 6, 5])
        }
        losses += try executor.run(
          builder.main, feed: ["x": batch(0), "y": batch(240)], fetch: [loss], scope: scope
        )[0].doubles
      }
      return (losses, scope.snapshot())
    }
    let card = try FlatCase.turn.withLock { _ in try train(#require(FlatCase.card)) }
    let processor = try train(CPUBackend())
    #expect(Set(card.losses).count == 4, "steps that change nothing")
    #expect(Set(card.left.keys) == Set(processor.left.keys))
    // Sums in another order: some roundings of numbers near 1.
    for (a, b) in zip(card.losses, processor.losses) { #expect(abs(a - b) < 1e-6) }
    for (name, wanted) in processor.left {
      for (a, b) in zip(try #require(card.left[name]).doubles, wanted.doubles) {
        #expect(abs(a - b) <= 4e-6 * max(1, b.magnitude), "\(name)")
      }
    }
  }
}
