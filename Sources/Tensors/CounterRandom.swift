/// Random numbers as a function of (seed, stream, counter): Philox 4x32 with 10 rounds.
///
/// No state: the n-th number of a stream is the same whoever asks for it, in whatever order and on
/// however many threads. Streams with different numbers are independent.
///
/// Source: Salmon, Moraes, Dror, Shaw, "Parallel Random Numbers: As Easy as 1, 2, 3" (SC 2011).
public struct CounterRandom: Sendable, Hashable {
  /// The seed of the whole run.
  @usableFromInline package let seed: UInt64
  /// Which independent sequence of the seed.
  @usableFromInline package let stream: UInt64

  /// The sequence `stream` of `seed`.
  public init(seed: UInt64, stream: UInt64) {
    self.seed = seed
    self.stream = stream
  }

  /// Four random words: numbers 4 * block ... 4 * block + 3 of the stream.
  @inlinable
  package func words(block: UInt64) -> SIMD4<UInt32> {
    var c = SIMD4<UInt32>(
      UInt32(truncatingIfNeeded: block), UInt32(truncatingIfNeeded: block >> 32),
      UInt32(truncatingIfNeeded: stream), UInt32(truncatingIfNeeded: stream >> 32))
    var k0 = UInt32(truncatingIfNeeded: seed)
    var k1 = UInt32(truncatingIfNeeded: seed >> 32)
    for _ in 0..<10 {
      let p0 = UInt64(0xD251_1F53) &* UInt64(c[0])
      let p1 = UInt64(0xCD9E_8D57) &* UInt64(c[2])
      c = SIMD4(
        UInt32(truncatingIfNeeded: p1 >> 32) ^ c[1] ^ k0, UInt32(truncatingIfNeeded: p1),
        UInt32(truncatingIfNeeded: p0 >> 32) ^ c[3] ^ k1, UInt32(truncatingIfNeeded: p0))
      k0 &+= 0x9E37_79B9
      k1 &+= 0xBB67_AE85
    }
    return c
  }

  /// Number `index` of the stream as 32 random bits.
  @inlinable
  public func bits(_ index: UInt64) -> UInt32 { words(block: index >> 2)[Int(index & 3)] }

  /// Number `index` of the stream, uniform in [0, 1): 24 bits.
  @inlinable
  public func uniform(_ index: UInt64) -> Double { Double(bits(index) >> 8) * 0x1p-24 }
}

/// A generator for `shuffle` and `random(in:)` that walks one stream from its start.
package struct SequentialRandom: RandomNumberGenerator, Sendable {
  @usableFromInline let source: CounterRandom
  @usableFromInline var block: UInt64 = 0

  /// Walks `source` from its first number.
  package init(_ source: CounterRandom) { self.source = source }

  @inlinable
  package mutating func next() -> UInt64 {
    let words = source.words(block: block)
    block &+= 1
    return UInt64(words[0]) | UInt64(words[1]) << 32
  }
}
