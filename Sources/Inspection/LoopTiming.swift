import ABNActivations
import ABNGraph
import ABNLayers
import ABNOperators
import ABNOptimizers
import ABNRuntime
import ABNTensors

/// The time of a layer, or of an update of parameters, among the steps of a small graph.
package struct LoopTiming: Sendable, Codable {
  /// Seconds of the forward steps, and of the backward ones: medians.
  package let forwardSeconds, backwardSeconds: Double
  /// Bytes that the steps read and write, without scratch.
  package let bytes: Int
  /// The least time for those bytes at the bandwidth of the memory, measured in the same run.
  package let floorSeconds: Double
  /// What others did meanwhile.
  package let load: MachineLoad
  /// Why the times are not to be trusted; nil where nothing speaks against them.
  package let doubt: String?
  /// Forward and backward over the floor.
  package var ratioToFloor: Double { (forwardSeconds + backwardSeconds) / floorSeconds }
}

/// Times the in-place layer with an activation in a small graph, on random data: what `inplaceABN`
/// appends, forward and backward, behind an operator that makes its input and before one that
/// makes its gradient.
///
/// - Parameters:
///   - shape: batch first; channels where the layout has them.
/// - Throws: as `inplaceABN`, and `ABNError(.unsupported)` in the checking mode.
package func timeLayer(
  _ activation: Activation, shape: Shape, dtype: DType, layout: DataLayout,
  backend: any FloorMeasuring, rounds: Int = 15
) throws -> LoopTiming {
  let builder = ProgramBuilder(seed: 1)
  // The sum keeps the result alive.
  let (x, z, sum, dz) = try builder.build {
    let x = try data("x", shape: shape, dtype: dtype, stopsGradient: false)
    let z = try inplaceABN(
      scale(x, factor: 1.5), act: activation, dataLayout: layout, name: "timed")
    return (x, z, try reduceSum(z), try data("dz", shape: shape, dtype: dtype))
  }
  let result = try builder.main.differentiated(z, withRespectTo: [x], seed: dz)
  let layers = Set(result.program.operators.map(\.layer).filter { $0.hasPrefix("timed") })
  return try timeSteps(
    of: result.program, startup: builder.startup, fetch: [sum, result.gradients[x.id]!],
    feed: ["x": shape, "dz": shape], dtype: dtype, backend: backend, rounds: rounds
  ) { layers.contains($0.layer) }
}

/// Times one step of Adam on a matrix of parameters whose gradient was just made.
package func timeAdam(
  elements: Int, backend: any FloorMeasuring, rounds: Int = 9
) throws -> LoopTiming {
  let side = max(1, Int(Double(max(1, elements)).squareRoot()))
  let builder = ProgramBuilder(seed: 1)
  let loss = try builder.build {
    let x = try data("x", shape: [1, side])
    let loss = try mean(fc(x, size: side, biasAttr: .absent))
    _ = try Adam(learningRate: 0.001).minimize(loss)
    return loss
  }
  return try timeSteps(
    of: builder.main, startup: builder.startup, fetch: [loss], feed: ["x": [1, side]],
    dtype: .float32, backend: backend, rounds: rounds
  ) { $0.name == "adam" }
}

/// The medians of the steps that are meant.
private func timeSteps(
  of program: Program, startup: Program, fetch fetched: [Variable],
  feed shapes: [String: Shape], dtype: DType, backend: any FloorMeasuring, rounds: Int,
  _ isMeant: (Step) -> Bool
) throws -> LoopTiming {
  let executor = Executor(backend: backend, memoryLimit: .none)
  let scope = Scope()
  try executor.run(startup, scope: scope)
  var feed: [String: Tensor] = [:]
  for (stream, (name, shape)) in shapes.sorted(by: { $0.key < $1.key }).enumerated() {
    let random = CounterRandom(seed: 1, stream: UInt64(stream))
    feed[name] = Tensor(
      (0..<shape.elementCount).map { Float(2 * random.uniform(UInt64($0)) - 1) }, shape: shape
    ).cast(to: dtype)
  }
  let executable = try executor.compile(program, feed: shapes, fetch: fetched)
  let steps = executable.lowered.steps
  let meter = LoadMeter()
  var times: [(forward: Double, backward: Double)] = []
  let meant = steps.indices.filter { isMeant(steps[$0]) && !executable.isConstant[$0] }
  for round in 0...rounds {
    let profile = try executor.profile(program, feed: feed, fetch: fetched, scope: scope).profile
    if round == 0 { continue }
    var time = (forward: 0.0, backward: 0.0)
    for index in meant {
      let role = steps[index].op.map { executable.program?.operators[$0].role } ?? nil
      if role == .forward {
        time.forward += profile.seconds(index)
      } else {
        time.backward += profile.seconds(index)
      }
    }
    times.append(time)
  }
  let rates = try backend.machineRates()
  let load = meter.load(threads: backend.threads)
  let traffic = meant.map { executable.lowered.traffic(of: steps[$0]) }
  func median(_ values: [Double]) -> Double { values.sorted()[values.count / 2] }
  return LoopTiming(
    forwardSeconds: median(times.map(\.forward)), backwardSeconds: median(times.map(\.backward)),
    bytes: traffic.reduce(0) { $0 + $1.read + $1.written },
    floorSeconds: traffic.reduce(0) { $0 + rates.seconds(reading: $1.read, writing: $1.written) },
    load: load, doubt: load.doubt)
}
