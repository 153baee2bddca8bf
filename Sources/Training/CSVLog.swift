import ABNFormats
import ABNTensors

/// Writes `log.csv`, a row a pass, and `steps.csv`, every so many steps one, into the run's folder.
///
/// A row is written when `epoch` or `step` returns, so that a kill loses none, and is flushed to
/// the disk before a checkpoint that knows of it. After a resumption the rows of later
/// steps are cut away, and what is told again takes the place of its row.
package final class CSVLog: TrainingObserver {
  /// The files in the run's folder.
  package static let name = "log.csv"
  package static let stepsName = "steps.csv"
  /// How often steps are told of: by whoever is not asked for another number.
  package static let usualStepsEvery = 10
  /// What comes before the name of a number of the validation.
  package static let validationPrefix = "val_"

  private let stepsEvery: Int
  private var epochs: GrowingTable?
  private var steps: GrowingTable?

  /// - Parameter stepsEvery: of this many steps the last one has a row; 0: none has.
  package init(stepsEvery: Int = CSVLog.usualStepsEvery) { self.stepsEvery = stepsEvery }

  package func began(_ run: RunRecord) throws {
    let limit = run.resumedStep > 0 ? run.resumedStep : nil
    epochs = try GrowingTable(
      path: "\(run.folder)/\(Self.name)", counter: "step", keepingUpTo: limit)
    guard stepsEvery > 0 else { return }
    steps = try GrowingTable(
      path: "\(run.folder)/\(Self.stepsName)", counter: "step", keepingUpTo: limit)
  }

  package func step(_ record: StepRecord) throws {
    guard stepsEvery > 0, record.step.isMultiple(of: stepsEvery) else { return }
    try steps?.append([
      ("step", "\(record.step)"), ("epoch", "\(record.epoch)"), ("loss", "\(record.loss)"),
      ("accuracy", Self.text(record.accuracy)), ("learning_rate", "\(record.learningRate)"),
      ("images_per_second", Self.rounded(record.imagesPerSecond)),
      ("wait_share", Self.rounded(record.waitShare)),
    ])
  }

  package func epoch(_ record: EpochRecord) throws {
    try epochs?.append(
      [
        ("epoch", "\(record.epoch)"), ("step", "\(record.step)"),
        ("train_loss", "\(record.trainLoss)"), ("train_accuracy", Self.text(record.trainAccuracy)),
      ]
        + record.validation.map { (Self.validationPrefix + $0.name, "\($0.value)") }
        + [
          ("learning_rate", "\(record.learningRate)"),
          ("images_per_second", Self.rounded(record.imagesPerSecond)),
          ("wait_share", Self.rounded(record.waitShare)),
          ("seconds", Self.rounded(record.seconds)), ("is_best", record.isBest ? "1" : "0"),
        ])
  }

  package func willSaveCheckpoint(step: Int) throws { try flush() }

  package func ended(_ record: EndRecord) throws { try flush() }

  private func flush() throws {
    try epochs?.flush()
    try steps?.flush()
  }

  private static func text(_ value: Double?) -> String { value.map { "\($0)" } ?? "" }

  /// What was measured with a clock, to a ten-thousandth.
  private static func rounded(_ value: Double) -> String {
    value.isFinite ? "\((value * 10_000).rounded() / 10_000)" : "\(value)"
  }
}
