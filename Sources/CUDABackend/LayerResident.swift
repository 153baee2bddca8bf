import ABNRuntime
import ABNTensors

/// Numbers that decide how fast the resident kernels are, and never what they compute but for the
/// order of sums.
struct LayerTuning: Sendable, Hashable {
  var threads = 512
  /// Blocks that a multiprocessor holds: one loads while another one waits at a barrier.
  var perMultiprocessor = 2
  /// How many times 16 bytes of a row a slice may have, the widest first; none of less than a line
  /// of the cache, which memory is read in.
  var lanes = [16, 8]
  /// How many groups of blocks work on slices of their own, where there are so many, also where the
  /// chip does not hold theirs together: one reads while another one waits at its barrier.
  var groups = 4

  init() {}

  /// As 512x2x1x16x8: threads, blocks a multiprocessor, groups, lanes.
  init?(_ text: String) {
    let numbers = text.split(separator: "x").compactMap { Int($0) }
    guard numbers.count >= 4, numbers.allSatisfy({ $0 > 0 }) else { return nil }
    (threads, perMultiprocessor, groups) = (numbers[0], numbers[1], numbers[2])
    lanes = Array(numbers[3...])
  }
}

/// The layer by kernels that keep what they have read in shared memory between the sums and what
/// follows from them, so that memory is read once where a channel, or a slice of channels, fits on
/// the chip. All their blocks are resident at once.
struct LayerResident {
  /// What a launch is about, beside pointers.
  private struct Launch {
    let kernel: CUDAKernel
    let blocks: Int
    let shared: Int
    /// struct Planar or struct Rows.
    let numbers: KernelArgument
    /// Of the partial sums of blocks; behind them stand the shares of prelu's slope.
    let partialBytes: Int
    let shares: Int
  }

  private let variant: LayerVariant
  private let device: CUDADevice
  private let forward: Launch
  private let backward: Launch

  private let tuning: LayerTuning
  /// Counters of the two kinds of kernels, which leave them in different states.
  private static let rowCounters = CUDADevice.counterCount / 2

  /// nil where such kernels do not run the layer: in float64, where planes or rows are no multiples
  /// of 16 bytes, where a channel is larger than the chip holds, or a card does not launch
  /// cooperatively.
  init?(
    _ variant: LayerVariant, _ device: CUDADevice, tuning: LayerTuning = LayerTuning()
  ) throws {
    let g = variant.geometry
    let run = g.isChannelsLast ? g.channels : g.spatial
    guard device.card.hasCooperativeLaunch, variant.dtype != .float64,
      run * variant.dtype.bytes % 16 == 0, g.batch > 0, g.spatial > 0, g.channels > 0,
      variant.count < 1 << 31
    else { return nil }
    self.variant = variant
    self.device = device
    self.tuning = tuning
    let make = g.isChannelsLast ? Self.rows : Self.planar
    guard let forward = try make(variant, device, tuning, false),
      let backward = try make(variant, device, tuning, true)
    else { return nil }
    (self.forward, self.backward) = (forward, backward)
  }

  private static func kernel(
    _ variant: LayerVariant, _ device: CUDADevice, _ tuning: LayerTuning, _ file: KernelFile,
    _ entry: String, _ more: [String]
  ) throws -> CUDAKernel {
    let defines =
      try variant.defines() + [
        "-DTHREADS=\(tuning.threads)", "-DPER=\(tuning.perMultiprocessor)",
      ] + more
    return try device.kernel(
      KernelSource([.activations, .layerCommon, file], entry: entry, defines: defines))
  }

  /// Bytes of dynamic shared memory that each of the resident blocks may have.
  private static func budget(_ kernel: CUDAKernel, _ card: CUDACard, _ tuning: LayerTuning) -> Int {
    // A block's own bookkeeping takes 1 KiB.
    let share = card.sharedPerMultiprocessor / tuning.perMultiprocessor - 1024
    return max(0, min(share, card.sharedPerBlock) - kernel.staticShared) / 16 * 16
  }

