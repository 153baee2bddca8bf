import ABNFormats

/// Gives a run as JSON, an object a line: `{"event":"began",...}`, `step` every so many steps,
/// `epoch`, `ended`. The members are those of the records, in the order of their names.
package final class JSONLines: TrainingObserver {
  private let stepsEvery: Int
  private let write: (String) throws -> Void

  /// - Parameters:
  ///   - stepsEvery: of this many steps the last one is told of; 0: none is.
  ///   - write: takes a line with its line break, and gives it away at once.
  package init(
    stepsEvery: Int = CSVLog.usualStepsEvery, write: @escaping (String) throws -> Void
  ) {
    (self.stepsEvery, self.write) = (stepsEvery, write)
  }

  package func began(_ run: RunRecord) throws { try tell("began", run) }

  package func step(_ record: StepRecord) throws {
    guard stepsEvery > 0, record.step.isMultiple(of: stepsEvery) else { return }
    try tell("step", record)
  }

  /// The validation is an object by its names.
  package func epoch(_ record: EpochRecord) throws {
    guard case .object(let members) = try JSON(encoding: record) else { return }
    let validation = JSON.object(record.validation.map { ($0.name, .number($0.value)) })
    try tell("epoch", members.map { ($0.name, $0.name == "validation" ? validation : $0.value) })
  }

  package func ended(_ record: EndRecord) throws { try tell("ended", record) }

  private func tell(_ event: String, _ record: some Encodable) throws {
    guard case .object(let members) = try JSON(encoding: record) else { return }
    try tell(event, members)
  }

  private func tell(_ event: String, _ members: [(name: String, value: JSON)]) throws {
    try write(JSON.object([("event", .string(event))] + members).line + "\n")
  }
}
