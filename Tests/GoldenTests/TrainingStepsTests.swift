import ABNGraph
import ABNTensors
import ABNTestSupport
import InPlaceABN
import Testing

/// The documented chain under SGD for several runs: losses, parameters and moving statistics.
@Suite struct TrainingStepsTests {
  static let cases = GoldenCase.all(in: "golden").filter { $0.name.hasPrefix("chain_doc_sgd") }

  @Test(arguments: cases) func steps(_ test: GoldenCase) throws {
    let arrays = try test.load()
    let builder = ProgramBuilder()
    var loss: Variable!
    try builder.build {
      let x = try data("x", shape: arrays["x"].shape, dtype: arrays.dtype)
      let target = try data("target", shape: arrays["target"].shape, dtype: arrays.dtype)
      let hidden1 = try fc(x, size: 6, paramAttr: "fc1.w")
      // The defaults, the slope and the rate as the original rounds them to float32.
      let momentum = Momentum.value(Double(Float(0.9)))
      let epsilon = Double(Float(1e-5))
      let hidden2 = try inplaceABN(hidden1, momentum: momentum, epsilon: epsilon)
      let y = try inplaceABN(
        hidden2, act: "leaky_relu", momentum: momentum, epsilon: epsilon,
        actAlpha: Double(Float(0.2)))
      let difference = try elementwiseSub(y, target)
      loss = try mean(elementwiseMul(difference, difference))
      try SGD(learningRate: Double(Float(0.1))).minimize(loss)
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
