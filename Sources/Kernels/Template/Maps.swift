import CKernels

/// z from x.
struct Forward<E: Element, A: InvertibleActivation>: LaneMap {
  let mean: E.V
  let gain: E.V
  let bias: E.V
  let slope: E.V
  /// y below which z does not tell it; of activations that saturate.
  let limit: E.V

  @inline(__always) init(_ call: Call, _ lane: Int) {
    mean = call.parameter(Slot.mean, lane)
    gain = call.parameter(Slot.gain, lane)
    bias = call.parameter(Slot.shiftedBias, lane)
    slope = call.parameter(Slot.slope, lane)
    limit = call.parameter(Slot.limit, lane)
  }

  static var keepsAside: Bool { A.saturates }

  @inline(__always) private func y(_ x: E.V) -> E.V { E.V.fma(bias, x - mean, gain) }

  @inline(__always) func isLost(_ a: E.V) -> LaneMask { limit > y(a) }

  @inline(__always) func map(_ a: E.V, _ b: E.V) -> E.V { A.activate(y(a), slope) }
}

/// x from z.
struct Restore<E: Element, A: InvertibleActivation>: LaneMap {
  let inverse: Inverse<E, A>
  let mean: E.V
  let remainder: E.V
  let spread: E.V

  @inline(__always) init(_ call: Call, _ lane: Int) {
    inverse = Inverse(call, lane)
    mean = call.parameter(Slot.mean, lane)
    remainder = call.parameter(Slot.meanRemainder, lane)
    spread = call.parameter(Slot.spread, lane)
  }

  static var leavesKept: Bool { true }

  @inline(__always) func map(_ a: E.V, _ b: E.V) -> E.V {
    E.V.fma(remainder, inverse.point(a).distance, spread) + mean
  }
}
