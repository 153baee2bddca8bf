import ABNGraph
import ABNTensors
import ABNTestSupport
import InPlaceABN
import Testing

/// Cases of several layers: the documented chain, neighbours whose gradient reads the overwritten
/// input, and a second reader of that input.
@Suite struct NeighbourTests {
  static let chains = GoldenCase.all(in: "golden").filter {
    $0.name == "chain_doc_default" || $0.name == "chain_doc_random64"
  }

  @Test(arguments: chains) func chain(_ test: GoldenCase) throws {
    let arrays = try test.load()
    let builder = ProgramBuilder()
    var y: Variable!
    var loss: Variable!
    try builder.build {
      let x = try data("x", shape: arrays["x"].shape, dtype: arrays.dtype)
      let hidden1 = try fc(x, size: 6, paramAttr: "fc1.w")
      // The defaults and 0.2, as the original rounds them to float32.
      let momentum = StatisticsMomentum.value(Double(Float(0.9)))
      let epsilon = Double(Float(1e-5))
      let hidden2 = try inplaceABN(hidden1, momentum: momentum, epsilon: epsilon)
      y = try inplaceABN(
        hidden2, act: "leaky_relu", momentum: momentum, epsilon: epsilon,
        actAlpha: Double(Float(0.2)))
      let dy = try data("dy", shape: arrays["dy"].shape, dtype: arrays.dtype)
      loss = try reduceSum(elementwiseMul(y, dy))
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
    let program = try builder.main.differentiated(loss).program
    let names = arrays.names("ref_grad_")
    let outputs = try executor.run(
      program, feed: ["x": arrays["x"], "dy": arrays["dy"]],
      fetch: [y] + names.map { "\($0)@GRAD" }, scope: scope)
    expectClose(outputs[0].doubles, arrays["ref_y"].doubles, tolerance: arrays.tolerance, "y")
    // The gradient of a bias before a normalization is rounding: held against the incoming
    // gradient's sums, as the cases do.
    let floor = 1e-2 * columnSums(arrays["dy"])
    for (name, got) in zip(names, outputs.dropFirst()) {
      let wanted = arrays["ref_grad_\(name)"].doubles
      let scale = max(wanted.map(abs).max()!, floor)
      let worst = zip(got.doubles, wanted).map { abs($0 - $1) }.max()!
      #expect(worst <= arrays.tolerance * scale, "\(name): off by \(worst) of \(scale)")
    }
    for name in arrays.names("ref_stat_") {
      // Against at least 1e-2, as the cases do: a mean of 0 is rounding.
      let wanted = arrays["ref_stat_\(name)"].doubles
      let scale = max(wanted.map(abs).max()!, 1e-2)
      let worst = zip(scope[name]!.doubles, wanted).map { abs($0 - $1) }.max()!
      #expect(worst <= arrays.tolerance * scale, "\(name): off by \(worst) of \(scale)")
    }
  }

  private func columnSums(_ tensor: Tensor) -> Double {
    let columns = tensor.shape[1]
    var sums = [Double](repeating: 0, count: columns)
    for (index, value) in tensor.doubles.enumerated() { sums[index % columns] += abs(value) }
    return sums.max()!
  }

  static let upstream = (GoldenCase.all(in: "golden") + GoldenCase.all(in: "truth")).filter {
    $0.name.hasPrefix("upstream_")
  }

  @Test(arguments: upstream) func neighbour(_ test: GoldenCase) throws {
    let arrays = try test.load()
    let (kind, activation, alpha): (String, Activation, Double) =
      switch test.name {
      case "upstream_tanh_leaky": ("tanh", .leakyReLU(), 0.1)
      case "upstream_relu_elu": ("relu", .elu(), 1)
      default: ("maxpool", .leakyReLU(), 0.1)
      }
    let builder = ProgramBuilder()
    var x: Variable!
    var y: Variable!
    var loss: Variable!
    try builder.build {
      x = try data("x", shape: arrays["x"].shape, dtype: arrays.dtype, stopsGradient: false)
      let h =
        switch kind {
        case "tanh": try tanh(x)
        case "relu": try relu(x)
        default: try pool2d(x, poolSize: 2, poolStride: 2)
        }
      y = try inplaceABN(
        h, act: activation.with(alpha: alpha),
        paramAttr: ParamAttr(name: "g", initializer: .array(arrays["gamma"])),
        biasAttr: ParamAttr(name: "b", initializer: .array(arrays["beta"])))
      let dy = try data("dy", shape: arrays["dy"].shape, dtype: arrays.dtype)
      loss = try reduceSum(elementwiseMul(y, dy))
    }
    let parameters = ["g", "b"].map { builder.main.variable(named: $0)! }
    let result = try builder.main.differentiated(loss, withRespectTo: [x] + parameters)
    let scope = Scope()
    let executor = Executor(backend: CPUBackend())
    try executor.run(builder.startup, scope: scope)
    let outputs = try executor.run(
      result.program, feed: ["x": arrays["x"], "dy": arrays["dy"]],
      fetch: [y] + ([x] + parameters).map { result.gradients[$0.id]! }, scope: scope)
    for (name, got) in zip(["y", "dx", "dgamma", "dbeta"], outputs) {
      expectClose(
        got.doubles, arrays["ref_\(name)"].doubles, tolerance: arrays.tolerance,
        "\(test.name) \(name)")
    }
  }

  static let consumers = GoldenCase.all(in: "truth").filter { $0.name == "two_consumers_add" }

  @Test(arguments: consumers) func twoConsumers(_ test: GoldenCase) throws {
    let arrays = try test.load()
    let builder = ProgramBuilder()
    var x: Variable!
    var sum: Variable!
    var loss: Variable!
    try builder.build {
      x = try data("x", shape: arrays["x"].shape, stopsGradient: false)
      let h = try scale(x, factor: 1.5)
      sum = try elementwiseAdd(inplaceABN(h, act: "leaky_relu", actAlpha: 0.2), h)
      let dy = try data("dy", shape: arrays["dy"].shape)
      loss = try reduceSum(elementwiseMul(sum, dy))
    }
    let result = try builder.main.differentiated(loss, withRespectTo: [x])
    let scope = Scope()
    let executor = Executor(backend: CPUBackend())
    try executor.run(builder.startup, scope: scope)
    let outputs = try executor.run(
      result.program, feed: ["x": arrays["x"], "dy": arrays["dy"]],
      fetch: [sum, result.gradients[x.id]!], scope: scope)
    expectClose(
      outputs[0].doubles, arrays["ref_out_if_h_kept"].doubles, tolerance: arrays.tolerance, "out")
    expectClose(
      outputs[1].doubles, arrays["ref_dx_if_h_kept"].doubles, tolerance: arrays.tolerance, "dx")
  }
}
