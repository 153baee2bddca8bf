@testable import ABNCPUBackend
import ABNTensors
import Testing

/// Conversions between the 16-bit types and float32 against those of the standard library.
@Suite struct SixteenBitsTests {
  private func widen(_ dtype: DType, _ bits: [UInt16], stride: Int = 1) -> [Float] {
    var out = [Float](repeating: -1, count: bits.count / stride)
    dtype.widen(bits, out.count, stride: stride, into: &out)
    return out
  }

  private func narrow(_ dtype: DType, _ values: [Float]) -> [UInt16] {
    var out = [UInt16](repeating: 0, count: values.count)
    dtype.narrow(values, values.count, into: &out)
    return out
  }

  @Test func everyNumberIsWidenedExactly() {
    let all = (0...UInt16.max).map { $0 }
    for (bits, value) in zip(all, widen(.float16, all)) {
      let wanted = Float(Float16(bitPattern: bits))
      #expect(value == wanted || value.isNaN && wanted.isNaN, "\(bits)")
      #expect(value.sign == wanted.sign, "\(bits)")
    }
    for (bits, value) in zip(all, widen(.bfloat16, all)) {
      #expect(value.bitPattern == UInt32(bits) << 16, "\(bits)")
    }
    for dtype in [DType.float16, .bfloat16] {
      let third = widen(dtype, all, stride: 3)
      let plain = widen(dtype, all.enumerated().filter { $0.offset % 3 == 0 }.map(\.element))
      #expect(third.map(\.bitPattern) == Array(plain.map(\.bitPattern).prefix(third.count)))
    }
  }

  /// Every 16-bit number, the middle between it and the next, and the neighbours of both.
  @Test func nearestIsStored() {
    for dtype in [DType.float16, .bfloat16] {
      var values: [Float] = []
      for value in widen(dtype, (0...UInt16.max).map { $0 }) where value.isFinite {
        let next = value.nextUp
        values += [value, next, value.nextDown]
        let gap: Float = dtype == .float16 ? max(value.magnitude * 0x1p-11, 0x1p-25) : 0
        let middle = value + gap / 2
        values += [middle, middle.nextUp, middle.nextDown, value + gap]
        let half = Float(bitPattern: value.bitPattern | 0x8000)
        values += [half, half.nextUp, half.nextDown]
      }
      let random = CounterRandom(seed: 1, stream: 2)
      for i in 0..<100_000 {
        values.append(Float(bitPattern: random.words(block: UInt64(i))[0]))
      }
      values += [.infinity, -.infinity, .nan, -.nan, .greatestFiniteMagnitude, 65519.99, 65520]
      for (value, bits) in zip(values, narrow(dtype, values)) {
        if value.isNaN {
          #expect(widen(dtype, [bits])[0].isNaN, "\(value)")
          continue
        }
        let wanted =
          dtype == .float16 ? Float16(value).bitPattern : BFloat16(value).bitPattern
        #expect(bits == wanted, "\(dtype) of \(value): \(bits), wanted \(wanted)")
      }
    }
  }
}
