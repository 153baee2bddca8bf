import ABNKernelsBaseline

/// Sixteen lanes and the channels they stand for: one channel in all of them, up to 16 channels, or
/// up to 8 channels twice. Lanes past the last channel are padding.
struct LaneGroup {
  /// The first channel.
  var first: Int
  /// How many channels; the rest of the lanes is padding.
  var channels: Int
  /// 16, 2 or 1 lanes a channel.
  var copies: Int

  /// One channel in all lanes.
  static func alone(_ channel: Int) -> LaneGroup {
    LaneGroup(first: channel, channels: 1, copies: 16)
  }

  /// Numbers in a row of parameters, as the kernels are told: one where all lanes are one channel.
  var parameterLanes: Int { copies == 16 ? 1 : 16 }

  /// The sum over the lanes of a channel in one row of sums, pairwise: a chain of 16 additions would be
  /// felt in small channels.
  @inline(__always) func total(_ sums: UnsafeRawPointer, _ channel: Int) -> Double {
    let lanes = sums.assumingMemoryBound(to: Double.self)
    switch copies {
    case 16:
      let all = sums.loadUnaligned(as: SIMD16<Double>.self)
      let eight = all.lowHalf + all.highHalf
      let four = eight.lowHalf + eight.highHalf
      let two = four.lowHalf + four.highHalf
      return two[0] + two[1]
    case 2: return lanes[channel] + lanes[channel + 8]
    default: return lanes[channel]
    }
  }

  /// Puts a total into the lanes of a channel, so that `total` gives it back.
  func setTotal(_ sums: UnsafeMutableRawPointer, _ channel: Int, _ value: Double) {
    let lanes = sums.assumingMemoryBound(to: Double.self)
    switch copies {
    case 16: for lane in 0..<16 { lanes[lane] = lane == 0 ? value : 0 }
    case 2:
      lanes[channel] = value
      lanes[channel + 8] = 0
    default: lanes[channel] = value
    }
  }
}

/// The parameters of one channel, one number for each slot of the kernels; all 0 for padding, which
/// makes every result of a padded lane 0.
struct ChannelValues {
  var mean = 0.0
  var meanRemainder = 0.0
  var gain = 0.0
  var bias = 0.0
  var shiftedBias = 0.0
  var slope = 0.0
  var inverseSlope = 0.0
  var dyFactor = 0.0
  var offset = 0.0
  var distanceFactor = 0.0
  var spread = 0.0
  var limit = -Double.infinity
  var keep = 0.0
  /// `Slot.unit`. Mean, its remainder and gain stand here as they are, and distanceFactor as it is used.
  var unit = 1.0
}

/// Where the parameters of a call stand: `Slot.count` rows of `stride` numbers. Where all lanes are one
/// channel `stride` is 1: the kernels spread the numbers themselves.
struct ParameterRows {
  var base: UnsafeMutableRawPointer
  var stride: Int
  var isDouble: Bool

  /// Writes one channel's numbers to its lanes; `lane` is the group's first lane in the rows.
  func set(_ group: LaneGroup, _ lane: Int, _ channel: Int, _ values: ChannelValues) {
    let unit = values.unit
    put(group, lane, channel, Slot.mean, values.mean * unit)
    put(group, lane, channel, Slot.meanRemainder, values.meanRemainder * unit)
    put(group, lane, channel, Slot.gain, unit == 1 ? values.gain : values.gain / unit)
    put(group, lane, channel, Slot.shiftedBias, values.shiftedBias)
    put(group, lane, channel, Slot.spread, values.spread)
    put(group, lane, channel, Slot.unit, unit)
    setInverse(group, lane, channel, values)
    setGradient(group, lane, channel, values)
  }

