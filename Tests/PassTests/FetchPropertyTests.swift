import ABNChecking
import ABNTestSupport
import InPlaceABN
import Testing

/// Fetching a value keeps it: what is computed from it may change in its last bits, where a pass would have
/// computed it back or fused it away, and nowhere else.
@Suite struct FetchPropertyTests {
  /// The largest difference of values that both runs give, in parts of the largest of each variable, or of a
  /// millionth of the largest of all: a gradient that is 0 but for roundings has no digits of its own.
  private static func difference(
    _ a: Comparison.Results, _ b: Comparison.Results
  ) -> (name: String, share: Double) {
    func top(_ values: [Double]) -> Double { values.reduce(0) { max($0, $1.magnitude) } }
    var worst = ("", 0.0)
    let least = a.values.values.map(top).filter(\.isFinite).max().map { $0 * 1e-6 } ?? 0
    for (name, values) in a.values {
      guard let others = b.values[name] else { continue }
      let largest = max(top(values), least)
      for (x, y) in zip(values, others) where x != y && !(x.isNaN && y.isNaN) {
        let share = (x - y).magnitude / largest
        if !(share <= worst.1) { worst = (name, share) }
      }
    }
    return worst
  }

  @Test func everythingAgainstNothing() throws {
    let passes = memoryPasses + trainingPasses
    for number in 0..<UInt64(20 * soakFactor) {
      let seed = soakSeed &+ number
      var (all, none) = (RandomGraph(seed: seed), RandomGraph(seed: seed))
      for index in all.nodes.indices {
        all.nodes[index].isFetched = true
        none.nodes[index].isFetched = false
      }
      let plain = Self.difference(
        try none.run(inPlace: true, passes: []), try all.run(inPlace: true, passes: []))
      #expect(plain.share == 0, "seed \(seed), without passes: \(plain)")
      // float64: some thousand roundings.
      let passed = Self.difference(
        try none.run(inPlace: true, passes: passes), try all.run(inPlace: true, passes: passes))
      #expect(passed.share < 1e-9, "seed \(seed): \(passed)")
    }
  }
}
