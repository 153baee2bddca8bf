import ABNTestSupport
import InPlaceABN
import OwnOperator
import Testing

/// The example of an operator from outside the package, which is built without the package's own access.
@Suite struct OwnOperatorTests {
  private let points: [Float] = [-3, -1, -0.5, 0.25, 1, 2, -.infinity, .nan]

  private func run(_ dtype: DType) throws -> (y: Tensor, dx: Tensor) {
    let builder = ProgramBuilder()
    let (x, y, loss) = try builder.build {
      let x = try data("x", shape: [-1, 4], dtype: dtype, stopsGradient: false)
      // Not what is fed: that is kept.
      let y = try clamp(scale(x, factor: 1), low: -1, high: 1)
      return (x, y, try reduceSum(scale(y, factor: 3)))
    }
    let result = try builder.main.differentiated(loss, withRespectTo: [x])
    let fed = try Tensor(points, shape: [2, 4]).cast(to: dtype)
    let executor = Executor(backend: CPUBackend())
    let fetch = [y, result.gradients[x.id]!]
    let values = try executor.run(
      result.program, feed: ["x": fed], fetch: fetch, scope: Scope())
    return (values[0], values[1])
  }

  @Test(arguments: [DType.float32, .float16, .bfloat16])
  func computesAndIsDifferentiated(_ dtype: DType) throws {
    let (y, dx) = try run(dtype)
    #expect(y.dtype == dtype && dx.dtype == dtype)
    #expect(Array(y.doubles.prefix(7)) == [-1, -1, -0.5, 0.25, 1, 1, -1])
    #expect(dx.doubles == [0, 0, 3, 3, 0, 0, 0, 0])
  }

  /// A rule that allows it is used: the output stands where the input stood.
  @Test func sharesBytes() throws {
    let builder = ProgramBuilder()
    let y = try builder.build {
      try clamp(scale(data("x", shape: [1, 100_000]), factor: 2), low: 0, high: 1)
    }
    let executable = try Executor(backend: CPUBackend()).compile(
      builder.main, feed: ["x": [1, 100_000]], fetch: [y])
    // One array of 400,000 bytes beside the fed one, not two.
    #expect(executable.plan.arenaBytes < 500_000)
  }

  /// What a kind does wrong is an error with the place of the layer.
  @Test func mistakesHaveAPlace() throws {
    struct Wrong: OperatorKind, CPUComputable {
      static let kindName = "wrong"
      static let formula = "y = x"
      let body: @Sendable (CPUOperands) throws -> Void
      var inputCounts: ClosedRange<Int> { 1...1 }
      func inferTypes(_ inputs: [TensorType]) throws -> [TensorType] { inputs }
      func compute(_ operands: CPUOperands) throws { try body(operands) }
    }
    func failure(_ body: @escaping @Sendable (CPUOperands) throws -> Void) throws -> ABNError? {
      let builder = ProgramBuilder()
      let y = try builder.build {
        let x = try data("x", shape: [2])
        return try ProgramBuilder.current.append(
          Wrong(body: body), [x], layer: "wrong_0",
          source: SourceLocation(fileID: #fileID, line: 7))[0]
      }
      return #expect(throws: ABNError.self) {
        try Executor(backend: CPUBackend()).run(
          builder.main, feed: ["x": Tensor([1, 2] as [Float])], fetch: [y], scope: Scope())
      }
    }
    let type = try failure { _ = try $0.input(0, as: Double.self) }
    #expect(type?.category == .dtype && type?.location?.hasSuffix(":7") == true)
    let index = try failure { _ = try $0.output(1, as: Float.self) }
    #expect(index?.category == .program && index?.location?.hasSuffix(":7") == true)
    let own = try failure { _ in
      throw ABNError(.attribute, "own", got: "a", wanted: "b")
    }
    #expect(own?.what.contains("wrong_0") == true)
  }
}
