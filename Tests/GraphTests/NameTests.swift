import InPlaceABN
import Testing

/// Names as the original makes them, so that its saved parameters load by name.
@Suite struct NameTests {
  func persistables(_ body: () throws -> Void) throws -> [String] {
    let builder = ProgramBuilder()
    try builder.build(body)
    #expect(builder.main.persistables.map(\.name) == builder.startup.persistables.map(\.name))
    return builder.main.persistables.map(\.name)
  }

  @Test func defaults() throws {
    let names = try persistables {
      let x = try data("x", shape: [3, 7, 3, 7])
      let hidden1 = try fc(x, size: 200, paramAttr: "fc1.w")
      let hidden2 = try inplaceABN(hidden1)
      _ = try inplaceABN(hidden2, act: "leaky_relu", actAlpha: 0.2)
    }
    #expect(
      names == [
        "fc1.w", "fc_0.b_0", "inplace_abn_0.w_0", "inplace_abn_0.b_0", "inplace_abn_0.w_1",
        "inplace_abn_0.w_2", "inplace_abn_1.w_0", "inplace_abn_1.b_0", "inplace_abn_1.w_1",
        "inplace_abn_1.w_2",
      ])
  }

  @Test func givenNamesDoNotConsumeTheCounter() throws {
    let withMean = try persistables {
      _ = try inplaceABN(data("x", shape: [4, 3]), name: "a", movingMeanName: "mean")
    }
    #expect(withMean == ["a.w_0", "a.b_0", "mean", "a.w_1"])
    let withScale = try persistables {
      _ = try inplaceABN(data("x", shape: [4, 3]), paramAttr: "scale", name: "a")
    }
    #expect(withScale == ["scale", "a.b_0", "a.w_0", "a.w_1"])
  }

  @Test func oneNameTwiceGoesOn() throws {
    let names = try persistables {
      let x = try data("x", shape: [4, 3])
      _ = try inplaceABN(inplaceABN(x, name: "bn"), name: "bn")
    }
    #expect(
      names == [
        "bn.w_0", "bn.b_0", "bn.w_1", "bn.w_2", "bn.w_3", "bn.b_1", "bn.w_4", "bn.w_5",
      ])
  }

  @Test func convolutionsAndSeveralInputs() throws {
    let names = try persistables {
      let x = try data("x", shape: [2, 3, 8, 8])
      let a = try conv2d(x, numFilters: 4, filterSize: 3)
      let b = try conv2d(x, numFilters: 4, filterSize: 3, biasAttr: .absent)
      _ = try fc([a, b], size: 5)
    }
    #expect(
      names == [
        "conv2d_0.w_0", "conv2d_0.b_0", "conv2d_1.w_0", "fc_0.w_0", "fc_0.w_1", "fc_0.b_0",
      ])
  }

  /// Two networks in one scope, told apart by the prefixes of their builders: neither changes the other.
  @Test func prefixesKeepNetworksApart() throws {
    let (executor, scope) = (Executor(backend: CPUBackend()), Scope())
    let feed = ["x": Tensor((0..<12).map(Float.init), shape: [4, 3])]
    func build(_ prefix: String) throws -> (ProgramBuilder, Variable) {
      let builder = ProgramBuilder(seed: 3, prefix: prefix)
      let loss = try builder.build {
        let x = try data("x", shape: [4, 3])
        let y = try fc(inplaceABN(x), size: 2, paramAttr: prefix == "b." ? nil : "w", name: "out")
        let loss = try mean(elementwiseMul(y, y))
        try Adam(learningRate: Schedule.cosine(0.1, steps: 9)).minimize(loss)
        return loss
      }
      try executor.run(builder.startup, scope: scope)
      return (builder, loss)
    }
    let ((a, loss), (b, _)) = (try build("a."), try build("b."))
    let names = (a.main.persistables.map(\.name), b.main.persistables.map(\.name))
    #expect(Set(names.0).isDisjoint(with: names.1))
    #expect(names.1.allSatisfy { $0.hasPrefix("b.") }, "\(names.1)")
    // The name that a ParamAttr gives stays as it is.
    #expect(names.0.filter { !$0.hasPrefix("a.") } == ["w"])
    #expect(b.main.variable(named: "b.out.w_0") != nil && b.main.variable(named: "x") != nil)
    let before = names.1.map { scope[$0] }
    try executor.run(a.main, feed: feed, fetch: [loss], scope: scope)
    #expect(names.1.map { scope[$0] } == before)
  }

  @Test func theDefaultProgramsErrorSaysWhatToDo() throws {
    _ = try data("taken by NameTests", shape: [1])
    let error = #expect(throws: ABNError.self) { try data("taken by NameTests", shape: [1]) }
    #expect(error?.description.contains("ProgramBuilder().build") == true)
  }

  @Test func sharedParametersAreOne() throws {
    let builder = ProgramBuilder()
    try builder.build {
      let x = try data("x", shape: [4, 3])
      let y = try fc(x, size: 3, paramAttr: "w", biasAttr: .absent)
      _ = try fc(y, size: 3, paramAttr: "w", biasAttr: .absent)
    }
    #expect(builder.main.parameters.count == 1)
    #expect(builder.startup.operators.count == 1)
  }

  @Test func oneNameForTwoShapesIsAnError() throws {
    let builder = ProgramBuilder()
    let error = #expect(throws: ABNError.self) {
      try builder.build {
        let x = try data("x", shape: [4, 3])
        _ = try fc(fc(x, size: 5, paramAttr: "w"), size: 5, paramAttr: "w")
      }
    }
    #expect(error?.category == .name)
    #expect(error?.description.contains("NameTests.swift:") == true)
    #expect(error?.description.contains("float32[5, 5]") == true)
  }
}
