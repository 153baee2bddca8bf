import ABNKernelsBaseline

/// Where the parameters of some channels stand: a number for each slot of the kernels.
struct ChannelSlots {
  var channels: Range<Int>
  /// Slot 0 of the first channel.
  var base: UnsafeMutableRawPointer
  /// Bytes from one channel, and from one slot, to the next.
  var channelBytes: Int
  var slotBytes: Int
  /// Bytes to the second lane of each channel, where it has two; else 0.
  var copyBytes: Int
  var isDouble: Bool

  /// Some of them, by their numbers here.
  func some(_ numbers: Range<Int>) -> ChannelSlots {
    var some = self
    some.base += numbers.lowerBound * channelBytes
    some.channels =
      channels.lowerBound + numbers.lowerBound..<channels.lowerBound + numbers.upperBound
    return some
  }

  /// Writes one slot of channel number `index` here.
  @inline(__always) func put(_ index: Int, _ slot: Int, _ value: Double) {
    let at = base + (index &* channelBytes &+ slot &* slotBytes)
    if isDouble {
      at.storeBytes(of: value, as: Double.self)
      if copyBytes != 0 { at.storeBytes(of: value, toByteOffset: copyBytes, as: Double.self) }
    } else {
      // One NaN for all: rounding to bfloat16 counts on its lower half being 0.
      let value = value.isNaN ? Float.nan : Float(value)
      at.storeBytes(of: value, as: Float.self)
      if copyBytes != 0 { at.storeBytes(of: value, toByteOffset: copyBytes, as: Float.self) }
    }
  }

  /// Writes all slots of channel number `index` here.
  func put(_ index: Int, _ values: ChannelValues) {
    let unit = values.unit
    put(index, Slot.mean, values.mean * unit)
    put(index, Slot.meanRemainder, values.meanRemainder * unit)
    put(index, Slot.gain, unit == 1 ? values.gain : values.gain / unit)
    put(index, Slot.bias, values.bias)
    put(index, Slot.shiftedBias, values.shiftedBias)
    put(index, Slot.slope, values.slope)
    put(index, Slot.inverseSlope, values.inverseSlope)
    put(index, Slot.dyFactor, values.dyFactor)
    put(index, Slot.offset, values.offset)
    put(index, Slot.distanceFactor, values.distanceFactor)
    put(index, Slot.spread, values.spread)
    put(index, Slot.keep, values.keep)
    put(index, Slot.unit, unit)
  }
}

/// The parameters of one channel, one number for each slot of the kernels.
struct ChannelValues {
  var mean = 0.0
  var meanRemainder = 0.0
  var gain = 0.0
  var bias = 0.0
  var shiftedBias = 0.0
  var slope = 0.0
  var inverseSlope = 0.0
  /// dx = dyFactor * dy + offset + distanceFactor * (y - bias, or x - mean in units).
  var dyFactor = 0.0
  var offset = 0.0
  var distanceFactor = 0.0
  var spread = 0.0
  var keep = 0.0
  /// `Slot.unit`. Mean, its remainder and gain stand here as they are.
  var unit = 1.0
}

/// Where the parameters of units and the sums of windows stand: in scratch, or on the stack for
/// units that are done at once.
struct Room: @unchecked Sendable {
  // Sendable: what is worked on at the same time are different units and windows.

  let plan: Plan
  let isDouble: Bool
  /// The first unit that there is room for.
  var first = 0
  /// A block for each unit: `Slot.count` rows of parameters, and a word beside them.
  var blocks: UnsafeMutableRawPointer
  /// 3 rows of sums for each window; or, with 0 bytes, for all the same.
  var allSums: UnsafeMutableRawPointer
  var windowBytes: Int

  /// The parameters of a unit.
  @inline(__always) func block(_ unit: Int) -> UnsafeMutableRawPointer {
    blocks + (unit &- first) &* plan.blockBytes
  }

  /// Whether a unit's gradients are taken without y - bias.
  @inline(__always) func isDirect(_ unit: Int) -> Bool {
    block(unit).load(fromByteOffset: plan.blockBytes &- 8, as: Int.self) != 0
  }
  func setDirect(_ unit: Int, _ value: Bool) {
    block(unit).storeBytes(of: value ? 1 : 0, toByteOffset: plan.blockBytes - 8, as: Int.self)
  }

