@testable import ABNCPUBackend
import ABNKernels
import ABNTensors
import Testing

/// Conversions between the 16-bit types and float32 against those of the standard library.
@Suite struct SixteenBitsTests {
  private func convert<T, U>(
    _ from: (DType, [T]), _ to: DType, _ out: inout [U], stride: Int = 1
  ) throws {
    let (source, target) = (from.0.element!, to.element!)
    let kernel = try FlatKernel(.copy, in: .float32)
    from.1.withUnsafeBytes { from in
      out.withUnsafeMutableBytes { to in
        kernel(
          FlatOperands(
            FlatOperand(from.baseAddress!, source, stride: stride, rowStride: 0),
            FlatOperand(to.baseAddress!, target)), count: to.count / target.bytes)
      }
    }
  }

  private func widen(_ dtype: DType, _ bits: [UInt16], stride: Int = 1) throws -> [Float] {
    var out = [Float](repeating: -1, count: bits.count / stride)
    try convert((dtype, bits), .float32, &out, stride: stride)
    return out
  }

  private func narrow(_ dtype: DType, _ values: [Float]) throws -> [UInt16] {
    var out = [UInt16](repeating: 0, count: values.count)
    try convert((.float32, values), dtype, &out)
    return out
  }

  @Test func everyNumberIsWidenedExactly() throws {
    let all = (0...UInt16.max).map { $0 }
    for (bits, value) in zip(all, try widen(.float16, all)) {
      let wanted = Float(Float16(bitPattern: bits))
      #expect(value == wanted || value.isNaN && wanted.isNaN, "\(bits)")
      #expect(value.sign == wanted.sign, "\(bits)")
    }
    for (bits, value) in zip(all, try widen(.bfloat16, all)) {
      #expect(value.bitPattern == UInt32(bits) << 16, "\(bits)")
    }
    for dtype in [DType.float16, .bfloat16] {
      let third = try widen(dtype, all, stride: 3)
      let plain = try widen(dtype, all.enumerated().filter { $0.offset % 3 == 0 }.map(\.element))
      #expect(third.map(\.bitPattern) == Array(plain.map(\.bitPattern).prefix(third.count)))
    }
  }

  /// Every 16-bit number, the middle between it and the next, and the neighbours of both.
  @Test func nearestIsStored() throws {
    for dtype in [DType.float16, .bfloat16] {
      var values: [Float] = []
      for value in try widen(dtype, (0...UInt16.max).map { $0 }) where value.isFinite {
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
      for (value, bits) in zip(values, try narrow(dtype, values)) {
        if value.isNaN {
          #expect(try widen(dtype, [bits])[0].isNaN, "\(value)")
          continue
        }
        let wanted =
          dtype == .float16 ? Float16(value).bitPattern : BFloat16(value).bitPattern
        #expect(bits == wanted, "\(dtype) of \(value): \(bits), wanted \(wanted)")
      }
    }
  }
}
