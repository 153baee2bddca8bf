import Foundation

@testable import ABNKernels

/// Memory with a fence on either side that shows a write outside.
final class Buffer {
  let base: UnsafeMutableRawPointer
  let bytes: Int
  private let whole: UnsafeMutableRawPointer
  private static let fence = 128

  init(bytes: Int) {
    self.bytes = bytes
    whole = .allocate(byteCount: bytes + 2 * Self.fence, alignment: 64)
    whole.initializeMemory(as: UInt8.self, repeating: 0xA5, count: bytes + 2 * Self.fence)
    base = whole + Self.fence
  }

  deinit { whole.deallocate() }

  /// Whether both fences are as they were.
  var isIntact: Bool {
    let all = UnsafeRawBufferPointer(start: whole, count: bytes + 2 * Self.fence)
    return all.prefix(Self.fence).allSatisfy { $0 == 0xA5 }
      && all.suffix(Self.fence).allSatisfy { $0 == 0xA5 }
  }

  var contents: [UInt8] { Array(UnsafeRawBufferPointer(start: base, count: bytes)) }
}

extension ABNElement {
  func load(_ base: UnsafeRawPointer, _ index: Int) -> Double {
    switch self {
    case .float16: Double(base.load(fromByteOffset: index * 2, as: Float16.self))
    case .bfloat16:
      Double(Float(bitPattern: UInt32(base.load(fromByteOffset: index * 2, as: UInt16.self)) << 16))
    case .float32: Double(base.load(fromByteOffset: index * 4, as: Float.self))
    case .float64: base.load(fromByteOffset: index * 8, as: Double.self)
    }
  }

  func store(_ base: UnsafeMutableRawPointer, _ index: Int, _ value: Double) {
    switch self {
    case .float16: base.storeBytes(of: Float16(value), toByteOffset: index * 2, as: Float16.self)
    case .bfloat16:
      base.storeBytes(
        of: UInt16(Scalar.bfloat16Bits(Float(value))), toByteOffset: index * 2, as: UInt16.self)
    case .float32: base.storeBytes(of: Float(value), toByteOffset: index * 4, as: Float.self)
    case .float64: base.storeBytes(of: value, toByteOffset: index * 8, as: Double.self)
    }
  }

  func rounded(_ value: Double) -> Double {
    var memory = 0.0
    return withUnsafeMutableBytes(of: &memory) {
      store($0.baseAddress!, 0, value)
      return load($0.baseAddress!, 0)
    }
  }
}

extension ABNGeometry {
  /// Where element `index` (batch-major, then spatial) of a channel stands.
  func offset(_ channel: Int, _ index: Int) -> Int {
    switch layout {
    case .channelSecond:
      return (index / spatial * channels + channel) * spatial + index % spatial
    case .channelLast:
      return index * channels + channel
    case .blocked(let size):
      let blocks = (channels + size - 1) / size
      let run = index / spatial * blocks + channel / size
      return (run * spatial + index % spatial) * size + channel % size
    }
  }
}

/// Random numbers by a counter: the same on every machine.
struct Source: RandomNumberGenerator {
  var state: UInt64
  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }
  mutating func uniform(_ low: Double, _ high: Double) -> Double {
    low + (high - low) * Double(next() >> 11) * 0x1p-53
  }
  mutating func normal() -> Double {
    let r = (-2 * log(uniform(1e-12, 1))).squareRoot()
    return r * cos(uniform(0, 2 * Double.pi))
  }
}

/// Runs the parts on several threads, out of order.
@Sendable func manyThreads(_ parts: Int, _ body: @Sendable (Int) -> Void) {
  DispatchQueue.concurrentPerform(iterations: parts) { body(parts - 1 - $0) }
}
