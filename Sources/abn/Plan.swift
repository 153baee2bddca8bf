import ArgumentParser
import InPlaceABN

struct Plan: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Prints what a training step needs, without running it.",
    discussion: """
      Parameters, optimizer and one arena for everything else; who makes the peak; and every tensor \
      that is restored, masked, computed again or kept beside another, with the reason.
      """)

  @Option(
    help: ArgumentHelp(
      "The network: \(Model.all.map(\.name).joined(separator: ", ")).", valueName: "name"))
  var model = "resnet20"

  @Option(help: ArgumentHelp("inplace or standard normalization.", valueName: "style"))
  var norm = "inplace"

  @Option(help: ArgumentHelp("The activation after a normalization.", valueName: "name"))
  var activation = "leaky_relu"

  @Option(parsing: .unconditional, help: ArgumentHelp("Images a step.", valueName: "count"))
  var batchSize = 32

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      "Height and width of the images; default: the model's.", valueName: "pixels"))
  var imageSize: Int?

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp("Classes to tell apart; default: the model's.", valueName: "count"))
  var classes: Int?

  @Option(
    help: ArgumentHelp(
      "The optimizer: \(OptimizerName.allCases.map(\.rawValue).joined(separator: ", ")).",
      valueName: "name"))
  var optimizer = "momentum"

  @Option(help: ArgumentHelp("Draw memory over the step into this file.", valueName: "file.html"))
  var timeline: String?

  @Option(
    help: ArgumentHelp(
      "Write what PyTorch's memory viewer reads into this file.", valueName: "file.pickle"))
  var snapshot: String?

  @OptionGroup var common: CommonOptions

  private struct Result: Encodable {
    let model, norm, optimizer: String
    let batchSize, imageSize: Int
    let report: MemoryReport
    let standardPeakBytes, savingBytes: Int?

    private enum Keys: String, CodingKey {
      case model, norm, optimizer, batchSize, imageSize, standardPeakBytes, savingBytes
    }

    /// The report's keys stand beside the others.
    func encode(to encoder: any Encoder) throws {
      try report.encode(to: encoder)
      var container = encoder.container(keyedBy: Keys.self)
      try container.encode(model, forKey: .model)
      try container.encode(norm, forKey: .norm)
      try container.encode(optimizer, forKey: .optimizer)
      try container.encode(batchSize, forKey: .batchSize)
      try container.encode(imageSize, forKey: .imageSize)
      try container.encodeIfPresent(standardPeakBytes, forKey: .standardPeakBytes)
      try container.encodeIfPresent(savingBytes, forKey: .savingBytes)
    }
  }

  func run() throws {
    try common.apply()
    let network = try Model.named(model)
    let style = try NormStyle.named(norm)
    let chosen = try OptimizerName.named(optimizer)
    let size = imageSize ?? network.image[1]
    func plan(_ style: NormStyle) throws -> ModelPlan {
      let classes = classes ?? network.classes
      guard (1...1 << 20).contains(classes) else {
        throw ABNError(.attribute, "--classes", got: "\(classes)", wanted: "1...\(1 << 20)")
      }
      return try ModelPlan(
        of: network,
        options: ModelOptions(
          classes: classes, norm: style, activation: Activation(named: activation).validated()),
        image: [network.image[0], size, size], batchSize: batchSize, optimizer: chosen)
    }
    let planned = try plan(style)
    let report = planned.report
    let standard = style == .inplace ? try plan(.standard).report.peakBytes : nil
    let title = "\(model), \(norm), \(batchSize) images of \(size) x \(size), \(optimizer)"
    if let timeline { try AtomicFile.write(planned.timeline.html(title: title), to: timeline) }
    if let snapshot { try AtomicFile.write(planned.snapshot(), to: snapshot) }
    if common.json {
      try printJSON(
        Result(
          model: model, norm: norm, optimizer: optimizer, batchSize: batchSize, imageSize: size,
          report: report, standardPeakBytes: standard,
          savingBytes: standard.map { $0 - report.peakBytes }))
      return
    }
    print(title)
    show(report)
    if let standard {
      let share = Int((Double(report.peakBytes) / Double(standard) * 100).rounded())
      print(
        "\nstandard layer       \(describeBytes(standard)); in place needs "
          + "\(describeBytes(standard - report.peakBytes)) less (\(share) % of it)")
    }
  }

  private func show(_ report: MemoryReport) {
    print(
      """
      peak                 \(describeBytes(report.peakBytes))
        parameters         \(describeBytes(report.parameterBytes))
        optimizer          \(describeBytes(report.optimizerBytes))
        arena              \(describeBytes(report.arenaBytes)), lower bound \
      \(describeBytes(report.lowerBoundBytes)), placed \(report.strategy)

      At the peak, \(report.peakStep), one of \(report.stepCount) steps:
        activations        \(describeBytes(report.activationBytes))
        gradients          \(describeBytes(report.gradientBytes))
        scratch            \(describeBytes(report.scratchBytes))
        input              \(describeBytes(report.feedBytes))
      """)
    for tensor in report.peakTensors {
      let bytes = describeBytes(tensor.bytes)
      let gap = String(repeating: " ", count: max(1, 12 - bytes.count))
      print("  \(gap)\(bytes)  \(tensor.use) \(tensor.name): \(tensor.origin)")
    }
    if report.decisions.isEmpty {
      print("\nNothing is restored, masked or kept beside.")
    } else {
      print("\nDecisions (bytes let go; for a copy, kept):")
      for decision in report.decisions {
        print(
          "  \(decision.action) \(decision.variable), \(describeBytes(decision.bytes)), "
            + "\(decision.layer) (\(decision.source)): \(decision.reason)")
      }
    }
    let most = report.rescues.reduce(0) { $0 + $1.mostBytes }
    if most > 0 {
      print(
        "\nRescue: 0 B in the usual step; \(report.rescues.count) buffers, at most "
          + "\(describeBytes(most)) where all scales are zero.")
    }
  }
}
