import ABNImages
import ArgumentParser
import Foundation
import InPlaceABN

struct DataCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "data",
    abstract: "Looks at data before anything is trained on them.",
    subcommands: [DataCheck.self, DataShow.self])
}

struct DataCheck: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "check",
    abstract: "Decodes every picture: counts, sizes, broken files, classes, mean and deviation.",
    discussion: "Ends with status 1 where a picture is broken.")

  @Argument(
    help: ArgumentHelp(
      "The data: \(DataSource.forms.joined(separator: ", ")).", valueName: "source"))
  var source: String

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      "The share of each class that is held out, where the data are not divided yet.",
      valueName: "share"))
  var valSplit = 0.2

  @OptionGroup var masks: MaskOptions

  @OptionGroup var common: CommonOptions

  func run() throws {
    try common.apply()
    var options = DataOptions()
    options.validationShare = valSplit
    options.threads = Parallel.threads
    try masks.apply(to: &options)
    let report = try DataReport(DataSource.parse(source), options)
    if common.json { try printJSON(report) } else { show(report) }
    if report.brokenCount > 0 { throw ExitCode(1) }
  }

  private func show(_ report: DataReport) {
    print("\(report.data): \(report.classNames.count) classes")
    for part in report.parts {
      let kinds = part.kinds.sorted { $0.key < $1.key }.map { "\($0.value) \($0.key)" }
      print("\(part.name): \(part.pictures) pictures (\(kinds.joined(separator: ", ")))")
      if part.sizes.count == 3 {
        let (least, middle, most) = (part.sizes[0], part.sizes[1], part.sizes[2])
        print(
          least == most
            ? "  size       \(least)" : "  size       \(least) to \(most), in the middle \(middle)")
      }
      if let pixels = part.pixelCounts {
        show(pixels, ignored: part.ignoredPixels ?? 0, part, report)
        continue
      }
      let counts = zip(report.classNames, part.classCounts).sorted { $0.1 > $1.1 }
      if let (most, least) = counts.first.map({ ($0, counts[counts.count - 1]) }) {
        let few = 20
        let list =
          counts.count <= few
          ? zip(report.classNames, part.classCounts).map { "\($0) \($1)" }.joined(separator: ", ")
          : "\(least.1) (\(least.0)) to \(most.1) (\(most.0))"
        print("  classes    \(DisplayText.line(list))")
        if least.1 > 0, most.1 > least.1 {
          print(
            String(
              format: "  balance    the largest is %.2f times the smallest",
              Double(most.1) / Double(least.1)))
        }
      }
      showBroken(part)
    }
    func numbers(_ values: [Double]) -> String {
      values.map { String(format: "%.3f", $0) }.joined(separator: ", ")
    }
    func shares(_ values: [Double]) -> String {
      values.map { String(format: "%.4f", $0 / 255) }.joined(separator: ",")
    }
    print("mean       \(numbers(report.mean)) (of 255: \(shares(report.mean)))")
    print("deviation  \(numbers(report.deviation)) (of 255: \(shares(report.deviation)))")
    for note in report.notes { print("note: \(note)") }
    if report.brokenCount > 0 { print("\(report.brokenCount) broken") }
  }

  private func showBroken(_ part: DataReport.Part) {
    for broken in part.broken { print("  broken     \(broken)") }
  }

  /// The shares of the classes of pixels, and the pictures that they are in.
  private func show(
    _ pixels: [Int], ignored: Int, _ part: DataReport.Part, _ report: DataReport
  ) {
    let counted = pixels.reduce(0, +)
    func percent(_ count: Int, _ whole: Int) -> String {
      String(format: "%.2f %%", Double(count) / Double(max(whole, 1)) * 100)
    }
    print("  pixels     \(counted) that count, \(percent(ignored, counted + ignored)) that do not")
    for (number, name) in report.classNames.enumerated() {
      print(
        "  class      \(DisplayText.line(name)): \(percent(pixels[number], counted)) of them, in "
          + "\(part.classCounts[number]) pictures")
    }
    showBroken(part)
  }
}

struct DataShow: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "show",
    abstract: "Writes a sheet of pictures as training sees them, changes included, as PNG.")

  @Argument(
    help: ArgumentHelp(
      "The data: \(DataSource.forms.joined(separator: ", ")).", valueName: "source"))
  var source: String

  @Option(help: ArgumentHelp("The sheet, .png.", valueName: "file"))
  var output: String

  @Option(parsing: .unconditional, help: ArgumentHelp("How many pictures.", valueName: "count"))
  var count = 32

  @Option(parsing: .unconditional, help: ArgumentHelp("How many in a row.", valueName: "count"))
  var columns = 8

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp("The seed of order and changes.", valueName: "number"))
  var seed: UInt64 = 0

  @Option(parsing: .unconditional, help: ArgumentHelp("Which epoch, from 0.", valueName: "number"))
  var epoch = 0

  @Flag(help: "The held-out pictures as they are judged, nothing random.")
  var heldOut = false

  @OptionGroup var pictures: PictureOptions

  @OptionGroup var existing: SheetOverwrite

  func run() throws {
    guard count >= 1, columns >= 1, epoch >= 0 else {
      throw ABNError(
        .attribute, "--count, --columns, --epoch", got: "\(count), \(columns), \(epoch)",
        wanted: "1 or more, 1 or more, 0 or more")
    }
    try existing.requireFree(output)
    let settings = try pictures.settings(for: DataSource.parse(source))
    let dataset = try settings.data.load(settings.dataOptions)
    for note in dataset.notes { writeError("note: \(note)\n") }
    let split = heldOut ? dataset.test : dataset.train
    var options = BatchLoader.Options(
      batchSize: min(count, split.count), seed: seed, isShuffled: !heldOut,
      augmentation: heldOut ? nil : settings.augmentation, prefetchCount: 0)
    options.classCount = dataset.classCount
    let batch = try BatchLoader(split, normalization: dataset.normalization, options: options)
      .batch(0, ofEpoch: epoch)
    let sheet = try ContactSheet.make(
      batch.images, dataset.rule, columns: columns,
      masks: dataset.pixelClasses.map { (batch.labels, $0) })
    try AtomicFile.write(try sheet.encodedPNG(), to: output)
    for note in split.broken { writeError("note: left out: \(note)\n") }
    if let classes = dataset.pixelClasses {
      let names = zip(classes.names, classes.colours).map { "\($0) \($1.text)" }
      return print(DisplayText.line(names.joined(separator: "  ")))
    }
    let labels = batch.labels.elements(Int64.self).map { dataset.classNames[Int($0)] }
    for start in stride(from: 0, to: labels.count, by: columns) {
      print(
        DisplayText.line(labels[start..<min(start + columns, labels.count)].joined(separator: "  "))
      )
    }
  }
}

extension PictureOptions {
  /// What they say of these data; what else there is in settings is not used.
  func settings(for data: DataSource) throws -> TrainingSettings {
    var settings = TrainingSettings(data: data, model: .mlp, output: ".")
    try apply(to: &settings)
    return settings
  }
}

/// Whether a sheet may replace a file.
struct SheetOverwrite: ParsableArguments {
  @Flag(help: "Replace a file that is there already.")
  var overwrite = false

  func requireFree(_ path: String) throws {
    guard !overwrite, FileIdentity(path) != nil else { return }
    throw ABNError(
      .file, "output \(quoted(path))", got: "a file that is there already", wanted: "a new name",
      fix: "Choose another name, or replace it with --overwrite.")
  }
}
