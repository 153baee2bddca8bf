import ABNFormats
import ABNGraph
import ABNRuntime

/// Where the time of one run of a compiled program goes: by role, by kind of step, by layer.
package struct StepCost: Sendable, Encodable {
  /// Steps of one name.
  package struct Part: Sendable, Encodable {
    package let name: String
    package let count: Int
    package let seconds: Double
  }

  /// The sum over all steps.
  package let seconds: Double
  package let forwardSeconds, backwardSeconds, updateSeconds: Double
  /// By kind and by layer, longest first; of many the first, and the rest as one part.
  package let kinds, layers: [Part]

  /// The most parts of each list.
  private static let mostParts = 40

  /// The cost of the steps as they were timed.
  package init(_ executable: Executable, _ profile: StepProfile) {
    let steps = executable.lowered.steps
    let run = steps.indices.filter {
      !executable.isConstant[$0] && profile.times.indices.contains($0)
    }
    func sum(_ indices: [Int]) -> Double { indices.reduce(0) { $0 + profile.seconds($1) } }
    func seconds(_ role: OperatorRole) -> Double {
      sum(run.filter { executable.role(of: steps[$0]) == role })
    }
    func parts(_ name: (Step) -> String) -> [Part] {
      let all = Dictionary(grouping: run) { name(steps[$0]) }
        .map { Part(name: $0, count: $1.count, seconds: sum($1)) }
        .sorted { ($1.seconds, $0.name) < ($0.seconds, $1.name) }
      guard all.count > Self.mostParts else { return all }
      let rest = all[(Self.mostParts - 1)...]
      return all.prefix(Self.mostParts - 1) + [
        Part(
          name: "\(rest.count) others", count: rest.reduce(0) { $0 + $1.count },
          seconds: rest.reduce(0) { $0 + $1.seconds })
      ]
    }
    self.seconds = sum(run)
    // A step without an operator is none of the three.
    (forwardSeconds, backwardSeconds) = (seconds(.forward), seconds(.backward))
    updateSeconds = seconds(.optimize)
    kinds = parts(\.name)
    layers = parts { $0.layer.isEmpty ? "(none)" : $0.layer }
  }
}
