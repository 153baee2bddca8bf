import ABNActivations
import ABNCPUBackend
import ABNGraph
import ABNOperators
import ABNRuntime
import ABNTensors
import ABNTestSupport
import Testing

@testable import ABNCUDABackend

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

/// What takes two operators to show, and how broadcast operands are walked.
@Suite struct FlatProgramTests {
  private static let hasCard = FlatCase.card != nil

  /// Tests that need a card are left out where there is none, but not where one was promised.
  @Test(.enabled(if: getenv("ABN_CUDA_PATH") != nil)) func aPromisedCardIsThere() throws {
    _ = try CUDABackend(host: CPUBackend())
  }

  /// The results of a small program over random tensors of one shape; images stand channels last
  /// where `build` puts them so.
  private func values(
    _ backend: any Backend, _ shape: Shape, _ dtype: DType, inputs: Int,
    _ build: ([Variable]) throws -> Variable
  ) throws -> Tensor {
    let builder = ProgramBuilder(seed: 1)
    var feed: [String: Tensor] = [:]
    let result = try builder.build {
      try build(
        (0..<inputs).map { position in
          let source = CounterRandom(seed: 9, stream: UInt64(position))
          feed["x\(position)"] = Tensor(
            (0..<shape.elementCount).map { dtype.anyValue(source, $0) }, shape: shape
          ).cast(to: dtype)
          return try builder.addData(
            named: "x\(position)", type: TensorType(shape, dtype),
            source: SourceLocation(fileID: #fileID, line: #line), stopsGradient: false)
        })
    }
    return try FlatCase.turn.withLock { _ in
      try Executor(backend: backend).run(
        builder.main, feed: feed, fetch: [result], scope: Scope())[0]
    }
  }

  private func expectSame(_ own: Tensor, _ wanted: Tensor) {
    for (index, (a, b)) in zip(own.doubles, wanted.doubles).enumerated()
    where a != b && !(a.isNaN && b.isNaN) {
      Issue.record("[\(index)]: \(a), not \(b)")
      return
    }
  }

  /// The bits of a mask stand in the order of the image that they were made with; dy is row-major.
  @Test(
    .enabled(if: hasCard), arguments: [Activation.relu, .relu6, .leakyReLU(slope: 0.1)],
    [DType.float32, .bfloat16])
  func masksCarryTheOrderAlong(_ function: Activation, _ dtype: DType) throws {
    func build(_ restood: any OperatorKind) -> ([Variable]) throws -> Variable {
      { x in
        let activate = try Activate(function)
        let image = try op(restood, [x[0]])
        let made = try ProgramBuilder.current.append(
          MaskedActivate(activate), [image], layer: "masked",
          source: SourceLocation(fileID: #fileID, line: #line))
        return try op(MaskedActivateGradient(of: activate), [made[1], x[1]])
      }
    }
    let shape: Shape = [2, 5, 3, 7]
    expectSame(
      try values(try #require(FlatCase.card), shape, dtype, inputs: 2, build(Restood())),
      try values(CPUBackend(), shape, dtype, inputs: 2, build(Assign())))
  }

  /// A pass makes one operator of a sum and its activation: in float32 the same bits.
  @Test(
    .enabled(if: hasCard), arguments: [Activation.relu, .leakyReLU(slope: 0.1), .hardSwish],
    [DType.float32, .float64])
  func sumsAreActivatedAsTheyAreMade(_ function: Activation, _ dtype: DType) throws {
    let shape: Shape = [2, 5, 3, 7]
    let activate = try Activate(function)
    expectSame(
      try values(try #require(FlatCase.card), shape, dtype, inputs: 2) {
        try op(SumActivation(outer: activate), [op(Restood(), [$0[0]]), $0[1]])
      },
      try values(CPUBackend(), shape, dtype, inputs: 2) {
        try op(activate, [op(Elementwise(.add), $0)])
      })
  }

  /// Every element of the result meets the elements that broadcasting gives it, in every order and
  /// in groups of every width that the walk takes.
  @Test func walksMeetTheRightElements() {
    let cases: [(Shape, ImageOrder, [(shape: Shape, order: ImageOrder)])] = [
      ([2, 3, 4, 8], .rowMajor, [([2, 3, 4, 8], .rowMajor), ([3, 1, 1], .rowMajor)]),
      ([2, 8, 3, 4], .channelsLast, [([2, 8, 3, 4], .channelsLast), ([2, 8, 1, 1], .rowMajor)]),
      ([2, 8, 3, 4], .channelsLast, [([2, 8, 3, 4], .rowMajor), ([8, 1, 1], .rowMajor)]),
      ([2, 8, 3, 4], .rowMajor, [([2, 8, 3, 4], .channelsLast), ([2, 1, 3, 1], .channelsLast)]),
      ([4, 1, 5, 1, 3], .rowMajor, [([5, 1, 3], .rowMajor), ([4, 1, 1, 1, 1], .rowMajor)]),
      ([7], .rowMajor, [([7], .rowMajor), ([1], .rowMajor)]), ([], .rowMajor, [([], .rowMajor)]),
    ]
    for (shape, order, operands) in cases {
      let walk = FlatWalk(shape, in: order, operands)
      let axes = order.axes(rank: shape.rank)
      for place in 0..<shape.elementCount {
        // Where the element is in the variable, by the order in which the result stands.
        var (rest, index) = (place, Array(repeating: 0, count: shape.rank))
        for axis in axes.reversed() {
          index[axis] = rest % shape[axis]
          rest /= shape[axis]
        }
        for (k, operand) in operands.enumerated() {
          let strides = operand.order.strides(operand.shape)
          let wanted = (0..<operand.shape.rank).reduce(0) { sum, axis in
            let own = index[axis + shape.rank - operand.shape.rank]
            return sum + (operand.shape[axis] == 1 ? 0 : own * strides[axis])
          }
          #expect(Self.element(place, walk, k, width: 1) == wanted, "\(shape) \(k) \(place)")
          if walk.takes(width: 4) && place % 4 == 0 {
            #expect(Self.element(place / 4, walk, k, width: 4) == wanted, "\(shape) \(k) \(place)")
          }
        }
      }
    }
  }

  /// What the kernel does with `Walk`, read from the bytes that it is given.
  private static func element(_ group: Int, _ walk: FlatWalk, _ operand: Int, width: Int) -> Int {
    let bytes = walk.bytes(width: width, isLarge: true)
    return bytes.withUnsafeBytes { bytes in
      func number(_ index: Int) -> Int {
        Int(bytes.loadUnaligned(fromByteOffset: 8 + 8 * index, as: Int64.self))
      }
      let rank = Int(bytes.loadUnaligned(as: Int32.self))
      var (rest, place) = (group, 0)
      for d in (0..<rank).reversed() {
        place += rest % number(d) * number(FlatWalk.mostDimensions * (1 + operand) + d)
        rest /= number(d)
      }
      return place
    }
  }
}
