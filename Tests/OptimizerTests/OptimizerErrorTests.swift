import ABNGraph
import ABNLayers
import ABNOperators
import ABNOptimizers
import ABNTensors
import Testing

@Suite struct OptimizerErrorTests {
  struct Bad: Sendable, CustomTestStringConvertible {
    let testDescription: String
    let optimizer: any Optimizer
    let message: String
    init(_ name: String, _ optimizer: any Optimizer, _ message: String) {
      testDescription = name
      self.optimizer = optimizer
      self.message = message
    }
  }

  static let numbers: [Bad] = [
    Bad("negative rate", SGD(learningRate: -0.1), "learning rate (OptimizerErrorTests.swift:"),
    Bad(
      "NaN rate", Adam(learningRate: Double.nan), "got nan, wanted a finite number of at least 0"),
    Bad("infinite rate", AdamW(learningRate: Double.infinity), "got inf"),
    Bad(
      "momentum 1", Momentum(learningRate: 1, momentum: 1),
      "got 1.0, wanted a number in 0 ..< 1"),
    Bad("momentum below 0", Momentum(learningRate: 0.1, momentum: -0.5), "momentum"),
    Bad("momentum NaN", Momentum(learningRate: 0.1, momentum: .nan), "got nan"),
    Bad("beta1", Adam(beta1: 1.5), "beta1"),
    Bad("beta2", AdamW(beta2: 1), "beta2"),
    Bad("epsilon", Adam(epsilon: 0), "epsilon"),
    Bad("weight decay", AdamW(weightDecay: -1), "weightDecay"),
    Bad("l2", SGD(learningRate: 0.1, regularization: .l2(-1)), "regularization"),
    Bad("l1", SGD(learningRate: 0.1, regularization: .l1(.nan)), "got nan"),
    Bad("norm 0", SGD(learningRate: 0.1, gradientClip: .norm(0)), "norm of the gradient clip"),
    Bad("global norm", SGD(learningRate: 0.1, gradientClip: .globalNorm(-2)), "got -2.0"),
    Bad(
      "value clip", SGD(learningRate: 0.1, gradientClip: .value(min: 1, max: 0)),
      "got 1.0...0.0, wanted a minimum that is not above the maximum"),
  ]

  @Test(arguments: numbers) func outOfRange(_ bad: Bad) throws {
    let net = try Quadratic(.float32)
    let (main, startup) = (net.builder.main.revision, net.builder.startup.revision)
    let error = #expect(throws: ABNError.self) {
      try bad.optimizer.minimize(net.loss, builder: net.builder)
    }
    #expect(error?.category == .attribute)
    #expect(error?.description.contains(bad.message) == true, "\(String(describing: error))")
    #expect(error?.location?.hasPrefix("OptimizerErrorTests.swift:") == true)
    // Nothing is left behind.
    #expect(net.builder.main.revision == main && net.builder.startup.revision == startup)
  }

  private func expectError(
    _ category: ABNError.Category, _ message: String, _ body: () throws -> Void
  ) {
    let error = #expect(throws: ABNError.self) { try body() }
    #expect(error?.category == category)
    #expect(error?.description.contains(message) == true, "\(String(describing: error))")
  }

  @Test func lossOfSeveralElements() throws {
    let net = try Quadratic(.float32)
    let vector = try net.builder.build { try tanh(net.parameters[2]) }
    expectError(.program, "got float32[7], wanted one floating-point element") {
      try SGD(learningRate: 0.1).minimize(vector, builder: net.builder)
    }
  }

  @Test func nothingToTrain() throws {
    var fixed = ParameterTraits()
    fixed.trainable = false
    let net = try Quadratic(.float32, traits: Array(repeating: fixed, count: 4))
    expectError(.program, "got no trainable parameter, wanted at least one") {
      try SGD(learningRate: 0.1).minimize(net.loss, builder: net.builder)
    }
  }

  @Test func lossThatDependsOnNoParameter() throws {
    let net = try Quadratic(.float32)
    let main = net.builder.main
    let other = try net.builder.build { try mean(main.requireVariable(named: "x0")) }
    expectError(.program, "a loss that depends on none of them") {
      try SGD(learningRate: 0.1).minimize(other, builder: net.builder)
    }
  }

  @Test func variablesOfAnotherProgram() throws {
    let net = try Quadratic(.float32)
    expectError(.program, "a variable of another program") {
      try SGD(learningRate: 0.1).minimize(net.loss, builder: ProgramBuilder())
    }
    expectError(.program, "got \"x0\", wanted parameters") {
      let x = try net.builder.main.requireVariable(named: "x0")
      try SGD(learningRate: 0.1).minimize(net.loss, parameters: [x], builder: net.builder)
    }
  }

  @Test func rateOfTheWrongShape() throws {
    let net = try Quadratic(.float32)
    expectError(.shape, "learning rate") {
      let rate = try net.builder.build { try data("rate", shape: [2]) }
      try SGD(learningRate: rate).minimize(net.loss, builder: net.builder)
    }
  }

  @Test func traitsOutOfRange() throws {
    var bad = ParameterTraits()
    bad.learningRate = .nan
    let net = try Quadratic(.float32, traits: [ParameterTraits(), bad])
    expectError(.attribute, "parameter \"large\": learning rate (Quadratic.swift:") {
      try SGD(learningRate: 0.1).minimize(net.loss, builder: net.builder)
    }
  }

  @Test func groupsOfTwoNorms() throws {
    var own = ParameterTraits()
    own.gradientClip = .globalNorm(2)
    let net = try Quadratic(.float32, traits: [ParameterTraits(), own])
    expectError(.attribute, "got 2.0 for \"large\", wanted 1.0") {
      try SGD(learningRate: 0.1, gradientClip: .globalNorm(1)).minimize(
        net.loss, builder: net.builder)
    }
  }
}
