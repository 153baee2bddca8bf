import ABNChecking
import Foundation
import InPlaceABN
import Testing

/// Random graphs with in-place layers anywhere, against the same graphs out of place, in float64:
/// forward values, all gradients, moving statistics.
///
/// `ABN_GRAPHS` sets how many graphs, `ABN_GRAPH_SEED` where the seeds begin.
@Suite struct RandomGraphTests {
  private static func number(_ name: String, _ value: Int) -> Int {
    ProcessInfo.processInfo.environment[name].flatMap { Int($0) } ?? value
  }

  private static let passes = memoryPasses + trainingPasses

  /// What differs between the two ways to run a graph, or is wrong with its plan; nil if nothing is.
  ///
  /// - Parameter fuses: whether the layer is what `fuseABN` makes, instead of what `inplaceABN` does.
  static func difference(_ graph: RandomGraph, fuses: Bool = false) throws -> String? {
    let got = try graph.run(inPlace: !fuses, passes: Self.passes, fuses: fuses)
    // Their plans, too, must be close to the least that is possible.
    if Double(got.arenaBytes) > 1.05 * Double(got.lowerBoundBytes) {
      return "an arena of \(got.arenaBytes) for a lower bound of \(got.lowerBoundBytes)"
    }
    return Comparison.difference(got, try graph.run(inPlace: false, passes: []))
  }

  /// The smallest graph, by leaving out node after node, for which `fails` still holds.
  static func shrunk(
    _ graph: RandomGraph, _ fails: (RandomGraph) -> Bool
  ) -> RandomGraph {
    var best = graph
    var index = best.nodes.count - 1
    while index >= 0 {
      var smaller = best
      if best.nodes.count > 1 {
        smaller = best.without(index)
        if fails(smaller) {
          best = smaller
        } else if best.nodes[index].isFetched {
          smaller = best
          smaller.nodes[index].isFetched = false
          if fails(smaller) { best = smaller }
        }
      }
      index -= 1
    }
    return best.nodes.count < graph.nodes.count ? shrunk(best, fails) : best
  }

  @Test(arguments: 0..<4) func sameAsOutOfPlace(_ quarter: Int) throws {
    let count = Self.number("ABN_GRAPHS", 1200) / 4
    let first = Self.number("ABN_GRAPH_SEED", 1) + quarter * count
    for seed in first..<first + count {
      let graph = RandomGraph(seed: UInt64(seed))
      guard let difference = try Self.difference(graph) else { continue }
      let small = Self.shrunk(graph) { (try? Self.difference($0)) ?? nil != nil }
      Issue.record(
        """
        seed \(seed): \(difference)
        shrunk to, where \(try Self.difference(small) ?? "it holds"):
        \(small)
        """)
      return
    }
  }

  /// The plan's sharing changes no bit: the same program with bytes of its own for every buffer, and
  /// in the checking mode, gives the same results.
  @Test func sameBitsAsWithoutSharing() throws {
    for seed in 5001...5150 {
      let graph = RandomGraph(seed: UInt64(seed))
      let compact = try graph.run(inPlace: true, passes: Self.passes, mode: .compact)
      for mode in [PlanningMode.separate, .guarded] {
        let other = try graph.run(inPlace: true, passes: Self.passes, mode: mode)
        let equal = compact.values.allSatisfy { name, values in
          other.values[name]?.map(\.bitPattern) == values.map(\.bitPattern)
        }
        #expect(equal, "seed \(seed), \(mode):\n\(graph)")
        #expect(other.arenaBytes >= compact.arenaBytes)
      }
    }
  }

  /// The same for layers that `fuseABN` has put in place.
  @Test func fusedIsTheSameToo() throws {
    var (fused, apart) = (0, 0)
    for seed in 5000..<5000 + Self.number("ABN_GRAPHS", 1200) / 8 {
      let graph = RandomGraph(seed: UInt64(seed))
      for outcome in try graph.run(inPlace: false, passes: [], fuses: true).fusions {
        if case .fused = outcome { fused += 1 } else { apart += 1 }
      }
      guard let difference = try Self.difference(graph, fuses: true) else { continue }
      let small = Self.shrunk(graph) { (try? Self.difference($0, fuses: true)) ?? nil != nil }
      Issue.record("seed \(seed): \(difference)\nshrunk to:\n\(small)")
      return
    }
    #expect(fused > 100 && apart > 100, "\(fused) fused, \(apart) not")
  }

  /// The graphs make the passes decide in every way there is.
  @Test func everyDecisionOccurs() throws {
    var counts: [PassDecision.Action: Int] = [:]
    for seed in 1...300 {
      let graph = RandomGraph(seed: UInt64(seed))
      for decision in try graph.run(inPlace: true, passes: Self.passes).decisions {
        counts[decision.action, default: 0] += 1
      }
    }
    for action in PassDecision.Action.allCases {
      #expect(counts[action, default: 0] >= 5, "\(action): \(counts)")
    }
  }

  /// A failing graph is cut down to the operators that matter.
  @Test func shrinking() {
    let graph = RandomGraph(seed: 3)
    let small = Self.shrunk(graph) { $0.nodes.contains { $0.kind == .add } }
    #expect(graph.nodes.contains { $0.kind == .add })
    #expect(small.nodes.map(\.kind) == [.add])
  }
}
