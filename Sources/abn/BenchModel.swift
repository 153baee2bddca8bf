import ArgumentParser
import Foundation
import InPlaceABN

struct BenchModel: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "model",
    abstract: "Times the steps of a network, kind by kind, against the floor of this machine.",
    discussion: """
      Random images, medians. The floor is every convolution as oneDNN does it alone, and for \
      everything else the time to read its inputs and write its outputs once. On a busy machine times \
      and floor are marked: not to be trusted.
      """)

  @OptionGroup var network: NetworkOptions

  @Option(help: ArgumentHelp("The activation after a normalization.", valueName: "name"))
  var activation = "leaky_relu"

  @OptionGroup var classes: ClassesOption

  @Option(parsing: .unconditional, help: ArgumentHelp("Images a step.", valueName: "count"))
  var batchSize = 32

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      "Steps that are timed, after one that is not.", valueName: "count"))
  var steps = 5

  @Option(
    name: .customLong("pass"),
    help: ArgumentHelp("training or inference.", valueName: "name"))
  var passName = "training"

  @Option(
    help: ArgumentHelp(
      "Write the fastest step into this file, for ui.perfetto.dev.", valueName: "file.json"))
  var trace: String?

  @Flag(help: "Leave the floor out, which takes about as long as four steps.")
  var noFloor = false

  @OptionGroup var place: DeviceOptions

  @OptionGroup var common: CommonOptions

  func run() throws {
    try common.apply()
    let (model, style) = (try network.chosenModel(), try network.style())
    let options = ModelOptions(
      classes: try classes.count(for: model), norm: style,
      activation: try ModelOptions.activation(named: activation))
    if let trace { try requireResult(trace, isNoneOf: []) }
    let timed = try timeModel(
      model, options: options, pass: TimedPass.named(passName, as: "--pass"),
      image: try network.image(for: model),
      batchSize: batchSize, steps: steps, measuresFloor: !hasNoFloor, backend: place.backend())
    if let trace { try AtomicFile.write(timed.trace.json, to: trace) }
    if common.json {
      try printJSON(timed.timing)
    } else {
      print(text(timed.timing))
    }
  }

  /// What a card could do at best is not measured.
  private var hasNoFloor: Bool { noFloor || place.isCard }

  private func text(_ timing: ModelTiming) -> String {
    func ms(_ seconds: Double) -> String { String(format: "%.2f", seconds * 1e3) }
    var lines = [
      "\(timing.model), \(timing.norm), \(timing.pass), \(timing.batchSize) images of "
        + "\(timing.image[1]) x \(timing.image[2]), \(timing.threads) threads, "
        + timing.activation,
      String(
        format: "step           %@ ms, %.1f images a second, %.0f GFLOP/s",
        ms(timing.stepSeconds), timing.imagesPerSecond, timing.gflops),
    ]
    if !hasNoFloor {
      lines.append(
        String(
          format: "floor          %@ ms, %@ of it convolutions; the step takes %.2f times that",
          ms(timing.floorSeconds), ms(timing.convolutionFloorSeconds), timing.ratioToFloor))
    }
    if let doubt = timing.doubt {
      lines.append("not to be trusted: \(doubt)")
    }
    lines += [
      "planned peak   \(describeBytes(timing.plannedPeakBytes))",
      "measured peak  \(describeBytes(timing.measuredPeakBytes)) above a base of "
        + describeBytes(timing.baseBytes),
      "",
      "         ms  share   GFLOP/s    GB/s\(hasNoFloor ? "" : "   floor")  steps  kind",
    ]
    let total = timing.kinds.reduce(0) { $0 + $1.seconds }
    for kind in timing.kinds {
      let floor =
        hasNoFloor
        ? "" : padded(String(format: "%.0f %%", kind.floorSeconds / kind.seconds * 100), 8)
      lines.append(
        padded(ms(kind.seconds), 11)
          + padded(String(format: "%.1f %%", kind.seconds / total * 100), 8)
          + padded(kind.gflops > 0 ? String(format: "%.0f", kind.gflops) : "-", 10)
          + padded(String(format: "%.1f", kind.gigabytesPerSecond), 8) + floor
          + padded("\(kind.count)", 7) + "  \(kind.name)")
    }
    return lines.joined(separator: "\n")
  }

  private func padded(_ text: String, _ width: Int) -> String {
    String(repeating: " ", count: max(1, width - text.count)) + text
  }
}
