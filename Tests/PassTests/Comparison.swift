import ABNChecking
import ABNGraph
import ABNTensors
import InPlaceABN

/// One side of a comparison: a float64 graph with its normalizations in place or apart, run once.
struct Comparison {
  let inPlace: Bool
  let passes: [any ProgramPass]
  var mode: PlanningMode? = nil
  /// Whether `fuseABN` puts in place what was built apart.
  var fuses = false

  /// What a run gives.
  struct Results {
    /// The loss, the fetched variables, all gradients and moving statistics, by name.
    var values: [String: [Double]]
    var decisions: [PassDecision]
    var arenaBytes: Int
    var lowerBoundBytes: Int
    /// The kinds of the program's operators.
    var kinds: Set<String>
    /// What `fuseABN` made of each `batch_norm`.
    var fusions: [FusedABN.Outcome]
  }

  /// Builds a graph over x, differentiates the weighted sum of its ends, and runs it.
  func run(
    shape: Shape, _ build: (Variable) throws -> (ends: [Variable], fetched: [Variable])
  ) throws -> Results {
    let builder = ProgramBuilder(seed: 5)
    var x: Variable!
    var fetched: [Variable] = []
    let loss = try builder.build {
      x = try data("x", shape: shape, dtype: .float64, stopsGradient: false)
      let built = try build(x)
      fetched = built.fetched
      return try sums(
        built.ends.enumerated().map { index, end in
          let weight = try data("w\(index)", shape: end.shape, dtype: .float64)
          return try reduceSum(elementwiseMul(end, weight))
        })
    }
    let fusions = fuses ? try builder.fuseABN(keeping: fetched).entries.map(\.outcome) : []
    let parameters = builder.main.parameters.filter { $0.parameterTraits!.trainable }
    let result = try builder.main.differentiated(loss, withRespectTo: [x] + parameters)
    var wanted: [(name: String, variable: Variable)] = [("loss", loss)]
    wanted += fetched.enumerated().map { ("fetched \($0.offset)", $0.element) }
    for variable in [x!] + parameters {
      if let gradient = result.gradients[variable.id] {
        wanted.append(("gradient of \(variable.name)", gradient))
      }
    }
    let variables = wanted.map(\.variable)
    let used = Set(
      result.program.pruned(to: variables.map(\.id)).operators.flatMap(\.inputs)
        + variables.map(\.id))
    var feed: [String: Tensor] = [:]
    for variable in result.program.variables where variable.role == .data {
      guard used.contains(variable.id) else { continue }
      let random = CounterRandom(seed: 9, stream: UInt64(variable.name.dropFirst()) ?? 99)
      feed[variable.name] = Tensor(
        (0..<variable.shape.elementCount).map { random.uniform(UInt64($0)) * 4 - 2 },
        shape: variable.shape)
    }
    let (executor, scope) = (Executor(backend: CPUBackend(passes: passes), mode: mode), Scope())
    try executor.run(builder.startup, scope: scope)
    let outputs = try executor.run(result.program, feed: feed, fetch: variables, scope: scope)
    var all = Dictionary(uniqueKeysWithValues: zip(wanted.map(\.name), outputs.map(\.doubles)))
    for state in builder.main.persistables where state.name.contains(".w_") {
      all["value of \(state.name)"] = scope[state.name]!.doubles
    }
    let compiled = try executor.compile(
      result.program, feed: feed.mapValues(\.shape), fetch: variables)
    return Results(
      values: all, decisions: compiled.decisions, arenaBytes: compiled.plan.arenaBytes,
      lowerBoundBytes: compiled.plan.lowerBoundBytes,
      kinds: Set(result.program.operators.map { type(of: $0.kind).kindName }), fusions: fusions)
  }

  /// The first difference between two runs; nil if there is none.
  ///
  /// The bound is 1e-8 of the largest magnitude of a result: both sides are float64, and up to 30
  /// operators, normalizations of small variances among them, pass on their rounding.
  static func difference(_ got: Results, _ wanted: Results) -> String? {
    for name in wanted.values.keys.sorted() {
      let right = wanted.values[name]!
      guard let values = got.values[name], values.count == right.count else {
        return "\(name) is missing"
      }
      let size = max(1, right.map(Swift.abs).max() ?? 0)
      for (index, (a, b)) in zip(values, right).enumerated()
      where !(Swift.abs(a - b) <= 1e-8 * size) && !(a.isNaN && b.isNaN) && a != b {
        return "\(name)[\(index)]: \(a), out of place \(b)"
      }
    }
    return nil
  }
}
