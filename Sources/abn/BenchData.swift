import ArgumentParser
import Foundation
import InPlaceABN

struct BenchData: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "data",
    abstract: "Measures how many pictures a second are read, decoded and changed.",
    discussion: """
      Nothing is computed with the batches; Benchmarks/peers/loader.py is the same in PyTorch. With \
      --model a network is trained on them, and by turns on batches that lie ready in memory: what \
      reading pictures costs a training.
      """)

  @Argument(
    help: ArgumentHelp(
      "The data: \(DataSource.forms.joined(separator: ", ")).", valueName: "source"))
  var source: String

  @Option(parsing: .unconditional, help: ArgumentHelp("Pictures a batch.", valueName: "count"))
  var batchSize = 32

  @Option(
    parsing: .unconditional, help: ArgumentHelp("Passes over the data.", valueName: "count"))
  var epochs = 3

  @Option(
    help: ArgumentHelp("Train this network, one of those that abn models lists.", valueName: "name")
  )
  var model: String?

  @OptionGroup var pictures: PictureOptions

  @Flag(help: "Print the result as JSON on standard output.")
  var json = false

  private struct Result: Encodable {
    let pictures, workers, epochs: Int
    let seconds, processorSeconds, picturesPerSecond, processorMillisecondsPerPicture: Double
  }

  func run() throws {
    guard (1...1 << 20).contains(epochs) else {
      throw ABNError(.attribute, "--epochs", got: "\(epochs)", wanted: "1...\(1 << 20)")
    }
    var settings = try pictures.settings(for: DataSource.parse(source))
    if let model {
      settings.model = try Model.named(model)
      settings.batchSize = batchSize
      return try timeTraining(settings)
    }
    let workers = settings.workers
    let dataset = try settings.data.load(settings.dataOptions)
    for note in dataset.notes { writeError("note: \(note)\n") }
    var options = BatchLoader.Options(
      batchSize: min(batchSize, dataset.train.count), lastBatch: .kept,
      augmentation: settings.augmentation, prefetchCount: max(2, workers))
    options.workers = workers
    options.classCount = dataset.classCount
    let loader = try BatchLoader(
      dataset.train, normalization: dataset.normalization, options: options)
    // The first pass also reads the files into the system's memory.
    for batch in loader.epoch(0) { _ = try batch.images.checked() }
    var pictures = 0
    let (clock, start, processor) = (ContinuousClock(), ContinuousClock.now, Self.processorSeconds)
    for epoch in 1...epochs {
      for batch in loader.epoch(epoch) {
        _ = try batch.images.checked()
        pictures += batch.count
      }
    }
    let seconds = (clock.now - start) / .seconds(1)
    let used = Self.processorSeconds - processor
    let result = Result(
      pictures: pictures, workers: workers, epochs: epochs, seconds: seconds,
      processorSeconds: used,
      picturesPerSecond: Double(pictures) / seconds,
      processorMillisecondsPerPicture: used * 1000 / Double(pictures))
    if json { return try printJSON(result) }
    print(
      String(
        format: "%.0f pictures/s with %d workers; %.2f ms of processor a picture",
        result.picturesPerSecond, workers, result.processorMillisecondsPerPicture))
  }

  private func timeTraining(_ settings: TrainingSettings) throws {
    let trainer = Trainer(settings, backend: CPUBackend())
    trainer.note = { writeError("note: \($0)\n") }
    let timing = try trainer.timeFeeding(passes: epochs)
    if json { return try printJSON(timing) }
    print(
      String(
        format: "%.2f s a pass of %d steps, %.2f s on batches that lie ready: %.3f times",
        timing.fedSeconds, timing.steps, timing.readySeconds, timing.ratio))
  }

  /// What the threads of this process have taken of the processors.
  private static var processorSeconds: Double {
    var time = timespec()
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
  }
}
