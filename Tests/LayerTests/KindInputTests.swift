import InPlaceABN
import Testing

/// The number of inputs of every kind, and inputs that fit.
@Suite struct KindInputTests {
  @Test func everyKindHasACase() throws {
    let tried = Set(try KindCase.all().map { "\(type(of: $0.kind))" })
    #expect(tried == Set(operationCatalogue.map { "\($0)" }))
  }

  @Test func inputsThatFitRun() throws {
    for entry in try KindCase.all() {
      do {
        try entry.run(CounterRandom(seed: 7, stream: 1))
        #expect(entry.runsAlone, "\(entry.kind.name) ran alone")
      } catch {
        #expect(!entry.runsAlone, "\(entry.kind.name): \(error)")
        #expect((error as? ABNError)?.category == .program, "\(entry.kind.name): \(error)")
      }
    }
  }

  @Test func anyOtherNumberIsAnError() throws {
    let place = SourceLocation(fileID: #fileID, line: #line)
    for entry in try KindCase.all() {
      #expect(entry.kind.inputCounts.contains(entry.inputs.count), "\(entry.kind.name)")
      for count in 0...9 where !entry.kind.inputCounts.contains(count) {
        let types = (0..<count).map {
          $0 < entry.inputs.count ? entry.inputs[$0] : TensorType([1], .float32)
        }
        let error = #expect(throws: ABNError.self, "\(entry.kind.name) of \(count)") {
          try entry.kind.outputTypes(for: types)
        }
        #expect(error?.category == .program && error?.what == "inputs", "\(entry.kind.name)")
        #expect(throws: ABNError.self, "\(entry.kind.name) of \(count)") {
          var program = Program()
          let inputs = try types.enumerated().map {
            try program.addVariable(
              named: "x\($0.offset)", type: $0.element, role: .data, source: place
            ).id
          }
          try program.append(entry.kind, inputs, layer: "kind", source: place)
        }
      }
    }
  }

  /// Operators can be put into a program without `append`.
  @Test func aProgramWithTooFewInputsOrForeignOnesIsRefused() throws {
    let builder = ProgramBuilder()
    let y = try builder.build { try relu(data("x", shape: [2, 3])) }
    var op = builder.main.operators[0]
    op.inputs = []
    let short = builder.main.with(operators: [op])
    let executor = Executor(backend: CPUBackend())
    var error = #expect(throws: ABNError.self) {
      try executor.compile(short, feed: ["x": [2, 3]], fetch: [y])
    }
    #expect(error?.category == .program && error?.location != nil)
    let foreign = Program().with(operators: builder.main.operators)
    error = #expect(throws: ABNError.self) { try foreign.verify() }
    #expect(error?.got == "a variable of another program")
    #expect(throws: ABNError.self) { try foreign.specialized(to: [y.id: [2, 3]]) }
  }

  /// Sizes that nothing can make known.
  @Test func unknownSizesDoNotRun() throws {
    let builder = ProgramBuilder()
    let place = SourceLocation(fileID: #fileID, line: #line)
    let unknown = TensorType([Shape.unknown, 3], .float32)
    for kind in [
      FillConstant(1, type: unknown),
      RandomFill(.uniform(low: 0, high: 1), type: unknown, seed: 1, stream: 1),
    ] as [any OperatorKind] {
      let error = #expect(throws: ABNError.self) {
        try builder.append(kind, [], layer: "fill", source: place)
      }
      #expect(error?.category == .shape && error?.wanted == "known dimensions")
    }
    let y = try builder.build { try relu(data("x", shape: [Shape.unknown, 3])) }
    let error = #expect(throws: ABNError.self) {
      try CPUBackend().lower(builder.main, fetches: [y.id])
    }
    #expect(error?.wanted == "known sizes")
  }

  @Test(arguments: [DType.int8, .uint8, .int32, .int64, .bool])
  func integersAreRefusedByTheLayer(_ dtype: DType) throws {
    typealias Layer = @Sendable (Variable) throws -> Variable
    let layers: [Layer] = [
      { try sums([$0, $0]) }, { try reduceSum($0) }, { try reduceMean($0) }, { try mean($0) },
      { try elementwiseAdd($0, $0) }, { try elementwiseDiv($0, $0) }, { try scale($0, factor: 2) },
      { try relu($0) }, { try softmax($0) }, { try squareErrorCost($0, $0) },
      { try fc($0, size: 2) },
      { try batchNorm($0) }, { try inplaceABN($0) }, { try dropout($0, probability: 0.5) },
      { try prelu($0, mode: .all) }, { try square($0) },
    ]
    for layer in layers {
      let error = #expect(throws: ABNError.self) {
        try ProgramBuilder().build { try layer(data("x", shape: [2, 3], dtype: dtype)) }
      }
      #expect(error?.category == .dtype && error?.location?.hasPrefix("KindInputTests") == true)
    }
  }
}
