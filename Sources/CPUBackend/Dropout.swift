import ABNGraph
import ABNOperators
import ABNRuntime
import ABNTensors

extension Dropout: CPULowerable {
  // A mask belongs to elements by their row-major number.
  var walk: ImageWalk { isTest ? .anyOrder : .rowMajor }

  func lower(_ c: inout LoweringContext) throws {
    let type = c.inputType(0)
    let (dtype, count) = (type.dtype, type.shape.elementCount)
    if isTest {
      let layout = c.layout(ofInput: 0)
      let factor = testFactor
      let arguments = [try c.read(0, in: layout), c.write(0, in: layout)]
      c.step(
        arguments,
        run: factor == 1
          ? viewStep(bytes: c.outputType(0).bytes)
          : try c.flat(.scale(factor: factor, bias: 0), type, inputs: 1))
      return
    }
    // Reading tells that the counter must have a value; the update is one argument.
    _ = try c.read(1)
    let arguments = [try c.read(0), c.write(0), c.write(1), c.write(2)]
    let mask = DropoutMask(self)
    func run<T: CPUFloat>(_: T.Type) -> @Sendable (StepPointers) -> Void {
      { p in
        let (counter, draw) = (p(2, as: Int64.self), p(3, as: Int64.self))
        draw[0] = counter[0]
        counter[0] &+= 1
        mask.apply(draw: draw[0], p(0, as: T.self), p(1, as: T.self), count)
      }
    }
    c.step(arguments, run: try c.float(dtype, run(Float.self), run(Double.self)))
  }
}

extension DropoutGradient: CPULowerable {
  func lower(_ c: inout LoweringContext) throws {
    let count = c.inputType(0).shape.elementCount
    let arguments = [try c.read(0), try c.read(1), c.write(0)]
    let mask = DropoutMask(forward)
    func run<T: CPUFloat>(_: T.Type) -> @Sendable (StepPointers) -> Void {
      { p in
        mask.apply(draw: p(1, as: Int64.self)[0], p(0, as: T.self), p(2, as: T.self), count)
      }
    }
    c.step(arguments, run: try c.float(c.inputType(0).dtype, run(Float.self), run(Double.self)))
  }
}

/// The mask of a dropout, drawn while it is applied.
private struct DropoutMask: Sendable {
  let source: CounterRandom
  /// Words below this are dropped; 2^32 drops all.
  let threshold: UInt64
  let factor: Double

  init(_ dropout: Dropout) {
    source = dropout.source
    threshold = UInt64(dropout.probability * 0x1p32)
    factor = dropout.trainingFactor
  }

  /// y = x * mask number `draw`.
  ///
  /// Draw n takes the blocks from n * 2^32 on, 64 blocks for 256 elements: no two draws of tensors
  /// with fewer than 2^34 elements share a number.
  func apply<T: CPUFloat>(
    draw: Int64, _ x: UnsafePointer<T>, _ y: UnsafeMutablePointer<T>, _ count: Int
  ) {
    guard let threshold = UInt32(exactly: threshold) else {
      nonisolated(unsafe) let y = y
      Parallel.ranges(count) { range in
        (y + range.lowerBound).update(repeating: 0, count: range.count)
      }
      return
    }
    let factor = T(factor)
    let base = UInt64(bitPattern: draw) << 32
    // The grain is a multiple of 256.
    nonisolated(unsafe) let (x, y) = (x, y)
    Parallel.ranges(count) { range in
      withUnsafeTemporaryAllocation(of: UInt32.self, capacity: 256) { buffer in
        let words = buffer.baseAddress!
        var first = range.lowerBound
        while first < range.upperBound {
          source.words256(from: base &+ UInt64(first / 4), into: words)
          let (from, to) = (x + first, y + first)
          for i in 0..<min(256, range.upperBound - first) {
            to[i] = words[i] >= threshold ? from[i] * factor : 0
          }
          first += 256
        }
      }
    }
  }
}

extension CounterRandom {
  /// The words of the 64 blocks from `block` on: word w of block b at 64 * w + b.
  ///
  /// The same numbers as `words(block:)`, in loops over blocks that the compiler turns into
  /// vectors; converting between vectors of 32 and 64 bits would be done lane by lane.
  func words256(from block: UInt64, into c: UnsafeMutablePointer<UInt32>) {
    // Blocks begin at a multiple of 64: the lower half does not overflow into the upper.
    for b in 0..<64 {
      c[b] = UInt32(truncatingIfNeeded: block) &+ UInt32(truncatingIfNeeded: b)
      c[64 + b] = UInt32(truncatingIfNeeded: block >> 32)
      c[128 + b] = UInt32(truncatingIfNeeded: stream)
      c[192 + b] = UInt32(truncatingIfNeeded: stream >> 32)
    }
    var k0 = UInt32(truncatingIfNeeded: seed)
    var k1 = UInt32(truncatingIfNeeded: seed >> 32)
    for _ in 0..<10 {
      for b in 0..<64 {
        let p0 = UInt64(c[b]) &* 0xD251_1F53
        let p1 = UInt64(c[128 + b]) &* 0xCD9E_8D57
        c[b] = UInt32(truncatingIfNeeded: p1 &>> 32) ^ c[64 + b] ^ k0
        c[64 + b] = UInt32(truncatingIfNeeded: p1)
        c[128 + b] = UInt32(truncatingIfNeeded: p0 &>> 32) ^ c[192 + b] ^ k1
        c[192 + b] = UInt32(truncatingIfNeeded: p0)
      }
      k0 &+= 0x9E37_79B9
      k1 &+= 0xBB67_AE85
    }
  }
}