  /// Writes what the forward pass reads of one channel's numbers.
  @inline(__always)
  func setForward(_ group: LaneGroup, _ lane: Int, _ channel: Int, _ values: ChannelValues) {
    put(group, lane, channel, Slot.mean, values.mean)
    put(group, lane, channel, Slot.gain, values.gain)
    put(group, lane, channel, Slot.shiftedBias, values.shiftedBias)
    put(group, lane, channel, Slot.slope, values.slope)
    put(group, lane, channel, Slot.limit, values.limit)
  }

  /// Writes what undoing the activation reads, and whether the channel is kept.
  @inline(__always)
  func setInverse(_ group: LaneGroup, _ lane: Int, _ channel: Int, _ values: ChannelValues) {
    put(group, lane, channel, Slot.bias, values.bias)
    put(group, lane, channel, Slot.slope, values.slope)
    put(group, lane, channel, Slot.inverseSlope, values.inverseSlope)
    put(group, lane, channel, Slot.keep, values.keep)
  }

  /// Writes what dx is made with beside that.
  @inline(__always)
  func setGradient(_ group: LaneGroup, _ lane: Int, _ channel: Int, _ values: ChannelValues) {
    put(group, lane, channel, Slot.dyFactor, values.dyFactor)
    put(group, lane, channel, Slot.offset, values.offset)
    put(group, lane, channel, Slot.distanceFactor, values.distanceFactor)
  }

  /// Writes one slot of one channel.
  @inline(__always) func put(
    _ group: LaneGroup, _ lane: Int, _ channel: Int, _ slot: Int, _ value: Double
  ) {
    let at = slot &* stride &+ lane &+ channel
    if isDouble {
      let row = base.assumingMemoryBound(to: Double.self)
      row[at] = value
      if group.copies == 2 { row[at &+ 8] = value }
    } else {
      let row = base.assumingMemoryBound(to: Float.self)
      // One NaN for all: rounding to bfloat16 counts on its lower half being 0.
      let value = value.isNaN ? Float.nan : Float(value)
      row[at] = value
      if group.copies == 2 { row[at &+ 8] = value }
    }
  }
}

/// The parameter rows and the sums of one group of lanes, on the stack.
enum StackBlock {
  /// Calls `body` with parameter rows (`Slot.count` x 16, or x 1 if all lanes are one channel) that are 0, and
  /// with room for sums (3 x 16 float64). Both begin with a line of the caches, where a vector that was
  /// stored is read again without a wait.
  static func with(
    isUniform: Bool,
    _ body: (_ parameters: UnsafeMutableRawPointer, _ sums: UnsafeMutableRawPointer) -> Void
  ) {
    if isUniform {
      // On its own, as small channels would feel 2 KiB of zeros. From the stack: at most 1 KiB, and no larger
      // alignment than that of the largest number.
      withUnsafeTemporaryAllocation(byteCount: 64 + 128 + sumsBytes, alignment: 16) { buffer in
        guard let base = buffer.baseAddress?.alignedUp(toMultipleOf: 64) else { return }
        base.initializeMemory(as: Double.self, repeating: 0, count: Slot.count)
        body(base, base + 128)
      }
      return
    }
    var memory = (
      SIMD64<Double>(), SIMD64<Double>(), SIMD64<Double>(), SIMD64<Double>(), SIMD32<Double>()
    )
    withUnsafeMutableBytes(of: &memory) { buffer in
      guard let base = buffer.baseAddress?.alignedUp(toMultipleOf: 64) else { return }
      body(base, base + Slot.count * 128)
    }
  }

  private static let sumsBytes = 3 * 16 * 8
}

/// A few elements of a strided channel, side by side, on the stack.
struct StackElements {
  private var values =
    (SIMD64<Double>(), SIMD64<Double>(), SIMD64<Double>(), SIMD64<Double>())
  static let capacity = 256

  mutating func withPointer(_ body: (UnsafeMutableRawPointer) -> Void) {
    withUnsafeMutableBytes(of: &values) { buffer in
      if let base = buffer.baseAddress { body(base) }
    }
  }
}