  // MARK: [batch][channel][spatial]

  private static func planar(
    _ variant: LayerVariant, _ device: CUDADevice, _ tuning: LayerTuning, _ isBackward: Bool
  ) throws -> Launch? {
    let (threads, perMultiprocessor) = (tuning.threads, tuning.perMultiprocessor)
    let kernel = try kernel(
      variant, device, tuning, .layerPlanar, isBackward ? "planarBackward" : "planarForward", [])
    let (g, card) = (variant.geometry, device.card)
    let tensors = isBackward ? 2 : 1
    let planeChunks = g.spatial * variant.dtype.bytes / 16
    let chunks = g.batch * planeChunks
    let budget = budget(kernel, card, tuning)
    guard budget > 0 else { return nil }
    let least = (chunks * 16 * tensors + budget - 1) / budget
    var total = card.multiprocessors * perMultiprocessor
    guard least <= total else { return nil }
    var members = least
    var groups: Int
    if members == 1 {
      // Small channels: as many blocks as fit.
      let resident = try kernel.residentBlocks(threads: threads, shared: chunks * 16 * tensors)
      total = card.multiprocessors * resident
      groups = min(total, g.channels)
    } else {
      groups = min(total / members, g.channels)
    }
    guard groups > 0 else { return nil }
    // As many rounds with fewer groups, so that none is idle in the last one.
    let rounds = (g.channels + groups - 1) / groups
    groups = (g.channels + rounds - 1) / rounds
    // All blocks, as long as each has work for its threads.
    members = max(least, min(total / groups, (chunks + threads - 1) / threads))
    let perBlock = (chunks + members - 1) / members
    let shared = perBlock * 16 * tensors
    let resident = try kernel.residentBlocks(threads: threads, shared: shared)
    guard resident * card.multiprocessors >= groups * members, groups < 1000 else { return nil }
    let (magic, shift) = division(by: UInt32(planeChunks))
    let numbers = [
      UInt32(g.channels), UInt32(members), UInt32(groups), UInt32(chunks), UInt32(planeChunks),
      UInt32(perBlock), magic, shift,
    ]
    return Launch(
      kernel: kernel, blocks: groups * members, shared: shared,
      numbers: .fields(numbers.map { .u32($0) }), partialBytes: groups * members * 64,
      shares: g.channels)
  }

  /// A multiplier and a shift by which 32-bit numbers are divided; a multiplier of 0 for powers of
  /// two. Source: Granlund and Montgomery, "Division by Invariant Integers using Multiplication",
  /// PLDI 1994.
  private static func division(by divisor: UInt32) -> (magic: UInt32, shift: UInt32) {
    if divisor & (divisor - 1) == 0 { return (0, UInt32(divisor.trailingZeroBitCount)) }
    for shift in UInt64(0)..<32 {
      let power = UInt64(1) << (32 + shift)
      let magic = (power + UInt64(divisor) - 1) / UInt64(divisor)
      if magic < 1 << 32, magic * UInt64(divisor) - power <= UInt64(1) << shift {
        return (UInt32(magic), UInt32(shift))
      }
    }
    preconditionFailure("every divisor below 2^31 has one")
  }

  // MARK: [batch][spatial][channel]