  /// The sums of a slice of a unit.
  @inline(__always) func sums(_ unit: Int, _ slice: Int) -> UnsafeMutableRawPointer {
    allSums + ((unit &- first) &* plan.slices &+ slice) &* windowBytes
  }

  /// The parameters of the channels of units: of one, or of several of one channel each.
  func slots(_ units: Range<Int>) -> ChannelSlots {
    let number = isDouble ? 8 : 4
    let base = block(units.lowerBound)
    if plan.isUniform {
      return ChannelSlots(
        channels: units, base: base, channelBytes: plan.blockBytes, slotBytes: number,
        copyBytes: 0, isDouble: isDouble)
    }
    return ChannelSlots(
      channels: plan.channels(units.lowerBound), base: base, channelBytes: number,
      slotBytes: plan.parameterLanes * number, copyBytes: plan.copies == 2 ? 8 * number : 0,
      isDouble: isDouble)
  }

  /// Makes a unit's parameters 0, as they must be in lanes that are padding: every result of such a
  /// lane is then 0.
  @inline(never) func clear(_ unit: Int) {
    block(unit).initializeMemory(as: UInt8.self, repeating: 0, count: plan.blockBytes)
  }

  /// Units that there is room for on the stack: as many as a part of the work has, or nearly.
  static func unitsOnStack(_ plan: Plan) -> Int {
    plan.isUniform ? max(1, min(plan.unitsPerPart, (2304 - 64 - 3 * 16 * 8) / plan.blockBytes)) : 1
  }

  /// Calls `body` with room on the stack for a few units from `first` on, one after the other. It
  /// begins with a line of the caches, where a vector that was stored is read again without a wait.
  static func onStack(_ plan: Plan, isDouble: Bool, first: Int = 0, _ body: (Room) -> Void) {
    func call(_ buffer: UnsafeMutableRawBufferPointer) {
      guard let base = buffer.baseAddress?.alignedUp(toMultipleOf: 64) else { return }
      body(
        Room(
          plan: plan, isDouble: isDouble, first: first, blocks: base + 3 * 16 * 8, allSums: base,
          windowBytes: 0))
    }
    if plan.isUniform && plan.unitsPerPart == 1 {
      // From the stack: at most 1 KiB, and no larger alignment than that of the largest number. It
      // is not made 0, which a unit on its own would feel.
      withUnsafeTemporaryAllocation(byteCount: 1024, alignment: 16, call)
    } else {
      var memory = (
        SIMD64<Double>(), SIMD64<Double>(), SIMD64<Double>(), SIMD64<Double>(), SIMD32<Double>()
      )
      withUnsafeMutableBytes(of: &memory, call)
    }
  }
}

/// The parts of scratch.
struct Scratch {
  /// Three float64 for each channel: forward the sums of x - pivot and its square, and the pivot;
  /// backward dbias, dscale and the slope's gradient.
  let totals: UnsafeMutablePointer<Double>
  /// Room for all units, where they are not done on the stack.
  let room: Room

  init(_ base: UnsafeMutableRawPointer, _ engine: Engine) {
    let plan = engine.plan
    let blocks = base + Self.totalsBytes(engine.kernel)
    totals = base.assumingMemoryBound(to: Double.self)
    room = Room(
      plan: plan, isDouble: engine.isDouble, blocks: blocks,
      allSums: blocks + plan.units * plan.blockBytes, windowBytes: Self.windowBytes(plan))
  }

  static func bytes(_ kernel: ABNKernel) -> Int {
    let plan = Plan(kernel.geometry, kernel.element, kernel.caches)
    let room =
      plan.isOnStack ? 0 : plan.units * (plan.blockBytes + plan.slices * windowBytes(plan))
    return max(128, totalsBytes(kernel) + room)
  }

  private static func totalsBytes(_ kernel: ABNKernel) -> Int {
    (kernel.geometry.channels * 24 + 63) / 64 * 64
  }

  private static func windowBytes(_ plan: Plan) -> Int {
    3 * plan.lanes * 8
  }
}
