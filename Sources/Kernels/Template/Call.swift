import CKernels

/// The parameter vectors of a lane, in the precision of sums: `parameters` holds `Slot.count` rows
/// of `lanes` numbers each, or one number each where all lanes are one channel.
package enum Slot {
  /// The mean, and what its rounding took away; for statistics the pivot.
  package static let mean = 0
  package static let meanRemainder = 1
  /// scale * inverse deviation.
  package static let gain = 2
  package static let bias = 3
  /// The slope left of zero (alpha), and its inverse.
  package static let slope = 4
  package static let inverseSlope = 5
  /// dx = dyFactor * dy + offset + distanceFactor * (y - bias, or x - mean).
  package static let dyFactor = 6
  package static let offset = 7
  package static let distanceFactor = 8
  /// Standard deviation / scale: x = mean + (y - bias) * spread.
  package static let spread = 9
  /// Going forward, in its place: the y below which x is kept aside.
  package static let limit = 9
  /// Not 0 where the destination must stay what it is.
  package static let keep = 10
  /// bias less what rounding took from the mean, times gain: y = (x - mean) * gain + shiftedBias.
  package static let shiftedBias = 11
  /// A power of two that x, as the mean, its remainder and 1 / gain, is taken times by the steps
  /// that take x and dz: 1, but for channels whose gain / deviation is no number of float32 by far.
  package static let unit = 12
  package static let count = 13
}

/// What to do with a range of elements; the same numbers for every instruction set.
package enum Step {
  /// sums 0, 1, 2: of x - pivot; what must be added to 2 to make it the sum of its squares; squares
  /// around other centres.
  package static let statistics = 0
  /// out = act(y), y from x, for the invertible activations.
  package static let forward = 1
  /// sums 0 ... 2: of dy, dy * (y - bias), dz * min(y, 0); a = z, b = dz.
  package static let reduce = 2
  /// out = dx; a = z, b = dz.
  package static let apply = 3
  /// out = x; a = z.
  package static let restore = 4
  /// `reduce` and `apply` for any activation, a = y.
  package static let reduceStored = 10
  package static let applyStored = 11
  /// `reduce` and `apply` for any activation, a = x; x - mean stands for y - bias.
  package static let reduceInput = 5
  package static let applyInput = 6
  /// `reduce` and `apply` without y - bias, and for the activations that are lines without y.
  package static let reduceDirect = 7
  package static let applyDirect = 8
  /// sums 0, 1: of x - pivot and its square, in float64. Of runs only.
  package static let carefulStatistics = 9
}

/// What one call is about.
typealias Call = abn_kernel_call

extension abn_kernel_call {
  /// Whether all lanes are one channel: parameters are one number each, and elements may be taken
  /// in any order within a run.
  @inline(__always) var isUniform: Bool { lanes == 1 }

  @inline(__always)
  func parameter<V: Vector>(_ slot: Int, _ lane: Int) -> V {
    isUniform ? V.broadcast(parameters, slot) : V.load(parameters, slot &* lanes &+ lane)
  }

  /// Adds to a row of sums, or begins it: with nothing to wait for, as adding to a 0 just written
  /// takes a tenth of the time in small channels.
  @inline(__always)
  func add(_ value: F64, row: Int, _ lane: Int, starts: Bool) {
    let at = row &* (isUniform ? 16 : lanes) &+ lane
    if starts { value.store(sums, at) } else { (F64.load(sums, at) + value).store(sums, at) }
  }

  /// Prefetches `count` elements of what is read, from `index` on. They need not exist.
  @inline(__always)
  func prefetch<E: Element>(_ element: E.Type, _ index: Int, _ count: Int, both: Bool) {
    var at = index &* E.bytes
    let end = at &+ count &* E.bytes
    while at < end {
      abn_prefetch(a + at)
      if both { abn_prefetch(b + at) }
      at &+= 64
    }
  }
}
