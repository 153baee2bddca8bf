import ABNChecking
import InPlaceABN

extension RandomGraph {
  /// Runs the graph once.
  func run(
    inPlace: Bool, passes: [any ProgramPass], mode: PlanningMode? = nil, fuses: Bool = false
  ) throws -> Comparison.Results {
    let comparison = Comparison(inPlace: inPlace, passes: passes, mode: mode, fuses: fuses)
    return try comparison.run(shape: Self.shape) { try append(to: $0, inPlace: inPlace) }
  }
}
