import ABNOperations
import ABNRuntime
import ABNTensors
import Numerics

/// Lines along one axis of a row-major tensor: the elements of a line are `inner` apart.
struct AxisLines: Sendable {
  /// Dimensions before the axis, multiplied.
  let outer: Int
  /// The size of the axis.
  let length: Int
  /// Dimensions after the axis, multiplied.
  let inner: Int

  /// Neighbouring lines that are worked on together: 1 KiB of float32, long enough for vectors and
  /// few pages, and the most that a temporary allocation keeps on the stack.
  static func width<T>(_: T.Type) -> Int { 1024 / MemoryLayout<T>.size }

  init(_ shape: Shape, axis: Int) {
    let axis = axis < 0 ? axis + shape.rank : axis
    outer = shape.dimensions[..<axis].reduce(1, *)
    length = shape[axis]
    inner = shape.dimensions[(axis + 1)...].reduce(1, *)
  }

  /// Calls `body` for groups of neighbouring lines: (where the first line starts, its number, how
  /// many).
  ///
  /// Lines that are contiguous (inner 1) come one at a time.
  @inline(__always)
  func forEachGroup<T>(of type: T.Type, _ body: (Int, Int, Int) -> Void) {
    let width = Self.width(T.self)
    let blocks = (inner + width - 1) / width
    let each = max(1, length * min(inner, width))
    Parallel.ranges(outer * blocks, grain: max(1, 16384 / each)) { groups in
      for group in groups {
        let (row, block) = group.quotientAndRemainder(dividingBy: blocks)
        let first = block * width
        body(row * length * inner + first, row * inner + first, min(width, inner - first))
      }
    }
  }
}

/// The pieces of a softmax over a group of lines; `width` numbers for the group where lines are
/// not contiguous, else one.
struct SoftmaxGroup<T: VectorFloat> {
  let lines: AxisLines
  let width: Int

  /// top[j] = the largest element of line j; NaN is passed over, and turns up in the sum.
  @inline(__always)
  func maxima(_ x: UnsafePointer<T>, into top: UnsafeMutablePointer<T>) {
    if lines.inner == 1 {
      var best = -T.infinity
      var i = 0
      if lines.length >= 32 {
        // Sixteen independent maxima, so that the loop becomes vectors.
        withUnsafeTemporaryAllocation(of: T.self, capacity: 16) { buffer in
          let lanes = buffer.baseAddress!
          lanes.update(repeating: best, count: 16)
          while i + 16 <= lines.length {
            let from = x + i
            for lane in 0..<16 { lanes[lane] = from[lane] > lanes[lane] ? from[lane] : lanes[lane] }
            i += 16
          }
          for lane in 0..<16 where lanes[lane] > best { best = lanes[lane] }
        }
      }
      while i < lines.length {
        best = x[i] > best ? x[i] : best
        i += 1
      }
      top[0] = best
    } else {
      if lines.length > 0 { top.update(from: x, count: width) }
      for c in 1..<max(1, lines.length) {
        let row = x + c * lines.inner
        for j in 0..<width { top[j] = row[j] > top[j] ? row[j] : top[j] }
      }
    }
  }

  /// y = exp(x - top), sum[j] = the sum of line j. y may be x.
  @inline(__always)
  func exponentials(
    _ x: UnsafePointer<T>, _ y: UnsafeMutablePointer<T>, top: UnsafePointer<T>,
    sum: UnsafeMutablePointer<T>
  ) {
    if lines.inner == 1 {
      let shift = top[0]
      for i in 0..<lines.length { y[i] = T.vectorExp(x[i] - shift) }
      sum[0] = lineSum(lines.length, { vector8(y + $0) }, { y[$0] })
    } else {
      sum.update(repeating: 0, count: width)
      for c in 0..<lines.length {
        let (from, to) = (x + c * lines.inner, y + c * lines.inner)
        for j in 0..<width { to[j] = T.vectorExp(from[j] - top[j]) }
        for j in 0..<width { sum[j] += to[j] }
      }
    }
  }

  /// y /= sum.
  @inline(__always)
  func normalize(_ y: UnsafeMutablePointer<T>, sum: UnsafePointer<T>) {
    if lines.inner == 1 {
      let factor = 1 / sum[0]
      for i in 0..<lines.length { y[i] *= factor }
    } else {
      for c in 0..<lines.length {
        let row = y + c * lines.inner
        for j in 0..<width { row[j] /= sum[j] }
      }
    }
  }
}

/// Eight elements.
@inline(__always)
func vector8<T: CPUFloat>(_ p: UnsafePointer<T>) -> SIMD8<T> {
  UnsafeRawPointer(p).loadUnaligned(as: SIMD8<T>.self)
}

