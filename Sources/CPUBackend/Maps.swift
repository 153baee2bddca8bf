import ABNRuntime

// Steps over flat arrays. The closure of a step gets a range and holds the loop over it (`each`),
// so that the function is inlined there and the loop becomes vectors: a closure that is called for
// every element stays a call, ten times slower. Reads come before the write of the same element,
// so that steps may run in place.

/// Neighbouring elements of one array and of the result.
struct MapRange<T: CPUFloat> {
  fileprivate let x: UnsafePointer<T>
  fileprivate let y: UnsafeMutablePointer<T>
  fileprivate let count: Int

  /// y[i] = f(x[i]).
  @inline(__always)
  func each(_ f: (T) -> T) {
    for i in 0..<count { y[i] = f(x[i]) }
  }
}

/// argument 1 [i] = f(argument 0 [i]), `body` being `{ $0.each(f) }`.
@inline(__always)
func mapStep<T: CPUFloat>(
  _ count: Int, _ body: @escaping @Sendable (MapRange<T>) -> Void
) -> @Sendable (StepPointers) -> Void {
  { p in
    let x = p(0, as: T.self)
    let y = p(1, as: T.self)
    Parallel.ranges(count) { range in
      body(MapRange(x: x + range.lowerBound, y: y + range.lowerBound, count: range.count))
    }
  }
}

/// Elements of two arrays, each at a stride of 0 or more, and neighbouring ones of the result.
struct ZipRange<T: CPUFloat> {
  let x: UnsafePointer<T>
  let y: UnsafePointer<T>
  let z: UnsafeMutablePointer<T>
  let count: Int
  let strideX: Int
  let strideY: Int

  /// z[i] = f(x[i], y[i]).
  @inline(__always)
  func each(_ f: (T, T) -> T) {
    // The usual strides each get a loop that the compiler can turn into vectors.
    switch (strideX, strideY) {
    case (1, 1): for i in 0..<count { z[i] = f(x[i], y[i]) }
    case (1, 0):
      let scalar = y[0]
      for i in 0..<count { z[i] = f(x[i], scalar) }
    case (0, 1):
      let scalar = x[0]
      for i in 0..<count { z[i] = f(scalar, y[i]) }
    default: for i in 0..<count { z[i] = f(x[i * strideX], y[i * strideY]) }
    }
  }
}

/// argument 2 [i] = f(argument 0 [i], argument 1 [i]), `body` being `{ $0.each(f) }`.
@inline(__always)
func zipStep<T: CPUFloat>(
  _ count: Int, _ body: @escaping @Sendable (ZipRange<T>) -> Void
) -> @Sendable (StepPointers) -> Void {
  { p in
    let x = p(0, as: T.self)
    let y = p(1, as: T.self)
    let z = p(2, as: T.self)
    Parallel.ranges(count) { range in
      let first = range.lowerBound
      body(
        ZipRange(
          x: x + first, y: y + first, z: z + first, count: range.count, strideX: 1, strideY: 1))
    }
  }
}

/// The same over a loop nest with operands x, y and the result, which is row-major.
@inline(__always)
func stridedZipStep<T: CPUFloat>(
  _ loop: StridedLoop, _ body: @escaping @Sendable (ZipRange<T>) -> Void
) -> @Sendable (StepPointers) -> Void {
  let inner = loop.inner
  let (sx, sy) = (loop.innerStride(0), loop.innerStride(1))
  return { p in
    Parallel.ranges(loop.outer, grain: max(1, 16384 / max(1, inner))) { rows in
      for row in rows {
        body(
          ZipRange(
            x: p(0, as: T.self) + loop.offset(0, row: row),
            y: p(1, as: T.self) + loop.offset(1, row: row), z: p(2, as: T.self) + row * inner,
            count: inner, strideX: sx, strideY: sy))
      }
    }
  }
}
