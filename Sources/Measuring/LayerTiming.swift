import ABNKernels

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

/// What one layer costs and what the memory of the machine allows, measured in one run.
///
/// The floor is what must move through memory: forward reads and writes the tensor once, backward
/// reads two tensors and writes one. It is the time of one in-place read and write, twice, and of
/// one read, over the same buffers with the same threads, by the widest vectors that the processor
/// has. The buffers are one mapping each, with large pages where the system grants them, as the
/// engine's arena is.
public struct ABNLayerTiming: Hashable, Sendable {
  /// Median time of the forward pass of training, in place.
  public var forwardMilliseconds: Double
  /// Median time of its backward pass, dx over dz.
  public var backwardMilliseconds: Double
  /// Median time of the floor of both.
  public var floorMilliseconds: Double
  /// Forward plus backward over the floor.
  public var ratioToFloor: Double {
    (forwardMilliseconds + backwardMilliseconds) / floorMilliseconds
  }
  /// Read bandwidth in 1e9 bytes a second.
  public var readGBs: Double
  /// Bandwidth of changing a buffer in place, reads and writes counted.
  public var inPlaceGBs: Double
}

extension ABNKernel {
  /// Measures the layer on random data: medians of `repetitions` rounds in which forward, backward
  /// and the floor take turns, after a tenth of a second (at least one round) that is not counted.
  ///
  /// Allocates its own buffers: two tensors and small change. Measure optimized builds only. Throws
  /// `KernelError` for tensors that cannot be trained (empty, or one element per channel), and
  /// where there is no memory.
  public func timing(
    repetitions: Int = 9, team: KernelTeam = .serial
  ) throws(KernelError) -> ABNLayerTiming {
    try checkTrainable()
    guard geometry.elementCount > 0 else {
      throw KernelError(
        what: "timing", got: "an empty tensor", wanted: "one with elements",
        fix: "Time a shape without a size of 0.")
    }
    let layer = try MeasuredLayer(self)
    var rounds: [Round] = []
    // A core that comes from rest takes a while to reach its speed: half of it was seen for the
    // whole of nine short rounds.
    let warm = milliseconds() + 100
    var isWarm = false
    while rounds.count < max(1, repetitions) {
      let round = try layer.round(team)
      if isWarm { rounds.append(round) } else { isWarm = milliseconds() >= warm }
    }
    func median(_ part: (Round) -> Double) -> Double { rounds.map(part).sorted()[rounds.count / 2] }
    let (inPlace, read) = (median(\.inPlace), median(\.read))
    let bytes = Double(layer.lines * 64)
    return ABNLayerTiming(
      forwardMilliseconds: median(\.forward), backwardMilliseconds: median(\.backward),
      floorMilliseconds: 2 * inPlace + read, readGBs: bytes / read / 1e6,
      inPlaceGBs: 2 * bytes / inPlace / 1e6)
  }
}

/// Milliseconds of the layer's passes and of the floor's.
private struct Round {
  var forward, backward, inPlace, read: Double
}

/// The buffers of a layer that is measured.
private final class MeasuredLayer: @unchecked Sendable {
  // Sendable: the parts of a sweep go over lines of their own.
  let kernel: ABNKernel
  /// Lines of 64 bytes of a tensor.
  let lines: Int
  private let x: UnsafeMutableRawPointer
  private let gradient: UnsafeMutableRawPointer
  private let scratch: UnsafeMutableRawPointer
  /// Rows of `channels` numbers: scale, bias, slopes, three saved statistics, a gradient.
  private let arrays: UnsafeMutableRawPointer
  private let state: ABNLayerState
  /// The machine's floor, not the chosen set's: narrow vectors get less out of the memory.
  private let sweep = (ABNInstructionSet.allCases.last(where: \.isSupported) ?? .baseline).sweep
  private let backward: ABNBackward