/// The sum of `count` terms, which `eight` gives eight at a time and `one` singly: eight
/// independent sums, joined in float64 every 1024 terms, so that long lines keep their accuracy.
@inline(__always)
func lineSum<T: CPUFloat>(_ count: Int, _ eight: (Int) -> SIMD8<T>, _ one: (Int) -> T) -> T {
  var total = 0.0
  var i = 0
  while i < count {
    let end = min(i + 1024, count)
    var lanes = SIMD8<T>(repeating: 0)
    while i + 8 <= end {
      lanes += eight(i)
      i += 8
    }
    var chunk = T(0)
    for lane in 0..<8 { chunk += lanes[lane] }
    while i < end {
      chunk += one(i)
      i += 1
    }
    total += Double(chunk)
  }
  return T(total)
}

/// The sum of a line's elements but one.
@inline(__always)
func lineSum<T: CPUFloat>(_ x: UnsafePointer<T>, _ count: Int, without place: Int) -> T {
  let after = x + place + 1
  return lineSum(place, { vector8(x + $0) }, { x[$0] })
    + lineSum(count - place - 1, { vector8(after + $0) }, { after[$0] })
}

/// Calls `body` with room for three numbers of each line of a group.
@inline(__always)
func withLineBuffers<T: CPUFloat>(
  _: T.Type,
  _ body: (UnsafeMutablePointer<T>, UnsafeMutablePointer<T>, UnsafeMutablePointer<T>) -> Void
) {
  let width = AxisLines.width(T.self)
  withUnsafeTemporaryAllocation(of: T.self, capacity: width) { a in
    withUnsafeTemporaryAllocation(of: T.self, capacity: width) { b in
      withUnsafeTemporaryAllocation(of: T.self, capacity: width) { c in
        body(a.baseAddress!, b.baseAddress!, c.baseAddress!)
      }
    }
  }
}

extension Softmax: CPULowerable {
  func lower(_ c: inout LoweringContext) throws {
    let lines = AxisLines(c.inputType(0).shape, axis: axis)
    let arguments = [try c.read(0), c.write(0)]
    func run<T: VectorFloat>(_: T.Type) -> @Sendable (StepPointers) -> Void {
      { p in
        let (x, y) = (p(0, as: T.self), p(1, as: T.self))
        lines.forEachGroup(of: T.self) { start, _, width in
          withLineBuffers(T.self) { top, sum, _ in
            let group = SoftmaxGroup<T>(lines: lines, width: width)
            group.maxima(x + start, into: top)
            group.exponentials(x + start, y + start, top: top, sum: sum)
            group.normalize(y + start, sum: sum)
          }
        }
      }
    }
    c.step(arguments, run: try c.float(c.inputType(0).dtype, run(Float.self), run(Double.self)))
  }
}

extension SoftmaxGradient: CPULowerable {
  func lower(_ c: inout LoweringContext) throws {
    let lines = AxisLines(c.inputType(0).shape, axis: axis)
    let arguments = [try c.read(0), try c.read(1), c.write(0)]
    func run<T: VectorFloat>(_: T.Type) -> @Sendable (StepPointers) -> Void {
      { p in
        let (y0, dy0, dx0) = (p(0, as: T.self), p(1, as: T.self), p(2, as: T.self))
        let (length, inner) = (lines.length, lines.inner)
        lines.forEachGroup(of: T.self) { start, _, width in
          let (y, dy, dx) = (y0 + start, dy0 + start, dx0 + start)
          // Since y adds up to 1, dy may be taken from where it stands at the largest y: what is left of
          // a saturated y, 1 less itself, is then a sum of the others and not a difference. In halves,
          // as a difference of two numbers may overflow.
          let half = T(0.5)
          if inner == 1 {
            guard length > 0 else { return }
            var top = 0
            for i in 0..<length where y[i] > y[top] { top = i }
            let shift = dy[top].isFinite ? half * dy[top] : 0
            let dot = lineSum(
              length, { vector8(y + $0) * (half * vector8(dy + $0) - shift) },
              { y[$0] * (half * dy[$0] - shift) })
            for i in 0..<length { dx[i] = y[i] * (half * dy[i] - shift - dot) * 2 }
            return
          }
          withLineBuffers(T.self) { dot, top, shift in
            dot.update(repeating: 0, count: width)
            top.update(repeating: -1, count: width)
            shift.update(repeating: 0, count: width)
            for c in 0..<length {
              let at = c * inner
              for j in 0..<width {
                let isTop = y[at + j] > top[j]
                top[j] = isTop ? y[at + j] : top[j]
                shift[j] = isTop ? half * dy[at + j] : shift[j]
              }
            }
            for j in 0..<width where !shift[j].isFinite { shift[j] = 0 }
            for c in 0..<length {
              let at = c * inner
              for j in 0..<width { dot[j] += y[at + j] * (half * dy[at + j] - shift[j]) }
            }
            for c in 0..<length {
              let at = c * inner
              for j in 0..<width {
                dx[at + j] = y[at + j] * (half * dy[at + j] - shift[j] - dot[j]) * 2
              }
            }
          }
        }
      }
    }
    c.step(arguments, run: try c.float(c.inputType(0).dtype, run(Float.self), run(Double.self)))
  }
}
