import ABNKernels
import ABNOperators
import ABNRuntime
import ABNTensors

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
  static func width(_ element: ABNElement) -> Int { 1024 / element.bytes }

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
  func forEachGroup(of element: ABNElement, _ body: @Sendable (Int, Int, Int) -> Void) {
    let width = Self.width(element)
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

/// The loops of a softmax, over groups of lines of one element type.
struct SoftmaxKernels: Sendable {
  let element: ABNElement
  let largest, maximum, exponential, sum, add, multiply, divide: FlatKernel

  init(_ element: ABNElement) throws {
    self.element = element
    largest = try FlatKernel(.largest, in: element)
    maximum = try FlatKernel(.maximum, in: element)
    exponential = try FlatKernel(.shiftedExponential, in: element)
    sum = try FlatKernel(.sum, in: element)
    add = try FlatKernel(.add, in: element)
    multiply = try FlatKernel(.multiply, in: element)
    divide = try FlatKernel(.divide, in: element)
  }

  /// Neighbouring numbers.
  func array<T>(_ x: UnsafePointer<T>) -> FlatOperand { FlatOperand(x, element) }
  /// One number.
  func number<T>(_ x: UnsafePointer<T>) -> FlatOperand { .number(x, element) }
}

/// The pieces of a softmax over a group of lines; `width` numbers for the group where lines are
/// not contiguous, else one.
struct SoftmaxGroup<T: CPUFloat> {
  let lines: AxisLines
  let width: Int
  let kernels: SoftmaxKernels

  /// The elements of a line, or of place `c` in all lines.
  private var line: Range<Int> { 0..<lines.length }
  private var row: Range<Int> { 0..<width }

  /// top[j] = the largest element of line j; NaN is passed over, and turns up in the sum.
  func maxima(_ x: UnsafePointer<T>, into top: UnsafeMutablePointer<T>) {
    if lines.inner == 1 {
      top[0] = T(kernels.largest.total(FlatOperands(kernels.array(x), .none), line))
      return
    }
    if lines.length > 0 { top.update(from: x, count: width) }
    let best = kernels.array(top)
    for c in 1..<max(1, lines.length) {
      kernels.maximum(FlatOperands(best, kernels.array(x + c * lines.inner), best), row)
    }
  }

  /// y = exp(x - top), sum[j] = the sum of line j. y may be x.
  func exponentials(
    _ x: UnsafePointer<T>, _ y: UnsafeMutablePointer<T>, top: UnsafePointer<T>,
    sum: UnsafeMutablePointer<T>
  ) {
    if lines.inner == 1 {
      kernels.exponential(
        FlatOperands(kernels.array(x), kernels.number(top), kernels.array(y)), line)
      sum[0] = self.sum(y)
      return
    }
    sum.update(repeating: 0, count: width)
    let (shift, total) = (kernels.array(top), kernels.array(sum))
    for c in 0..<lines.length {
      let to = kernels.array(y + c * lines.inner)
      kernels.exponential(FlatOperands(kernels.array(x + c * lines.inner), shift, to), row)
      kernels.add(FlatOperands(total, to, total), row)
    }
  }

  /// y /= sum.
  func normalize(_ y: UnsafeMutablePointer<T>, sum: UnsafePointer<T>) {
    if lines.inner == 1 {
      var factor = 1 / sum[0]
      kernels.multiply(
        FlatOperands(kernels.array(y), kernels.number(&factor), kernels.array(y)), line)
      return
    }
    for c in 0..<lines.length {
      let own = kernels.array(y + c * lines.inner)
      kernels.divide(FlatOperands(own, kernels.array(sum), own), row)
    }
  }

  /// The sum of a contiguous line.
  func sum(_ x: UnsafePointer<T>) -> T {
    T(kernels.sum.total(FlatOperands(kernels.array(x), .none), line))
  }

  /// The sum of a line's elements but the one at `place`.
  func rest(_ x: UnsafePointer<T>, without place: Int) -> T {
    guard lines.inner == 1 else {
      var sum = 0.0
      for c in 0..<lines.length where c != place { sum += Double(x[c * lines.inner]) }
      return T(sum)
    }
    func part(_ start: UnsafePointer<T>, _ count: Int) -> Double {
      kernels.sum.total(FlatOperands(kernels.array(start), .none), 0..<count)
    }
    return T(part(x, place) + part(x + place + 1, lines.length - place - 1))
  }
}

/// Calls `body` with room for three numbers of each line of a group.
@inline(__always)
func withLineBuffers<T: CPUFloat>(
  _: T.Type,
  _ body: (UnsafeMutablePointer<T>, UnsafeMutablePointer<T>, UnsafeMutablePointer<T>) -> Void
) {
  let width = 1024 / MemoryLayout<T>.size
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
    let kernels = try SoftmaxKernels(c.element(c.inputType(0).dtype))
    let arguments = [try c.read(0), c.write(0)]
    func run<T: CPUFloat>(_: T.Type) -> @Sendable (StepPointers) -> Void {
      { p in
        nonisolated(unsafe) let (x, y) = (p(0, as: T.self), p(1, as: T.self))
        lines.forEachGroup(of: kernels.element) { start, _, width in
          withLineBuffers(T.self) { top, sum, _ in
            let group = SoftmaxGroup<T>(lines: lines, width: width, kernels: kernels)
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

/// The loops of the gradient: dx = y * (dy - sum(y * dy)) along each line.
///
/// Since y adds up to 1, dy may be taken from where it stands at the largest y: what is left of a
/// saturated y, 1 less itself, is then a sum of the others and not a difference. In halves, as a
/// difference of two numbers may overflow.
private struct SoftmaxGradientKernels: Sendable {
  let element: ABNElement
  let largest, top, dot, sum, gradient: FlatKernel

  init(_ element: ABNElement) throws {
    self.element = element
    largest = try FlatKernel(.largest, in: element)
    top = try FlatKernel(.softmaxTop, in: element)
    dot = try FlatKernel(.softmaxDot, in: element)
    sum = try FlatKernel(.sumSoftmaxDot, in: element)
    gradient = try FlatKernel(.softmaxGradient, in: element)
  }

  /// A contiguous line.
  func line<T: CPUFloat>(
    _ y: UnsafePointer<T>, _ dy: UnsafePointer<T>, _ dx: UnsafeMutablePointer<T>, _ length: Int
  ) {
    guard length > 0 else { return }
    let (own, slope) = (FlatOperand(y, element), FlatOperand(dy, element))
    let best = T(largest.total(FlatOperands(own, .none), 0..<length))
    let place = (0..<length).first { y[$0] == best } ?? 0
    var shift = dy[place].isFinite ? T(0.5) * dy[place] : 0
    let shifts = FlatOperand.number(&shift, element)
    var total = T(sum.total(FlatOperands(own, slope, shifts, .none), 0..<length))
    gradient(
      FlatOperands(own, slope, shifts, .number(&total, element), FlatOperand(dx, element)),
      0..<length)
  }

  /// `width` lines side by side, elements `inner` apart.
  func columns<T: CPUFloat>(
    _ y: UnsafePointer<T>, _ dy: UnsafePointer<T>, _ dx: UnsafeMutablePointer<T>,
    _ lines: AxisLines, _ width: Int
  ) {
    func array(_ x: UnsafePointer<T>) -> FlatOperand { FlatOperand(x, element) }
    withLineBuffers(T.self) { dots, tops, shifts in
      dots.update(repeating: 0, count: width)
      tops.update(repeating: -1, count: width)
      shifts.update(repeating: 0, count: width)
      let (total, best, shift) = (array(dots), array(tops), array(shifts))
      func each(_ body: (FlatOperand, FlatOperand, FlatOperand) -> Void) {
        for c in 0..<lines.length {
          let at = c * lines.inner
          body(array(y + at), array(dy + at), array(dx + at))
        }
      }
      each { y, dy, _ in
        var operands = FlatOperands(y, dy, best, shift, best)
        operands.second = shift
        top(operands, 0..<width)
      }
      for j in 0..<width where !shifts[j].isFinite { shifts[j] = 0 }
      each { y, dy, _ in dot(FlatOperands(y, dy, shift, total, total), 0..<width) }
      each { y, dy, dx in gradient(FlatOperands(y, dy, shift, total, dx), 0..<width) }
    }
  }
}

extension SoftmaxGradient: CPULowerable {
  func lower(_ c: inout LoweringContext) throws {
    let lines = AxisLines(c.inputType(0).shape, axis: axis)
    let kernels = try SoftmaxGradientKernels(c.element(c.inputType(0).dtype))
    let arguments = [try c.read(0), try c.read(1), c.write(0)]
    func run<T: CPUFloat>(_: T.Type) -> @Sendable (StepPointers) -> Void {
      { p in
        nonisolated(unsafe) let (y, dy, dx) = (p(0, as: T.self), p(1, as: T.self), p(2, as: T.self))
        lines.forEachGroup(of: kernels.element) { start, _, width in
          if lines.inner == 1 {
            kernels.line(y + start, dy + start, dx + start, lines.length)
          } else {
            kernels.columns(y + start, dy + start, dx + start, lines, width)
          }
        }
      }
    }
    c.step(arguments, run: try c.float(c.inputType(0).dtype, run(Float.self), run(Double.self)))
  }
}
