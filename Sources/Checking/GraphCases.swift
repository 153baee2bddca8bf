import ABNGraph
import ABNLayers
import ABNTensors

extension CheckCase {
  /// Random graphs, of up to 30 operators, of 16 bits up to 18: what rounding does to more of them
  /// is anything. A kink or the winner of a pooling may turn around in one element, so that they
  /// are measured by the root of the mean square, and by `least` where gradients cancel.
  static func graphCases() -> [CheckCase] {
    (1...24).flatMap { seed in
      let graph = RandomGraph(seed: UInt64(seed))
      let dtypes: [DType] = graph.nodes.count <= 18 ? [.float32, .bfloat16] : [.float32]
      return dtypes.map { dtype in
        CheckCase(
          .graphs, "graph \(seed), \(graph.nodes.count) operators", dtype,
          bound: CheckBound(
            dtype.isNarrow ? 0.25 : 1e-4, .rootMeanSquare, least: 0.1, unitsOfProducts: 64),
          // Values that 16 bits make equal have another winner.
          needsExactProducts: dtypes.count == 1 || graph.nodes.contains { $0.kind == .maxPool }
        ) { types in
          try CheckProgram([.random(RandomGraph.shape)], types) { given in
            let built = try graph.append(to: given[0], inPlace: true)
            return built.ends + built.fetched.filter { !built.ends.contains($0) }
          }
        }
      }
    }
  }
}
