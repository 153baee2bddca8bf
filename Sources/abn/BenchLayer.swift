import ABNKernels
import ABNMeasuring
import ArgumentParser
import InPlaceABN

struct BenchLayer: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "layer",
    abstract: "Times the in-place layer against the machine's own memory bandwidth.",
    discussion: """
      Random data, medians. The floor is one read and one write of the tensor forward, two reads \
      and one write backward, at the bandwidth measured in the same run. On a busy \
      machine both are marked: not to be trusted.
      """)

  @Option(help: ArgumentHelp("Sizes, batch and channels first.", valueName: "NxCxHxW"))
  var shape = "32x64x56x56"

  @Option(help: ArgumentHelp("f32, f64, f16 or bf16.", valueName: "type"))
  var dtype = "f32"

  @Option(help: ArgumentHelp("nchw, nhwc, nchw8c or nchw16c.", valueName: "layout"))
  var layout = "nchw"

  @Option(help: ArgumentHelp("The activation after the normalization.", valueName: "name"))
  var activation = "leaky_relu"

  @Option(
    help: ArgumentHelp(
      "alpha of leaky_relu and elu (default: 0.01 and 1).", valueName: "number"))
  var alpha: Double?

  @Flag(
    help: ArgumentHelp(
      "Time the layer in a graph, by the executor."))
  var graph = false

  @Option(help: ArgumentHelp("Of a card's kernels.", visibility: .hidden))
  var tuning: String?

  @OptionGroup var place: DeviceOptions

  @OptionGroup var common: CommonOptions

  private struct Result: Encodable {
    let forwardMilliseconds, backwardMilliseconds, floorMilliseconds, ratioToFloor: Double
    let readGBs, inPlaceGBs: Double
    let threads: Int
    let load: MachineLoad
    let doubt: String?
  }

  func run() throws {
    try common.apply()
    if place.isCard { return try timeOnCard() }
    if graph {
      try GraphTiming(timeInGraph()).show(
        "\(shape) \(dtype) \(layout) \(activation), in a graph", common)
      return
    }
    let meter = LoadMeter()
    let timing = try measure()
    let load = meter.load(threads: Parallel.threads)
    let result = Result(
      forwardMilliseconds: timing.forwardMilliseconds,
      backwardMilliseconds: timing.backwardMilliseconds,
      floorMilliseconds: timing.floorMilliseconds, ratioToFloor: timing.ratioToFloor,
      readGBs: timing.readGBs, inPlaceGBs: timing.inPlaceGBs, threads: Parallel.threads,
      load: load, doubt: load.doubt)
    if common.json {
      try printJSON(result)
    } else {
      func text(_ value: Double) -> String { "\((value * 1000).rounded() / 1000)" }
      print(
        """
        \(shape) \(dtype) \(layout) \(activation), \(result.threads) threads
        forward   \(text(result.forwardMilliseconds)) ms
        backward  \(text(result.backwardMilliseconds)) ms
        floor     \(text(result.floorMilliseconds)) ms, ratio \(text(result.ratioToFloor))
        read      \(text(result.readGBs)) GB/s, in place \(text(result.inPlaceGBs)) GB/s
        """)
      if let doubt = result.doubt { print("not to be trusted: \(doubt)") }
    }
  }

  private func timeInGraph() throws -> LoopTiming {
    let (act, shape, dtype, layout) = try subject()
    return try timeLayer(act, shape: shape, dtype: dtype, layout: layout, backend: CPUBackend())
  }

  /// What the options name, for layers of a graph and of a card.
  private func subject() throws -> (Activation, Shape, DType, DataLayout) {
    let (sizes, act) = (try sizes(), try ModelOptions.activation(named: activation))
    let layouts: [(String, DataLayout)] = [("nchw", .nchw), ("nhwc", .nhwc)]
    let chosen = try choose(layout, "--layout", layouts)
    let types: [(String, DType)] = [
      ("f32", .float32), ("f64", .float64), ("f16", .float16), ("bf16", .bfloat16),
    ]
    let placed = chosen == .nchw ? sizes : [sizes[0]] + sizes[2...] + [sizes[1]]
    return (
      alpha.map { act.with(alpha: $0) } ?? act, Shape(placed), try choose(dtype, "--dtype", types),
      chosen
    )
  }

  private func timeOnCard() throws {
    let (act, shape, type, chosen) = try subject()
    let timing = try measureLayer(
      device: place.ordinal(), shape: shape, layout: chosen, dtype: type, activation: act,
      tuning: tuning)
    if common.json {
      return try printJSON(CardResult(milliseconds: timing.milliseconds, timing: timing))
    }
    func text(_ value: Double) -> String { "\((value * 1000).rounded() / 1000)" }
    func share(_ copy: Double, _ own: Double) -> String { "\(Int((copy / own * 100).rounded())) %" }
    print(
      """
      \(self.shape) \(dtype) \(layout) \(activation) on \(place.device)\
      \(timing.isResident ? "" : ", by the kernels of any size")
      forward   \(text(timing.forwardMilliseconds)) ms, \
      \(share(timing.forwardCopyMilliseconds, timing.forwardMilliseconds)) of a copy's speed
      backward  \(text(timing.backwardMilliseconds)) ms, \
      \(share(timing.backwardCopyMilliseconds, timing.backwardMilliseconds)) of a copy's speed
      together  \(text(timing.milliseconds)) ms
      differs   \(timing.forwardDifference) and \(timing.backwardDifference) from the kernels of any size
      """)
  }

  private struct CardResult: Encodable {
    let milliseconds: Double
    let timing: CardLayerTiming
  }

  private func sizes() throws -> [Int] {
    let words = shape.split(separator: "x", omittingEmptySubsequences: false)
    let sizes = words.compactMap { Int($0) }
    guard sizes.count == words.count, (2...5).contains(sizes.count),
      sizes.allSatisfy({ $0 >= 1 })
    else {
      throw ABNError(
        .attribute, "--shape", got: quoted(shape),
        wanted: "2 to 5 sizes of at least 1, as in 32x64x56x56")
    }
    return sizes
  }

  private func measure() throws -> ABNLayerTiming {
    let sizes = try sizes()
    let spatial = sizes.dropFirst(2).reduce((1, false)) { product, size in
      let (next, overflow) = product.0.multipliedReportingOverflow(by: size)
      return (next, product.1 || overflow)
    }
    guard !spatial.1 else {
      throw ABNError(.attribute, "--shape", got: quoted(shape), wanted: "sizes that fit in memory")
    }
    do {
      let kernel = try ABNKernel(
        geometry: ABNGeometry(
          outer: sizes[0], channels: sizes[1], spatial: spatial.0,
          layout: choose(
            layout, "--layout",
            [
              ("nchw", ABNLayout.channelSecond), ("nhwc", .channelLast), ("nchw8c", .blocked(8)),
              ("nchw16c", .blocked(16)),
            ])),
        element: choose(
          dtype, "--dtype",
          [
            ("f32", ABNElement.float32), ("f64", .float64), ("f16", .float16), ("bf16", .bfloat16),
          ]),
        activation: choose(
          activation, "--activation",
          Activation.all.map {
            let usual = $0 == .leakyReLU() ? $0.with(alpha: ModelOptions.usualSlope) : $0
            return ($0.name, alpha.map { usual.with(alpha: $0) } ?? usual)
          }))
      return try kernel.timing(team: Parallel.team)
    } catch let error as KernelError {
      throw ABNError(
        .attribute, error.what, got: error.got, wanted: error.wanted, fix: error.fix)
    }
  }

  /// The value of a name, or an error that lists the names.
  private func choose<T>(_ name: String, _ option: String, _ values: [(String, T)]) throws -> T {
    if let found = values.first(where: { $0.0 == name }) { return found.1 }
    throw ABNError(unknown: name, option, names: values.map(\.0), category: .attribute)
  }
}
