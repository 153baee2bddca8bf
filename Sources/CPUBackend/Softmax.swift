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

  /// Neighbouring lines that are worked on together.
  static let width = 64

  init(_ shape: Shape, axis: Int) {
    let axis = axis < 0 ? axis + shape.rank : axis
    outer = shape.dimensions[..<axis].reduce(1, *)
    length = shape[axis]
    inner = shape.dimensions[(axis + 1)...].reduce(1, *)
  }

  /// Calls `body` for groups of up to 64 neighbouring lines: (where the first line starts, its
  /// number, how many).
  ///
  /// Lines that are contiguous (inner 1) come one at a time.
  @inline(__always)
  func forEachGroup(_ body: (Int, Int, Int) -> Void) {
    let blocks = (inner + Self.width - 1) / Self.width
    let each = max(1, length * min(inner, Self.width))
    Parallel.ranges(outer * blocks, grain: max(1, 16384 / each)) { groups in
      for group in groups {
        let (row, block) = group.quotientAndRemainder(dividingBy: blocks)
        let first = block * Self.width
        body(
          row * length * inner + first, row * inner + first, min(Self.width, inner - first))
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
      // Sixteen independent maxima, so that the loop becomes vectors.
      withUnsafeTemporaryAllocation(of: T.self, capacity: 16) { buffer in
        let lanes = buffer.baseAddress!
        lanes.update(repeating: -.infinity, count: 16)
        var i = 0
        while i + 16 <= lines.length {
          for lane in 0..<16 { lanes[lane] = x[i + lane] > lanes[lane] ? x[i + lane] : lanes[lane] }
          i += 16
        }
        var best = -T.infinity
        for lane in 0..<16 where lanes[lane] > best { best = lanes[lane] }
        while i < lines.length {
          if x[i] > best { best = x[i] }
          i += 1
        }
        top[0] = best
      }
    } else {
      top.update(from: x, count: width)
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
      sum[0] = lineSum(lines.length) { y[$0] }
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

/// The sum of `count` terms: sixteen independent sums, joined in float64 every 1024 terms, so that
/// the loop becomes vectors and long lines keep their accuracy.
@inline(__always)
func lineSum<T: CPUFloat>(_ count: Int, _ term: (Int) -> T) -> T {
  withUnsafeTemporaryAllocation(of: T.self, capacity: 16) { buffer in
    let lanes = buffer.baseAddress!
    var total = 0.0
    var i = 0
    while i < count {
      let end = min(i + 1024, count)
      lanes.update(repeating: 0, count: 16)
      while i + 16 <= end {
        for lane in 0..<16 { lanes[lane] += term(i + lane) }
        i += 16
      }
      var chunk = T(0)
      while i < end {
        chunk += term(i)
        i += 1
      }
      for lane in 0..<16 { chunk += lanes[lane] }
      total += Double(chunk)
    }
    return T(total)
  }
}

extension Softmax: CPULowerable {
  func lower(_ c: inout LoweringContext) throws {
    let lines = AxisLines(c.inputType(0).shape, axis: axis)
    let arguments = [try c.read(0), c.write(0)]
    func run<T: VectorFloat>(_: T.Type) -> @Sendable (StepPointers) -> Void {
      { p in
        let (x, y) = (p(0, as: T.self), p(1, as: T.self))
        lines.forEachGroup { start, _, width in
          withUnsafeTemporaryAllocation(of: T.self, capacity: 2 * AxisLines.width) { buffer in
            let top = buffer.baseAddress!
            let sum = top + AxisLines.width
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
        lines.forEachGroup { start, _, width in
          let (y, dy, dx) = (y0 + start, dy0 + start, dx0 + start)
          if inner == 1 {
            let dot = lineSum(length) { y[$0] * dy[$0] }
            for i in 0..<length { dx[i] = y[i] * (dy[i] - dot) }
            return
          }
          withUnsafeTemporaryAllocation(of: T.self, capacity: AxisLines.width) { buffer in
            let dot = buffer.baseAddress!
            dot.update(repeating: 0, count: width)
            for c in 0..<length {
              for j in 0..<width { dot[j] += y[c * inner + j] * dy[c * inner + j] }
            }
            for c in 0..<length {
              let at = c * inner
              for j in 0..<width { dx[at + j] = y[at + j] * (dy[at + j] - dot[j]) }
            }
          }
        }
      }
    }
    c.step(arguments, run: try c.float(c.inputType(0).dtype, run(Float.self), run(Double.self)))
  }
}
