import ABNGraph
import ABNRuntime
import ABNTensors

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

/// Steps over flat arrays of one element type. 16-bit elements are converted to float32 a few at a
/// time, so that `T` is `Float` for them.
struct FlatLoop: Sendable {
  let count: Int
  let dtype: DType

  /// The elements of a tensor of this type.
  init(_ type: TensorType) {
    count = type.shape.elementCount
    dtype = type.dtype
  }

  /// argument 1 [i] = f(argument 0 [i]), `body` being `{ $0.each(f) }`.
  @inline(__always)
  func map<T: CPUFloat>(
    _ body: @escaping @Sendable (MapRange<T>) -> Void
  ) -> @Sendable (StepPointers) -> Void {
    if dtype.is16Bits { return narrowMap(body) }
    let count = count
    return { p in
      let x = p(0, as: T.self)
      let y = p(1, as: T.self)
      Parallel.ranges(count) { range in
        body(MapRange(x: x + range.lowerBound, y: y + range.lowerBound, count: range.count))
      }
    }
  }

  /// argument 2 [i] = f(argument 0 [i], argument 1 [i]), `body` being `{ $0.each(f) }`.
  @inline(__always)
  func zip<T: CPUFloat>(
    _ body: @escaping @Sendable (ZipRange<T>) -> Void
  ) -> @Sendable (StepPointers) -> Void {
    if dtype.is16Bits {
      return stridedZipStep(StridedLoop(flat: count, operands: 3), dtype, body)
    }
    let count = count
    return { p in
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

  private func narrowMap<T: CPUFloat>(
    _ body: @escaping @Sendable (MapRange<T>) -> Void
  ) -> @Sendable (StepPointers) -> Void {
    let (count, dtype) = (count, dtype)
    return { p in
      let (x, y) = (p[0], p[1])
      Parallel.ranges(count) { range in
        forEachTile(of: range) { part, room, _ in
          dtype.widen(x + 2 * part.lowerBound, part.count, into: room)
          let own = elements(room, T.self)
          body(MapRange(x: own, y: own, count: part.count))
          dtype.narrow(room, part.count, into: y + 2 * part.lowerBound)
        }
      }
    }
  }
}

/// Float32 numbers as `T`, which is `Float` wherever elements have 16 bits.
@inline(__always)
func elements<T: CPUFloat>(
  _ room: UnsafeMutablePointer<Float>, _: T.Type
) -> UnsafeMutablePointer<T> {
  precondition(T.self == Float.self)
  return UnsafeMutableRawPointer(room).assumingMemoryBound(to: T.self)
}

/// argument 2 = f(argument 0, argument 1) over a loop nest with operands x, y and the result, which
/// is row-major; `body` being `{ $0.each(f) }`.
@inline(__always)
func stridedZipStep<T: CPUFloat>(
  _ loop: StridedLoop, _ dtype: DType, _ body: @escaping @Sendable (ZipRange<T>) -> Void
) -> @Sendable (StepPointers) -> Void {
  if dtype.is16Bits { return narrowZipStep(loop, dtype, body) }
  let inner = loop.inner
  let (sx, sy) = (loop.innerStride(0), loop.innerStride(1))
  return { p in
    let (x, y, z) = (p(0, as: T.self), p(1, as: T.self), p(2, as: T.self))
    loop.forEachStretch { row, range in
      let first = range.lowerBound
      body(
        ZipRange(
          x: x + loop.offset(0, row: row) + first * sx,
          y: y + loop.offset(1, row: row) + first * sy, z: z + row * inner + first,
          count: range.count, strideX: sx, strideY: sy))
    }
  }
}

private func narrowZipStep<T: CPUFloat>(
  _ loop: StridedLoop, _ dtype: DType, _ body: @escaping @Sendable (ZipRange<T>) -> Void
) -> @Sendable (StepPointers) -> Void {
  let inner = loop.inner
  let (sx, sy) = (loop.innerStride(0), loop.innerStride(1))
  return { p in
    let (x, y, z) = (p[0], p[1], p[2])
    loop.forEachStretch { row, range in
      let (xRow, yRow) = (loop.offset(0, row: row), loop.offset(1, row: row))
      forEachTile(of: range) { part, room, other in
        let first = part.lowerBound
        let (xs, ys) = (sx == 0 ? 1 : part.count, sy == 0 ? 1 : part.count)
        dtype.widen(x + 2 * (xRow + first * sx), xs, stride: sx, into: room)
        dtype.widen(y + 2 * (yRow + first * sy), ys, stride: sy, into: other)
        // A lone x is not where the results go.
        let result = sx == 0 ? other : room
        body(
          ZipRange(
            x: elements(room, T.self), y: elements(other, T.self), z: elements(result, T.self),
            count: part.count, strideX: min(sx, 1), strideY: min(sy, 1)))
        dtype.narrow(result, part.count, into: z + 2 * (row * inner + first))
      }
    }
  }
}
