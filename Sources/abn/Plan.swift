import ArgumentParser
import Foundation
import InPlaceABN

struct Plan: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Prints what a training step needs, without running it.",
    discussion: """
      Parameters, optimizer and one arena for everything else; who makes the peak; and every tensor \
      that is restored, masked, computed again or kept beside another, with the reason.
      """)

  @OptionGroup var network: NetworkOptions

  @Option(help: ArgumentHelp("The activation after a normalization.", valueName: "name"))
  var activation = "leaky_relu"

  @Option(parsing: .unconditional, help: ArgumentHelp("Images a step.", valueName: "count"))
  var batchSize = 32

  @OptionGroup var classes: ClassesOption

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

  @OptionGroup var place: DeviceOptions

  @OptionGroup var common: CommonOptions

  private struct Result: Encodable {
    let model, norm, optimizer: String
    let batchSize, imageSize: Int
    let image: [Int]
    let report: MemoryReport
    let compileSeconds: Double
    let standard: MemoryReport?

    private enum Keys: String, CodingKey {
      case model, norm, optimizer, batchSize, imageSize, image, compileSeconds, standardPeakBytes
      case savingBytes, activationMemoryBytes, standardActivationMemoryBytes
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
      try container.encode(image, forKey: .image)
      try container.encode(compileSeconds, forKey: .compileSeconds)
      try container.encodeIfPresent(standard?.peakBytes, forKey: .standardPeakBytes)
      try container.encodeIfPresent(
        standard.map { $0.peakBytes - report.peakBytes }, forKey: .savingBytes)
      try container.encode(report.arenaBytes, forKey: .activationMemoryBytes)
      try container.encodeIfPresent(standard?.arenaBytes, forKey: .standardActivationMemoryBytes)
    }
  }

  func run() throws {
    try common.apply()
    let (model, style) = (try network.chosenModel(), try network.style())
    let chosen = try OptimizerName.named(optimizer)
    let image = try network.image(for: model)
    let backend = try place.backend()
    func plan(_ style: NormStyle) throws -> ModelPlan {
      try ModelPlan(
        of: model,
        options: ModelOptions(
          classes: classes.count(for: model), norm: style,
          activation: ModelOptions.activation(named: activation)),
        image: image, batchSize: batchSize, optimizer: chosen, backend: backend)
    }
    for path in [timeline, snapshot].compactMap({ $0 }) {
      try requireResult(path, isNoneOf: [])
    }
    let planned = try plan(style)
    let report = planned.report
    let standard = style == .inplace ? try plan(.standard).report : nil
    let title =
      "\(model.name), \(style.rawValue), \(batchSize) images of \(image[1]) x \(image[2]), "
      + optimizer
    if let timeline { try AtomicFile.write(planned.timeline.html(title: title), to: timeline) }
    if let snapshot { try AtomicFile.write(planned.snapshot(), to: snapshot) }
    if common.json {
      try printJSON(
        Result(
          model: model.name, norm: style.rawValue, optimizer: optimizer, batchSize: batchSize,
          imageSize: image[1], image: image.dimensions, report: report,
          compileSeconds: planned.seconds, standard: standard))
      return
    }
    print(title)
    show(report)
    print(
      String(
        format: "\nPlanned in %.0f ms; with building, differentiating and lowering %.0f ms.",
        report.planSeconds * 1000, planned.seconds * 1000))
    if let standard {
      let (own, other) = (report.peakBytes, standard.peakBytes)
      let share = Int((Double(own) / Double(other) * 100).rounded())
      print(
        "\nstandard layer       \(describeBytes(other)); in place needs "
          + "\(describeBytes(other - own)) less (\(share) % of it)")
    }
    print(activationMemory(report, standard))
  }

  /// The planned peak less parameters and state: the arena.
  private func activationMemory(_ report: MemoryReport, _ standard: MemoryReport?) -> String {
    "activation memory    \(describeBytes(report.arenaBytes))"
      + (standard.map {
        String(
          format: "; standard layer %@, %.2f times that", describeBytes($0.arenaBytes),
          Double($0.arenaBytes) / Double(max(1, report.arenaBytes)))
      } ?? "")
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
    print("\nRules (times, bytes that need not be; each by itself, not all at one moment):")
    for rule in report.rules where rule.count > 0 {
      let (count, bytes) = ("\(rule.count) x", describeBytes(rule.savedBytes))
      func gap(_ text: String, _ width: Int) -> String {
        String(repeating: " ", count: max(1, width - text.count)) + text
      }
      print("  \(gap(count, 8))\(gap(bytes, 12))  \(rule.rule.rawValue)")
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
    showConversions(report.conversions)
    if !report.detours.isEmpty {
      print("\nDetours (around what the library does wrong):")
      for detour in report.detours {
        print("  \(detour.reason), \(detour.layer) (\(detour.source))")
      }
    }
    let most = report.rescues.reduce(0) { $0 + $1.mostBytes }
    if most > 0 {
      print(
        "\nRescue: 0 B in the usual step; \(report.rescues.count) buffers, at most "
          + "\(describeBytes(most)) where all scales are zero.")
    }
  }

  /// Weights are many and small: one line for all of a kind.
  private func showConversions(_ conversions: [MemoryReport.Decision]) {
    let (weights, images) = conversions.partitioned { $0.reason.contains("weight") }
    print(
      images.isEmpty
        ? "\nNo image is converted from layout to layout."
        : "\nConversions of layout (bytes copied):")
    for conversion in images {
      print(
        "  \(conversion.reason) \(conversion.variable), \(describeBytes(conversion.bytes)), "
          + "\(conversion.layer) (\(conversion.source))")
    }
    for (reason, own) in Dictionary(grouping: weights, by: \.reason).sorted(by: { $0.key < $1.key })
    {
      print(
        "  \(reason): \(own.count), \(describeBytes(own.reduce(0) { $0 + $1.bytes })) together")
    }
  }
}

extension Array {
  /// Those that match, and the others.
  fileprivate func partitioned(_ matches: (Element) -> Bool) -> ([Element], [Element]) {
    (filter(matches), filter { !matches($0) })
  }
}
