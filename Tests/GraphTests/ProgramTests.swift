import InPlaceABN
import Testing

@Suite struct ProgramTests {
  func network(_ builder: ProgramBuilder) throws -> (Variable, Variable) {
    try builder.build {
      let x = try data("x", shape: [-1, 3, 8, 8])
      let conv = try conv2d(x, numFilters: 4, filterSize: 3, biasAttr: .absent)
      let normalized = try inplaceABN(conv, act: "leaky_relu", actAlpha: 0.1)
      return (normalized, try mean(normalized))
    }
  }

  @Test func printsWhatAPersonCanRead() throws {
    let builder = ProgramBuilder()
    _ = try network(builder)
    let text = builder.main.description
    #expect(text.contains("data x: float32[?, 3, 8, 8]  // ProgramTests.swift:"))
    #expect(text.contains("parameter conv2d_0.w_0: float32[4, 3, 3, 3]"))
    #expect(text.contains("= conv2d(x, conv2d_0.w_0) {stride: [1, 1]"))
    #expect(text.contains("inplace_abn_0.w_1, inplace_abn_0.w_2 = inplace_abn("))
    #expect(text.contains("float32[?, 4, 6, 6]"))
  }

  @Test func anUnknownBatchIsInferredThrough() throws {
    let builder = ProgramBuilder()
    let (normalized, loss) = try network(builder)
    #expect(normalized.shape == [-1, 4, 6, 6])
    #expect(loss.shape == [1])
    let x = builder.main.variable(named: "x")!
    let known = try builder.main.specialized(to: [x.id: [5, 3, 8, 8]])
    #expect(known[normalized.id].shape == [5, 4, 6, 6])
  }

  @Test func evaluationHasNoGradientsUpdatesOrStatistics() throws {
    let builder = ProgramBuilder()
    let (_, loss) = try network(builder)
    let training = try builder.main.differentiated(loss).program
    let test = training.cloned(forTest: true)
    #expect(test.operators.allSatisfy { $0.role == .forward })
    let layer = test.operators.first { $0.kindName == "inplace_abn" }!
    #expect(layer.outputs.count == 1)
    #expect(test.line(for: layer).contains("is_test: true"))
    try test.verify()
    try training.verify()
  }

  @Test func differentiatingATestProgramIsAnError() throws {
    let builder = ProgramBuilder()
    let error = #expect(throws: ABNError.self) {
      try builder.build {
        let x = try data("x", shape: [4, 3])
        let loss = try mean(inplaceABN(fc(x, size: 3), isTest: true))
        _ = try builder.main.differentiated(loss)
      }
    }
    #expect(error?.description.contains("Use useGlobalStats") == true)
  }

  @Test func aLossOfSeveralElementsIsAnError() throws {
    let builder = ProgramBuilder()
    let (normalized, _) = try network(builder)
    let error = #expect(throws: ABNError.self) {
      try builder.main.differentiated(normalized)
    }
    #expect(error?.fix == "Reduce it with mean or sum.")
  }

  @Test func theVerifierFindsAnInputBeforeItIsMade() throws {
    let builder = ProgramBuilder()
    _ = try network(builder)
    let program = builder.main
    let reversed = program.with(operators: program.operators.reversed())
    let error = #expect(throws: ABNError.self) { try reversed.verify() }
    #expect(error?.category == .program)
    #expect(error?.got.contains("before it is made") == true)
  }

  @Test func theVerifierFindsATemporaryMadeTwice() throws {
    let builder = ProgramBuilder()
    _ = try network(builder)
    let program = builder.main
    let doubled = program.with(operators: program.operators + [program.operators[0]])
    let error = #expect(throws: ABNError.self) { try doubled.verify() }
    #expect(error?.got.contains("made twice") == true)
  }

  @Test func gradientsOfSharedReadersAreSummed() throws {
    let builder = ProgramBuilder()
    let result = try builder.build {
      let x = try data("x", shape: [2, 3], stopsGradient: false)
      let y = try elementwiseAdd(elementwiseMul(x, x), relu(x))
      let loss = try mean(y)
      return try builder.main.differentiated(loss, withRespectTo: [x])
    }
    #expect(result.program.operators.contains { $0.kindName == "sum" })
    #expect(result.program.variable(named: "x@GRAD") != nil)
  }

  @Test func defaultAndExplicitBuilders() throws {
    let builder = ProgramBuilder()
    try builder.build {
      #expect(ProgramBuilder.current === builder)
      _ = try data("only here", shape: [2])
    }
    #expect(ProgramBuilder.current !== builder)
    #expect(defaultMainProgram().variable(named: "only here") == nil)
    #expect(builder.main.variable(named: "only here") != nil)
  }
}
