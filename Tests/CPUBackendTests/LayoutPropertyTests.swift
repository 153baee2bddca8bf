import ABNGraph
import ABNTensors
import ABNTestSupport
import InPlaceABN
import Testing

/// The layout in which an image stands in memory is nobody's business: random graphs whose layers
/// disagree on where the channels are give what they give with every image row-major, and in
/// float64 by the plain loops.
@Suite struct LayoutPropertyTests {
  /// What a run gives, by name.
  typealias Results = [String: [Double]]

  /// Runs a graph and its gradients once.
  ///
  /// - Parameter data: which random numbers are fed.
  static func run(
    _ graph: LayoutGraph, _ dtype: DType, usesBlocks: Bool, data: UInt64
  ) throws -> Results {
    let builder = ProgramBuilder(seed: 5)
    var x: Variable!
    var fetched: [Variable] = []
    let loss = try builder.build {
      x = try InPlaceABN.data("x", shape: graph.shape, dtype: dtype, stopsGradient: false)
      let built = try graph.append(to: x)
      fetched = built.fetched
      return try sums(
        built.ends.enumerated().map { index, end in
          let weight = try InPlaceABN.data("w\(index)", shape: end.shape, dtype: dtype)
          return try reduceMean(elementwiseMul(end, weight))
        })
    }
    let parameters = builder.main.parameters.filter { $0.parameterTraits!.trainable }
    let result = try builder.main.differentiated(loss, withRespectTo: [x] + parameters)
    var wanted: [(name: String, variable: Variable)] = [("loss", loss)]
    wanted += fetched.enumerated().map { ("fetched \($0.offset)", $0.element) }
    for variable in [x!] + parameters {
      guard let gradient = result.gradients[variable.id] else { continue }
      wanted.append(("gradient of \(variable.name)", gradient))
    }
    let variables = wanted.map(\.variable)
    let used = Set(
      result.program.pruned(to: variables.map(\.id)).operators.flatMap(\.inputs)
        + variables.map(\.id))
    var feed: [String: Tensor] = [:]
    for variable in result.program.variables
    where variable.role == .data && used.contains(variable.id) {
      let random = CounterRandom(seed: data, stream: UInt64(variable.name.dropFirst()) ?? 99)
      // Numbers that float32 holds.
      let numbers = (0..<variable.shape.elementCount).map {
        Double(Float(random.uniform(UInt64($0)) * 4 - 2))
      }
      feed[variable.name] = Tensor(numbers, shape: variable.shape).cast(to: dtype)
    }
    let (executor, scope) = (
      Executor(
        backend: CPUBackend(usesBlocks: usesBlocks),
        mode: usesBlocks && dtype == .float32 ? .guarded : nil), Scope()
    )
    try executor.run(builder.startup, scope: scope)
    // The same parameters in every type.
    for parameter in parameters where parameter.dtype == .float64 {
      scope[parameter.name] = scope[parameter.name]!.cast(to: .float32).cast(to: .float64)
    }
    let outputs = try executor.run(result.program, feed: feed, fetch: variables, scope: scope)
    var all = Dictionary(uniqueKeysWithValues: zip(wanted.map(\.name), outputs.map(\.doubles)))
    for state in builder.main.persistables where state.role == .state {
      all["value of \(state.name)"] = scope[state.name]!.doubles
    }
    return all
  }

  /// The first difference between two runs; nil if there is none.
  ///
  /// The bound, a thousandth of the largest number of a result, leaves room for what ten layers
  /// make of float32's rounding; an axis taken for another is off by all of it.
  static func difference(_ got: Results, _ wanted: Results, _ what: String) -> String? {
    let gradients = wanted.filter { $0.key.hasPrefix("gradient") }.values.joined()
    let largest = gradients.reduce(0) { max($0, abs($1)) }
    for name in wanted.keys.sorted() {
      let right = wanted[name]!
      guard let values = got[name], values.count == right.count else { return "\(name) is missing" }
      // A gradient may be zero but for rounding, as that of what a normalization takes away.
      let least = name.hasPrefix("gradient") ? 0.05 * largest : 0.05
      let size = max(least, right.reduce(0) { max($0, abs($1)) })
      for (index, (a, b)) in zip(values, right).enumerated() where !(abs(a - b) <= 1e-3 * size) {
        return "\(name)[\(index)]: \(a), \(what) \(b)"
      }
    }
    return nil
  }

  /// What is wrong with a graph; nil if nothing is. A difference counts where it is there for other
  /// numbers too: an element beside a kink, or two that are nearly the largest, may fall to either
  /// side.
  ///
  /// - Parameter inFloat64: whether float64 is asked too, whose plain convolutions take long.
  static func fault(_ graph: LayoutGraph, inFloat64: Bool = true) throws -> String? {
    var first: String?
    for data in [UInt64(9), 10, 11] {
      let got = try run(graph, .float32, usesBlocks: true, data: data)
      let plain = try run(graph, .float32, usesBlocks: false, data: data)
      var found = difference(got, plain, "in rows")
      if found == nil, inFloat64 {
        let exact = try run(graph, .float64, usesBlocks: true, data: data)
        found = difference(got, exact, "in float64")
      }
      guard let found else { return nil }
      first = first ?? found
    }
    return first
  }

  /// The smallest graph, by leaving out node after node, that still fails.
  static func shrunk(_ graph: LayoutGraph) -> LayoutGraph {
    for index in graph.nodes.indices.reversed() where graph.nodes.count > 1 {
      let smaller = graph.without(index)
      if (try? fault(smaller)) ?? nil != nil { return shrunk(smaller) }
    }
    return graph
  }

  @Test(arguments: 0..<4) func layoutsChangeNothing(_ quarter: Int) throws {
    let count = 6 * soakFactor
    for seed in soakSeed + UInt64(quarter * count)..<soakSeed + UInt64((quarter + 1) * count) {
      let graph = LayoutGraph(seed: seed)
      guard let fault = try Self.fault(graph, inFloat64: seed % 8 == 0) else { continue }
      let small = Self.shrunk(graph)
      Issue.record(
        """
        seed \(seed): \(fault)
        shrunk to, where \(try Self.fault(small) ?? "it holds"):
        \(small)
        """)
      return
    }
  }

  /// The graphs have images in blocks: the comparison compares something.
  @Test func blocksOccur() throws {
    var plain = 0
    var blocked = 0
    for seed in UInt64(1)...8 {
      let graph = LayoutGraph(seed: seed)
      for usesBlocks in [true, false] {
        let builder = ProgramBuilder(seed: 5)
        let ends = try builder.build {
          try graph.append(to: data("x", shape: graph.shape)).ends
        }
        let executable = try Executor(backend: CPUBackend(usesBlocks: usesBlocks)).compile(
          builder.main, feed: ["x": graph.shape], fetch: ends)
        let count = executable.lowered.steps.count { $0.name.hasPrefix("reorder") }
        if usesBlocks { blocked += count } else { plain += count }
      }
    }
    #expect(plain == 0)
    // Without oneDNN's AVX kernels convolutions may like rows best.
    print("\(blocked) conversions of images in 8 graphs")
  }
}
