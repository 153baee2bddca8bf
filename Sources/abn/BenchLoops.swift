import ArgumentParser
import InPlaceABN

struct BenchAdam: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "adam",
    abstract: "Times a step of Adam against the machine's own memory bandwidth.",
    discussion: "A matrix of parameters and its gradient; medians.")

  @Option(help: ArgumentHelp("Parameters.", valueName: "count"))
  var elements = 1 << 24

  @OptionGroup var common: CommonOptions

  func run() throws {
    try common.apply()
    guard (1...1 << 28).contains(elements) else {
      throw ABNError(
        .attribute, "--elements", got: "\(elements)", wanted: "1 to \(1 << 28) parameters")
    }
    try GraphTiming(timeAdam(elements: elements, backend: CPUBackend())).show(
      "Adam, \(elements) parameters", common)
  }
}

/// What is said of steps of a small graph.
struct GraphTiming: Encodable {
  let forwardMilliseconds, backwardMilliseconds, floorMilliseconds, ratioToFloor: Double
  let threads: Int
  let load: MachineLoad
  let doubt: String?

  init(_ timing: LoopTiming) {
    forwardMilliseconds = timing.forwardSeconds * 1e3
    backwardMilliseconds = timing.backwardSeconds * 1e3
    floorMilliseconds = timing.floorSeconds * 1e3
    ratioToFloor = timing.ratioToFloor
    threads = Parallel.threads
    load = timing.load
    doubt = timing.doubt
  }

  func show(_ title: String, _ common: CommonOptions) throws {
    if common.json { return try printJSON(self) }
    func text(_ value: Double) -> String { "\((value * 1000).rounded() / 1000)" }
    print(
      """
      \(title), \(threads) threads
      forward   \(text(forwardMilliseconds)) ms
      backward  \(text(backwardMilliseconds)) ms
      floor     \(text(floorMilliseconds)) ms, ratio \(text(ratioToFloor))
      """)
    if let doubt { print("not to be trusted: \(doubt)") }
  }
}
