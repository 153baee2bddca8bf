import ABNGraph
import ABNTensors
import ABNTestSupport
import DocumentedExample
import InPlaceABN
import Testing

/// The documented example under SGD for several runs: losses, parameters and moving statistics.
@Suite struct TrainingStepsTests {
  /// `Examples/DocumentedExample` as it stands, float32, against the original's five steps.
  @Test(arguments: cases.filter { $0.name == "chain_doc_sgd5" })
  func documentedExample(_ test: GoldenCase) throws {
    let rate = Double(Float(0.1))
    try check(test.load(), learningRate: rate) { try documentedLayers($0, size: 6) }
  }

  static let cases = GoldenCase.all(in: "golden").filter { $0.name.hasPrefix("chain_doc_sgd") }

  /// The same layers with every attribute as the original rounds it to float32, float64 too.
  @Test(arguments: cases) func steps(_ test: GoldenCase) throws {
    try check(test.load(), learningRate: Double(Float(0.1))) { x in
      let hidden1 = try fc(x, size: 6, paramAttr: "fc1.w")
      let momentum = StatisticsMomentum.value(Double(Float(0.9)))
      let epsilon = Double(Float(1e-5))
      let hidden2 = try inplaceABN(hidden1, momentum: momentum, epsilon: epsilon)
      return try inplaceABN(
        hidden2, act: "leaky_relu", momentum: momentum, epsilon: epsilon,
        actAlpha: Double(Float(0.2)))
    }
  }

  private func check(
    _ arrays: Arrays, learningRate: Double, _ layers: (Variable) throws -> Variable
  ) throws {
    let builder = ProgramBuilder()
    var loss: Variable!
    try builder.build {
      let x = try data("x", shape: arrays["x"].shape, dtype: arrays.dtype)
      let target = try data("target", shape: arrays["target"].shape, dtype: arrays.dtype)
      let y = try layers(x)
      let difference = try elementwiseSub(y, target)
      loss = try mean(elementwiseMul(difference, difference))
      try SGD(learningRate: learningRate).minimize(loss)
    }
    let scope = Scope()
    let executor = Executor(backend: CPUBackend())
    try executor.run(builder.startup, scope: scope)
    for prefix in ["param_", "stat_"] {
      for name in arrays.names(prefix) {
        #expect(scope[name] != nil, "the name \(name) of the original is not in the program")
        scope[name] = arrays[prefix + name]
      }
    }
    let losses = try arrays["ref_losses"].doubles.map { _ in
      try executor.run(
        builder.main, feed: ["x": arrays["x"], "target": arrays["target"]], fetch: [loss],
        scope: scope)[0].doubles[0]
    }
    expectClose(losses, arrays["ref_losses"].doubles, tolerance: arrays.tolerance, "losses")
    for prefix in ["ref_final_", "ref_stat_"] {
      for name in arrays.names(prefix) {
        // Against at least 1e-2, as the cases do: what should be 0 is rounding.
        let wanted = arrays[prefix + name].doubles
        let scale = max(wanted.map(abs).max()!, 1e-2)
        let worst = zip(scope[name]!.doubles, wanted).map { abs($0 - $1) }.max()!
        #expect(worst <= arrays.tolerance * scale, "\(name): off by \(worst) of \(scale)")
      }
    }
  }
}
