import ABNRuntime
import ABNTensors

/// The layer by kernels of any size and alignment: several launches, of blocks that need not be
/// resident together.
struct LayerGeneral {
  let variant: LayerVariant
  private let device: CUDADevice
  private let parts: Int

  private static let threads = 256

  init(_ variant: LayerVariant, _ device: CUDADevice) {
    self.variant = variant
    self.device = device
    // Enough blocks for the card, of parts that are worth one.
    let channels = variant.geometry.channels
    let lanes = variant.geometry.isChannelsLast ? 32 : 1
    let groups = (channels + lanes - 1) / lanes
    let wanted = (device.card.multiprocessors * 8 + groups - 1) / groups
    parts = max(1, min(wanted, variant.count / (2048 / lanes), 1024))
  }

  private var channels: Int { variant.geometry.channels }
  private var partialBytes: Int { channels * parts * 24 }
  /// Behind the partial sums: the means, then the numbers of each channel.
  private var resultsOffset: Int { partialBytes + channels * 8 }
  private var isDouble: Bool { variant.dtype == .float64 }

  /// Scratch memory of the forward pass.
  var forwardBytes: Int { resultsOffset + channels * (isDouble ? 40 : 24) }
  /// Scratch memory of the backward pass.
  var backwardBytes: Int { resultsOffset + channels * 13 * (isDouble ? 8 : 4) }

  /// struct General.
  private var general: KernelArgument {
    .fields([
      .i64(Int64(variant.count)), .i64(Int64(max(variant.geometry.spatial, 1))),
      .i64(Int64(channels)), .i64(Int64(parts)),
    ])
  }

  private func launch(_ entry: String, blocks: Int, _ arguments: [KernelArgument]) throws
    -> KernelLaunch
  {
    let defines =
      try variant.defines() + [
        "-DLAST=\(variant.geometry.isChannelsLast ? 1 : 0)", "-DTHREADS=\(Self.threads)", "-DPER=1",
      ]
    let kernel = try device.kernel(
      KernelSource([.activations, .layerCommon, .layerGeneral], entry: entry, defines: defines))
    return try KernelLaunch(
      kernel, blocks: max(1, min(blocks, 1 << 20)), threads: Self.threads, arguments)
  }

  private var sumBlocks: Int {
    variant.geometry.isChannelsLast ? (channels + 31) / 32 * parts : channels * parts
  }
  private var elementBlocks: Int {
    (variant.count * channels + Self.threads - 1) / Self.threads
  }

  /// The launches of a forward pass, whose scratch memory is argument `scratch`.
  func forward(_ o: LayerForwardOperands, _ rescue: RescueRoom?, scratch: Int) throws
    -> [KernelLaunch]
  {
    let partials = KernelArgument.pointer(scratch)
    let means = KernelArgument.offset(scratch, bytes: partialBytes)
    let results = KernelArgument.offset(scratch, bytes: resultsOffset)
    let aside = rescue.argument(rows: o.rows, room: o.room, device)
    var launches: [KernelLaunch] = []
    if variant.isTraining {
      launches += [
        try launch(
          "generalStatistics", blocks: sumBlocks,
          [.pointer(o.x), .null, .null, partials, general]),
        try launch(
          "generalMeans", blocks: (channels + Self.threads - 1) / Self.threads,
          [partials, means, general]),
        try launch(
          "generalStatistics", blocks: sumBlocks,
          [.pointer(o.x), means, .null, partials, general]),
      ]
    } else if variant.rescues {
      launches.append(
        try launch(
          "generalStatistics", blocks: sumBlocks,
          [.pointer(o.x), .null, .pointer(o.movingMean), partials, general]))
    }
    launches += [
      try launch(
        "generalForward", blocks: 1,
        [
          launches.isEmpty ? .null : partials, means, .pointer(o.scale), .pointer(o.bias),
          o.slopes.map { .pointer($0) } ?? .null, o.statistics, aside, results, general,
          variant.numbers,
        ]),
      try launch(
        "generalApply", blocks: elementBlocks,
        [
          .pointer(o.x), .pointer(o.z), o.outer.map { .pointer($0) } ?? .null, aside, results,
          general, variant.numbers,
        ]),
    ]
    return launches
  }

  /// The launches of a backward pass.
  func backward(_ o: LayerBackwardOperands, _ rescue: RescueRoom?, scratch: Int) throws
    -> [KernelLaunch]
  {
    let partials = KernelArgument.pointer(scratch)
    let results = KernelArgument.offset(scratch, bytes: resultsOffset)
    let aside = rescue.argument(rows: o.rows, room: o.room, device)
    let parameters: [KernelArgument] = [
      .pointer(o.scale), .pointer(o.bias), o.slopes.map { .pointer($0) } ?? .null,
      .pointer(o.saved), aside,
    ]
    return [
      try launch(
        "generalSums", blocks: sumBlocks,
        [.pointer(o.kept), .pointer(o.dz)] + parameters + [partials, general, variant.numbers]),
      try launch(
        "generalBackward", blocks: 1,
        [partials] + parameters + [
          o.gradients(slopeShares: .null), o.slopeGradient.map { .pointer($0) } ?? .null,
          results, general, variant.numbers,
        ]),
      try launch(
        "generalGradient", blocks: elementBlocks,
        [
          .pointer(o.kept), .pointer(o.dz), .pointer(o.dx), aside, results, general,
          variant.numbers,
        ]),
    ]
  }

  /// The launch that makes x of z, arguments 0 and 1; 2 to 5 are scale, bias, saved and rows, 6 the
  /// room and 7, if there are any, slopes.
  func restore(_ rescue: RescueRoom?, hasSlopes: Bool) throws -> KernelLaunch {
    try launch(
      "generalRestore", blocks: elementBlocks,
      [
        .pointer(0), .pointer(1), .pointer(2), .pointer(3), hasSlopes ? .pointer(7) : .null,
        .pointer(4), rescue.argument(rows: 5, room: 6, device), general, variant.numbers,
      ])
  }
}
