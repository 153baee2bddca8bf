import ABNFormats
import ABNTensors

/// Writes a file of events for TensorBoard into the run's folder, a new one each time that the run
/// goes on.
///
/// Curves over the steps: `train/loss`, `train/accuracy`, `learning_rate`, `images_per_second` and
/// `wait_share` every so many steps; after each pass `epoch/train_loss`, `epoch/train_accuracy` and
/// `val/...`. Histograms of the weights under `weights/...`, pictures under their names, the
/// settings as text.
package final class TensorBoardLog: TrainingObserver {
  private let stepsEvery: Int
  private var file: TensorBoardFile?

  /// - Parameter stepsEvery: of this many steps the last one is a point of the curves; 0: none is.
  package init(stepsEvery: Int = CSVLog.usualStepsEvery) { self.stepsEvery = stepsEvery }

  package func began(_ run: RunRecord) throws {
    let resumed = run.resumedStep > 0 ? run.resumedStep + 1 : nil
    let file = try TensorBoardFile(folder: run.folder, purgingFrom: resumed)
    self.file = file
    try file.append(step: run.resumedStep, [("settings", .text(Self.table(run.settings)))])
  }

  /// A table in Markdown.
  private static func table(_ settings: [String: String]) -> String {
    let rows = settings.sorted { $0.key < $1.key }.map {
      let value = DisplayText.line($0.value).split(separator: "|", omittingEmptySubsequences: false)
      return "| \($0.key) | \(value.joined(separator: "\\|")) |\n"
    }
    return "| setting | value |\n|---|---|\n" + rows.joined()
  }

  package func step(_ record: StepRecord) throws {
    guard stepsEvery > 0, record.step.isMultiple(of: stepsEvery) else { return }
    try append(
      record.step,
      [
        ("train/loss", record.loss), ("train/accuracy", record.accuracy),
        ("learning_rate", record.learningRate), ("images_per_second", record.imagesPerSecond),
        ("wait_share", record.waitShare),
      ])
  }

  package func epoch(_ record: EpochRecord) throws {
    try append(
      record.step,
      [
        ("epoch/train_loss", record.trainLoss), ("epoch/train_accuracy", record.trainAccuracy),
        ("epoch/seconds", record.seconds),
      ] + record.validation.map { ("val/\($0.name)", $0.value) })
  }

  private func append(_ step: Int, _ values: [(String, Double?)]) throws {
    try file?.append(
      step: step, values.compactMap { name, value in value.map { (name, .scalar($0)) } })
  }

  package func weights(step: Int, _ read: () throws -> [(name: String, value: Tensor)]) throws {
    try file?.append(
      step: step,
      read().compactMap { name, value in
        let histogram = TensorBoardHistogram(value)
        return histogram.count > 0 ? ("weights/\(name)", .histogram(histogram)) : nil
      })
  }

  package func pictures(step: Int, _ draw: () throws -> [SamplePicture]) throws {
    try file?.append(
      step: step,
      draw().map {
        let (picture, channels) = ($0.picture, $0.picture.channels)
        return (
          $0.name,
          .picture(
            width: picture.width, height: picture.height, channels: channels,
            png: try picture.encodedPNG())
        )
      })
  }

  package func willSaveCheckpoint(step: Int) throws { try file?.flush() }

  package func ended(_ record: EndRecord) throws { try file?.flush() }
}
