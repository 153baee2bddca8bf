import ABNGraph
import ABNTensors
import ABNTestSupport
import InPlaceABN
import Testing

/// Every single-layer case through the whole engine: layer, differentiation, plan, run.
@Suite struct SingleLayerTests {
  static let cases = (GoldenCase.all(in: "golden") + GoldenCase.all(in: "truth")).filter { test in
    ["chain_", "upstream_", "two_consumers"].allSatisfy { !test.name.hasPrefix($0) }
  }

  @Test(arguments: cases) func layer(_ test: GoldenCase) throws {
    let arrays = try test.load()
    let dtype = arrays.dtype
    let mode = arrays.string("mode")!
    let builder = ProgramBuilder()
    var x: Variable!
    var y: Variable!
    var loss: Variable!
    try builder.build {
      x = try data("x", shape: arrays["x"].shape, dtype: dtype, stopsGradient: false)
      y = try inplaceABN(
        x, act: arrays.string("act") ?? "identity", isTest: mode == "test",
        momentum: .value(arrays.attribute("momentum")), epsilon: arrays.attribute("eps"),
        paramAttr: ParamAttr(name: "gamma", initializer: .array(arrays["gamma"])),
        biasAttr: ParamAttr(name: "beta", initializer: .array(arrays["beta"])),
        dataLayout: DataLayout(rawValue: arrays.string("layout")!)!, movingMeanName: "rm",
        movingVarianceName: "rv", useGlobalStats: mode == "global",
        actAlpha: arrays.attribute("alpha"))
      if mode != "test" {
        let dy = try data("dy", shape: arrays["dy"].shape, dtype: dtype)
        loss = try reduceSum(elementwiseMul(y, dy))
      }
    }
    let scope = Scope()
    let executor = Executor(backend: CPUBackend())
    try executor.run(builder.startup, scope: scope)
    scope["rm"] = arrays["rm"]
    scope["rv"] = arrays["rv"]
    func agree(_ name: String, _ got: Tensor) {
      expectClose(
        got.doubles, arrays["ref_\(name)"].doubles, tolerance: arrays.tolerance,
        "\(test.name) \(name)")
    }
    if mode == "test" {
      agree(
        "y",
        try executor.run(
          builder.main, feed: ["x": arrays["x"]], fetch: [y], scope: scope)[0])
      return
    }
    let parameters = ["gamma", "beta"].map { builder.main.variable(named: $0)! }
    let result = try builder.main.differentiated(loss, withRespectTo: [x] + parameters)
    let fetch: [any Fetchable] = [y] + ([x] + parameters).map { result.gradients[$0.id]! }
    var outputs: [Tensor] = []
    for _ in 0..<Int(arrays.number("steps") ?? 1) {
      outputs = try executor.run(
        result.program, feed: ["x": arrays["x"], "dy": arrays["dy"]], fetch: fetch, scope: scope)
    }
    for (name, got) in zip(["y", "dx", "dgamma", "dbeta"], outputs) { agree(name, got) }
    agree("moving_mean", scope["rm"]!)
    agree("moving_var", scope["rv"]!)
  }
}