  init(_ kernel: ABNKernel) throws(KernelError) {
    self.kernel = kernel
    lines = kernel.bufferBytes / 64
    x = try mapped(kernel.bufferBytes + 64)
    do { gradient = try mapped(kernel.bufferBytes + 64) } catch {
      munmap(x, kernel.bufferBytes + 64)
      throw error
    }
    let channels = kernel.geometry.channels
    let row = (channels * kernel.element.statisticsBytes + 63) / 64 * 64
    scratch = .allocate(byteCount: kernel.scratchBytes, alignment: 64)
    arrays = .allocate(byteCount: 7 * row, alignment: 64)
    for (index, value) in [1.0, 0, 0.25].enumerated() {
      for channel in 0..<channels {
        kernel.element.statistics.store(arrays + index * row, channel, value)
      }
    }
    let isLearned = kernel.activation == .prelu
    state = ABNLayerState(
      parameters: ABNParameters(
        scale: arrays, bias: arrays + row,
        slopes: isLearned ? UnsafeRawPointer(arrays + 2 * row) : nil,
        slopeCount: isLearned ? channels : 0),
      saved: ABNSavedStatistics(
        mean: arrays + 3 * row, meanRemainder: arrays + 4 * row, inverseDeviation: arrays + 5 * row),
      rescue: ABNRescue(kernel))
    backward = ABNBackward(
      mode: .batch, kept: .output(x), gradient: gradient, destination: gradient,
      gradients: ABNGradients(scale: arrays + 6 * row, bias: nil))
  }

  deinit {
    munmap(x, kernel.bufferBytes + 64)
    munmap(gradient, kernel.bufferBytes + 64)
    scratch.deallocate()
    arrays.deallocate()
  }

  /// One pass of each kind on new data.
  func round(_ team: KernelTeam) throws(KernelError) -> Round {
    let workspace = ABNWorkspace(scratch: scratch, team: team)
    fill(x, seed: 1)
    fill(gradient, seed: 2)
    let start = milliseconds()
    try kernel.trainForward(
      source: x, destination: x, state: state, moving: nil, workspace: workspace)
    let middle = milliseconds()
    try kernel.backward(backward, state: state, workspace: workspace)
    let end = milliseconds()
    sweep(gradient, changes: true, team)
    let changed = milliseconds()
    sweep(x, changes: false, team)
    return Round(
      forward: middle - start, backward: end - middle, inPlace: changed - end,
      read: milliseconds() - changed)
  }

  private func sweep(_ base: UnsafeMutableRawPointer, changes: Bool, _ team: KernelTeam) {
    let parts = 64
    let tensor = base == x
    team.run(parts) { [self] part in
      let own = share(part, of: parts, in: lines)
      sweep(changes, tensor ? x : gradient, own.lowerBound, own.upperBound)
    }
  }

  /// Uniform numbers in -1 ..< 1, from a counter.
  private func fill(_ base: UnsafeMutableRawPointer, seed: UInt64) {
    // 4096 of them, repeated: making them all would take longer than the layer.
    let period = min(4096, kernel.geometry.elementCount)
    var state = seed
    for index in 0..<period {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      kernel.element.store(base, index, Double(Int64(bitPattern: state)) * 0x1p-63)
    }
    var done = period * kernel.element.bytes
    while done < kernel.bufferBytes {
      let now = min(done, kernel.bufferBytes - done)
      (base + done).copyMemory(from: base, byteCount: now)
      done += now
    }
  }
}

extension ABNElement {
  /// Stores a number as element `index`; of bfloat16 cut off, not rounded.
  fileprivate func store(_ base: UnsafeMutableRawPointer, _ index: Int, _ value: Double) {
    let at = index * bytes
    switch self {
    case .float16: base.storeBytes(of: Float16(value), toByteOffset: at, as: Float16.self)
    case .bfloat16:
      base.storeBytes(
        of: UInt16(Float(value).bitPattern >> 16), toByteOffset: at, as: UInt16.self)
    case .float32: base.storeBytes(of: Float(value), toByteOffset: at, as: Float.self)
    case .float64: base.storeBytes(of: value, toByteOffset: at, as: Double.self)
    }
  }
}

/// Pages of their own, large ones if the system has them.
private func mapped(_ bytes: Int) throws(KernelError) -> UnsafeMutableRawPointer {
  let base = mmap(nil, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
  guard let base, base != MAP_FAILED else {
    throw KernelError(
      what: "memory for the timing", got: "none from the system", wanted: "\(bytes) bytes",
      fix: "Time a smaller tensor.")
  }
  madvise(base, bytes, MADV_HUGEPAGE)
  return base
}

private func milliseconds() -> Double {
  var time = timespec()
  clock_gettime(CLOCK_MONOTONIC, &time)
  return Double(time.tv_sec) * 1e3 + Double(time.tv_nsec) * 1e-6
}