  private static func rows(
    _ variant: LayerVariant, _ device: CUDADevice, _ tuning: LayerTuning, _ isBackward: Bool
  ) throws -> Launch? {
    let (threads, perMultiprocessor) = (tuning.threads, tuning.perMultiprocessor)
    let card = device.card
    let rowChunks = variant.geometry.channels * variant.dtype.bytes / 16
    let tensors = isBackward ? 2 : 1
    let total = card.multiprocessors * perMultiprocessor
    // Of slices that the chip holds narrow ones are faster, as several groups work on several at a
    // time; of those that it does not hold wide ones, as memory is read in longer pieces.
    var found: (kernel: CUDAKernel, lanes: Int, budget: Int)?
    let fitting = tuning.lanes.filter { $0 < 2 * rowChunks }
    for lanes in fitting.isEmpty ? [tuning.lanes.min()!] : fitting {
      let kernel = try kernel(
        variant, device, tuning, .layerRows, isBackward ? "rowsBackward" : "rowsForward",
        ["-DLANES=\(lanes)"])
      let budget = budget(kernel, card, tuning)
      guard budget > 0 else { continue }
      let isHeld = variant.count * lanes * 16 * tensors <= total * budget
      if found == nil || isHeld { found = (kernel, lanes, budget) }
    }
    guard let (kernel, lanes, budget) = found else { return nil }
    let slices = (rowChunks + lanes - 1) / lanes
    let slice = variant.count * lanes * 16 * tensors
    let groups = max(
      1, min(slices, max(total * budget / max(slice, 1), tuning.groups), total / 2))
    // Rows for each thread of a block, where there are as many.
    let inFlight = threads / lanes
    let members = max(1, min(total / groups, (variant.count + inFlight - 1) / inFlight, 1024))
    let perBlock = (variant.count + members - 1) / members
    let keep = min(perBlock, budget / (lanes * 16 * tensors))
    let shared = keep * lanes * 16 * tensors
    let resident = try kernel.residentBlocks(threads: threads, shared: shared)
    // A block alone hands out no pieces of rows that it does not keep.
    guard resident * card.multiprocessors >= groups * members, members > 1 || keep == perBlock,
      32 + groups * 96 <= CUDADevice.counterCount - rowCounters
    else { return nil }
    let teams = (members + 15) / 16
    let numbers =
      [variant.count, variant.geometry.channels, rowChunks, slices, members, groups]
      + [perBlock, keep]
    return Launch(
      kernel: kernel, blocks: groups * members, shared: shared,
      numbers: .fields(numbers.map { .u32(UInt32($0)) }),
      partialBytes: groups * 2 * (members + teams) * lanes * (16 / variant.dtype.bytes) * 16,
      shares: slices * members)
  }

  // MARK: Launches

  /// Scratch memory.
  var forwardBytes: Int { forward.partialBytes }
  var backwardBytes: Int { backward.partialBytes + backward.shares * 8 }

  private var counters: KernelArgument {
    let start = variant.geometry.isChannelsLast ? 4 * Self.rowCounters : 0
    return .address(device.counters + DeviceAddress(start))
  }

  private func launch(_ launch: Launch, _ arguments: [KernelArgument]) throws -> KernelLaunch {
    try KernelLaunch(
      launch.kernel, blocks: launch.blocks, threads: tuning.threads, shared: launch.shared,
      isCooperative: true, arguments)
  }

  func forward(_ o: LayerForwardOperands, _ rescue: RescueRoom?, scratch: Int) throws
    -> [KernelLaunch]
  {
    [
      try launch(
        forward,
        [
          .pointer(o.x), .pointer(o.z), o.outer.map { .pointer($0) } ?? .null,
          .pointer(o.scale), .pointer(o.bias), o.slopes.map { .pointer($0) } ?? .null,
          o.statistics, rescue.argument(rows: o.rows, room: o.room, device), .pointer(scratch),
          counters, forward.numbers, variant.numbers,
        ])
    ]
  }

  func backward(_ o: LayerBackwardOperands, _ rescue: RescueRoom?, scratch: Int) throws
    -> [KernelLaunch]
  {
    [
      try launch(
        backward,
        [
          .pointer(o.kept), .pointer(o.dz), .pointer(o.dx), .pointer(o.scale),
          .pointer(o.bias), o.slopes.map { .pointer($0) } ?? .null, .pointer(o.saved),
          rescue.argument(rows: o.rows, room: o.room, device),
          o.gradients(slopeShares: .offset(scratch, bytes: backward.partialBytes)),
          o.slopeGradient.map { .pointer($0) } ?? .null, .pointer(scratch), counters,
          backward.numbers, variant.numbers,
        ])
    ]
  }
}
