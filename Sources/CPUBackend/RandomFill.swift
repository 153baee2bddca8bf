import ABNOperators
import ABNRuntime
import ABNTensors
import Numerics

extension RandomFill: CPULowerable {
  func lower(_ c: inout LoweringContext) throws {
    let count = type.shape.elementCount
    let argument = c.write(0)
    let (source, distribution) = (source, distribution)
    func run<T: CPUFloat>(_: T.Type) -> @Sendable (StepPointers) -> Void {
      { p in
        nonisolated(unsafe) let out = p(0, as: T.self)
        Parallel.ranges(count, grain: 4096) { range in
          for i in range { out[i] = T(distribution.value(source, UInt64(i))) }
        }
      }
    }
    c.step([argument], run: try c.float(type.dtype, run(Float.self), run(Double.self)))
  }
}

extension RandomFill.Distribution {
  /// Number `index` of the distribution.
  func value(_ source: CounterRandom, _ index: UInt64) -> Double {
    switch self {
    case .uniform(let low, let high): return low + (high - low) * source.uniform(index)
    case .normal(let mean, let deviation):
      return mean + deviation * Self.standardNormal(source, index)
    case .truncatedNormal(let mean, let deviation):
      // Redraws come from far along the stream: 2^40 numbers between one attempt and the next.
      var attempt = UInt64(0)
      while true {
        let value = Self.standardNormal(source, index &+ attempt << 40)
        if abs(value) <= 2 { return mean + deviation * value }
        attempt += 1
      }
    }
  }

  /// Box and Muller's transform of two uniform numbers of one Philox block.
  private static func standardNormal(_ source: CounterRandom, _ index: UInt64) -> Double {
    let words = source.words(block: index)
    // In (0, 1]: the logarithm is finite.
    let u = (Double(words[0]) + 1) * 0x1p-32
    let v = Double(words[1]) * 0x1p-32
    return (-2 * Double.log(u)).squareRoot() * Double.cos(2 * .pi * v)
  }
}

extension AssignValue: CPULowerable {
  static var takes16Bits: Bool { true }

  func lower(_ c: inout LoweringContext) throws {
    let values = values
    c.step([c.write(0)]) { p in
      values.withUnsafeBytes { bytes in
        if let base = bytes.baseAddress { p[0].copyMemory(from: base, byteCount: bytes.count) }
      }
    }
  }
}
