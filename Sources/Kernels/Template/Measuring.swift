/// What memory allows, for the benchmarks: goes over the lines of 64 bytes `first` ..< `end` of
/// `base` with the vectors of this set. `changes`: each is read and written; else all are read, and
/// so that the reads are kept the first word is set in the one case of 2^96 that three of their
/// sums are 1, 2 and 3.
package func sweep(_ changes: Bool, _ base: UnsafeMutableRawPointer, _ first: Int, _ end: Int) {
  var at = first &* 64
  let last = end &* 64
  if changes {
    while at < last {
      let line = base.loadUnaligned(fromByteOffset: at, as: SIMD16<UInt32>.self)
      base.storeBytes(of: line ^ 1, toByteOffset: at, as: SIMD16<UInt32>.self)
      at &+= 64
    }
    return
  }
  var seen = SIMD16<UInt32>()
  while at < last {
    seen ^= base.loadUnaligned(fromByteOffset: at, as: SIMD16<UInt32>.self)
    at &+= 64
  }
  if first < end, seen[0] == 1, seen[1] == 2, seen[2] == 3 {
    base.storeBytes(of: seen[0], toByteOffset: first &* 64, as: UInt32.self)
  }
}

/// Elementary functions on arrays, for the tests of their error bounds: 0 exp, 1 expm1 (x <= 0), 2
/// log1p (-1 < x <= 0), 3 tanh, 4 sigmoid, 5 normal distribution, 6 its density; 7, for that of
/// masks: in all lanes the number whose bit n is whether x > 0 in lane n, with 65536 beside it
/// where any is. `wide`: float64, else float32. `count` is a multiple of 16.
package func evaluate(
  _ function: Int, _ wide: Bool, _ x: UnsafeRawPointer, _ out: UnsafeMutableRawPointer, _ count: Int
) {
  if wide {
    evaluateAll(F64.self, function, x, out, count)
  } else {
    evaluateAll(F32.self, function, x, out, count)
  }
}

private func evaluateAll<V: Vector>(
  _ type: V.Type, _ function: Int, _ x: UnsafeRawPointer, _ out: UnsafeMutableRawPointer,
  _ count: Int
) {
  var index = 0
  while index < count {
    let value = V.load(x, index)
    let result: V =
      switch function {
      case 0: V.exp(value)
      case 1: V.expMinusOneOfNegative(value)
      case 2: V.logOfOnePlusNegative(value)
      case 3: V.tanh(value)
      case 4: V.sigmoid(value)
      case 5: V.normal(value).below
      case 6: V.normal(value).density
      default: V(Double((value > V(0)).bits + (V.any(value > V(0)) ? 0x1_0000 : 0)))
      }
    result.store(out, index)
    index &+= 16
  }
}
