import ABNCPUBackend
import ABNGraph
import ABNLayers
import ABNOperations
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
    func state(_ name: String, _ shape: Shape) throws -> Variable {
      let type = TensorType(shape, .float32)
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
        gradient = try builder.build { try operation(Cast(to: .float32), [gradient]) }
      }
      let states = try kind.stateTypes.indices.map { try state("s\(index).\($0)", shape) }
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

  @Test func oneOperationForSmallParameters() throws {
    let builder = try program([[8], [9], [1 << 20], [10], [11]], MomentumUpdate(momentum: 0.9))
    let result = try GroupUpdates().rewrite(builder.main, fetches: []).program
    try result.verify()
    let kinds = result.operations.map(\.kindName)
    // The large one, whose gradient is float32, stays; conversions are gone.
    #expect(kinds == ["momentum", "momentum of 4"])
    #expect((result.operations[1].kind as? UpdateGroup)?.count == 4)
  }

  @Test func whatIsReadInBetweenIsUpdatedBefore() throws {
    let builder = try program([[8]], SGDUpdate())
    let parameter = try #require(builder.main.variable(named: "p0"))
    let seen = try builder.build { try operation(Scale(factor: 2), [parameter]) }
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
    #expect(result.operations.map(\.kindName) == ["sgd", "scale", "sgd"])
  }

  @Test func aFetchedConversionStays() throws {
    let builder = try program([[8], [9]], SGDUpdate())
    let cast = try #require(builder.main.operations.first { $0.kind is Cast })
    let result = try GroupUpdates().rewrite(builder.main, fetches: [cast.outputs[0]]).program
    #expect(result.operations.map(\.kindName) == ["cast", "sgd of 2"])
  }
}
