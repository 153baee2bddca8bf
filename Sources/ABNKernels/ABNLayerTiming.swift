#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

/// What one layer costs and what the memory of the machine allows, measured in one run.
///
/// The floor is what must move through memory: forward reads and writes the tensor once, backward
/// reads two tensors and writes one. It is the time of one in-place read and write, twice, and of
/// one read, over the same buffers with the same threads, by the widest vectors that the processor has.
/// The buffers are one mapping each, with large
/// pages where the system grants them, as the engine's arena is.
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
  /// `KernelError` for tensors that cannot be trained (empty, or one element per channel).
  public func timing(
    repetitions: Int = 9, parallel: KernelParallel = serialParallel
  ) throws(KernelError) -> ABNLayerTiming {
    try checkTrainable()
    guard geometry.elementCount > 0 else {
      throw KernelError(
        what: "timing", got: "an empty tensor", wanted: "one with elements",
        fix: "Time a shape without a size of 0.")
    }
    let channels = geometry.channels
    let number = element.statisticsBytes
    let row = (channels * number + 63) / 64 * 64
    let x = try mapped(bufferBytes + 64)
    defer { munmap(x, bufferBytes + 64) }
    let gradient = try mapped(bufferBytes + 64)
    defer { munmap(gradient, bufferBytes + 64) }
    let scratch = UnsafeMutableRawPointer.allocate(byteCount: scratchBytes, alignment: 64)
    let arrays = UnsafeMutableRawPointer.allocate(byteCount: row * 7 + 64, alignment: 64)
    defer {
      scratch.deallocate()
      arrays.deallocate()
    }
    for channel in 0..<channels {
      setStatistic(arrays, channel, 1)
      setStatistic(arrays + row, channel, 0)
      setStatistic(arrays + 2 * row, channel, 0.25)
    }
    let parameters = ABNParameters(
      scale: arrays, bias: arrays + row,
      slopes: activation == .prelu ? UnsafeRawPointer(arrays + 2 * row) : nil,
      slopeCount: activation == .prelu ? channels : 0)
    let saved = ABNSavedStatistics(
      mean: arrays + 3 * row, meanRemainder: arrays + 4 * row, inverseDeviation: arrays + 5 * row)
    let gradients = ABNGradients(scale: arrays + 6 * row, bias: nil)
    let rescue = ABNRescue(self)
    var forward: [Double] = []
    var backward: [Double] = []
    var inPlace: [Double] = []
    var read: [Double] = []
    let vectors = bufferBytes / 64
    // The machine's floor, not the chosen set's: narrow vectors get less out of the memory.
    let sweep = (ABNInstructionSet.allCases.last(where: \.isSupported) ?? .baseline).sweep
    func sweepAll(_ base: UnsafeMutableRawPointer, changes: Bool) {
      parallel(Self.timingParts) { part in
        let lines = share(part, of: Self.timingParts, in: vectors)
        sweep(changes, base, lines.lowerBound, lines.upperBound)
      }
    }
    // A core that comes from rest takes a while to reach its speed: half of it was seen for the whole of
    // nine short rounds.
    let warm = milliseconds() + Self.warmMilliseconds
    var isWarm = false
    while forward.count < max(1, repetitions) {
      fill(x, seed: 1)
      fill(gradient, seed: 2)
      let start = milliseconds()
      try trainForward(
        source: x, destination: x, parameters: parameters, moving: nil, saved: saved,
        rescue: rescue, scratch: scratch, parallel: parallel)
      let middle = milliseconds()
      try self.backward(
        mode: .batch, output: x, gradient: gradient, destination: gradient, parameters: parameters,
        saved: saved, rescue: rescue, gradients: gradients, scratch: scratch, parallel: parallel)
      let end = milliseconds()
      sweepAll(gradient, changes: true)
      let changed = milliseconds()
      sweepAll(x, changes: false)
      let finished = milliseconds()
      guard isWarm else {
        isWarm = finished >= warm
        continue
      }
      forward.append(middle - start)
      backward.append(end - middle)
      inPlace.append(changed - end)
      read.append(finished - changed)
    }
    let bytes = Double(vectors * 64)
    return ABNLayerTiming(
      forwardMilliseconds: median(forward), backwardMilliseconds: median(backward),
      floorMilliseconds: 2 * median(inPlace) + median(read),
      readGBs: bytes / median(read) / 1e6, inPlaceGBs: 2 * bytes / median(inPlace) / 1e6)
  }

  private static var timingParts: Int { 64 }
  private static var warmMilliseconds: Double { 100 }

  /// Uniform numbers in -1 ..< 1, from a counter.
  private func fill(_ base: UnsafeMutableRawPointer, seed: UInt64) {
    // 4096 of them, repeated: making them all would take longer than the layer.
    let period = min(4096, geometry.elementCount)
    var state = seed
    for index in 0..<period {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      let value = Double(Int64(bitPattern: state)) * 0x1p-63
      switch element {
      case .float16: base.storeBytes(of: Float16(value), toByteOffset: index * 2, as: Float16.self)
      case .bfloat16:
        base.storeBytes(
          of: UInt16(Float(value).bitPattern >> 16), toByteOffset: index * 2, as: UInt16.self)
      case .float32: base.storeBytes(of: Float(value), toByteOffset: index * 4, as: Float.self)
      case .float64: base.storeBytes(of: value, toByteOffset: index * 8, as: Double.self)
      }
    }
    var done = period * element.bytes
    while done < bufferBytes {
      let now = min(done, bufferBytes - done)
      (base + done).copyMemory(from: base, byteCount: now)
      done += now
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

private func median(_ values: [Double]) -> Double { values.sorted()[values.count / 2] }
