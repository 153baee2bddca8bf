import ABNKernels
import ABNOperators
import ABNRuntime
import ABNTensors

/// Sums over some axes of a row-major tensor, in float64 and in an order that depends on the shape
/// alone: rounding errors do not grow with the count, partial sums do not overflow, and results do
/// not depend on the number of threads.
struct Summation: Sendable {
  private let kept: StridedLoop
  private let reduced: StridedLoop
  private let outputCount: Int
  private let element: ABNElement
  private let sum, addRows, scale: FlatKernel

  /// The sum of a tensor of `shape` over `axes`, times `factor`; the result is row-major over the
  /// other axes.
  init(_ shape: Shape, over axes: Set<Int>, _ element: ABNElement, factor: Double = 1) throws {
    let strides = shape.strides
    let keptAxes = (0..<shape.rank).filter { !axes.contains($0) }
    let reducedAxes = (0..<shape.rank).filter(axes.contains)
    kept = StridedLoop(Shape(keptAxes.map { shape[$0] }), [keptAxes.map { strides[$0] }])
    reduced = StridedLoop(Shape(reducedAxes.map { shape[$0] }), [reducedAxes.map { strides[$0] }])
    outputCount = keptAxes.reduce(1) { $0 * shape[$1] }
    self.element = element
    sum = try FlatKernel(.sum, in: element, isWide: true)
    addRows = try FlatKernel(.sumOfRows, in: element, isWide: true)
    scale = try FlatKernel(.scale(factor: factor, bias: 0), in: element, isWide: true)
  }

  /// out = factor * sums of x.
  func run(_ x: UnsafeRawPointer, into out: UnsafeMutableRawPointer) {
    let inner = kept.inner
    if kept.innerStride(0) == 1 && reduced.innerStride(0) != 1 {
      // Outputs are neighbours in x: a few of them at a time, row after row.
      let width = 128
      let blocks = (inner + width - 1) / width
      nonisolated(unsafe) let (out, x) = (out, x)
      Parallel.run(kept.outer * blocks) { part in
        let (row, block) = part.quotientAndRemainder(dividingBy: blocks)
        let first = block * width
        withTotals(min(width, inner - first), into: out + (row * inner + first) * element.bytes) {
          sumColumns(x + (kept.offset(0, row: row) + first) * element.bytes, $0, $1)
        }
      }
      return
    }
    let each = max(1, reduced.outer * reduced.inner)
    // Whole vectors of results, as far as there are so many.
    let grain = max(1, 16384 / each)
    nonisolated(unsafe) let (out, x) = (out, x)
    Parallel.ranges(outputCount, grain: min(grain, 128)) { range in
      withTotals(range.count, into: out + range.lowerBound * element.bytes) { totals, count in
        for index in 0..<count {
          let (row, column) = (range.lowerBound + index).quotientAndRemainder(dividingBy: inner)
          let start = kept.offset(0, row: row) + column * kept.innerStride(0)
          totals[index] = sumOne(x + start * element.bytes)
        }
      }
    }
  }

  /// Calls `body` with `count` float64 that are 0, and stores them, times the factor.
  private func withTotals(
    _ count: Int, into out: UnsafeMutableRawPointer,
    _ body: (UnsafeMutablePointer<Double>, Int) -> Void
  ) {
    withUnsafeTemporaryAllocation(of: Double.self, capacity: 128) { totals in
      totals.initialize(repeating: 0)
      let base = totals.baseAddress!
      body(base, count)
      scale(FlatOperands(FlatOperand(base, .float64), FlatOperand(out, element)), 0..<count)
    }
  }

  private func sumOne(_ x: UnsafeRawPointer) -> Double {
    let stride = reduced.innerStride(0)
    var total = 0.0
    for row in 0..<reduced.outer {
      let start = x + reduced.offset(0, row: row) * element.bytes
      // A call would cost more than the numbers.
      if reduced.inner < 16 {
        for i in 0..<reduced.inner {
          total +=
            element == .float64
            ? start.load(fromByteOffset: 8 * i * stride, as: Double.self)
            : Double(start.load(fromByteOffset: 4 * i * stride, as: Float.self))
        }
        continue
      }
      let operand =
        stride == 1
        ? FlatOperand(start, element) : FlatOperand(start, element, stride: stride, rowStride: 0)
      total += sum.total(FlatOperands(operand, .none), 0..<reduced.inner)
    }
    return total
  }

  private func sumColumns(
    _ x: UnsafeRawPointer, _ totals: UnsafeMutablePointer<Double>, _ width: Int
  ) {
    for row in 0..<reduced.outer {
      let start = x + reduced.offset(0, row: row) * element.bytes
      addRows(
        FlatOperands(
          FlatOperand(start, element, stride: 1, rowStride: reduced.innerStride(0)),
          FlatOperand(totals, .float64)),
        0..<reduced.inner * width, length: width)
    }
  }
}

extension Reduce: CPULowerable {
  func lower(_ c: inout LoweringContext) throws {
    let shape = c.inputType(0).shape
    let axes = try reducedAxes(rank: shape.rank)
    let count = axes.reduce(1) { $0 * shape[$1] }
    let factor = function == .mean ? 1 / Double(count) : 1
    let sum = try Summation(shape, over: axes, c.element(c.inputType(0).dtype), factor: factor)
    let arguments = [try c.read(0), c.write(0)]
    c.step(arguments) { p in sum.run(p[0], into: p[1]) }
  }
}

extension ReduceGradient: CPULowerable {
  func lower(_ c: inout LoweringContext) throws {
    let shape = c.outputType(0).shape
    let axes = try forward.reducedAxes(rank: shape.rank)
    let count = axes.reduce(1) { $0 * shape[$1] }
    let factor = forward.function == .mean ? 1 / Double(count) : 1
    let keptShape = Shape((0..<shape.rank).map { axes.contains($0) ? 1 : shape[$0] })
    let loop = StridedLoop(
      shape, [StridedLoop.broadcastStrides(of: keptShape, to: shape), shape.strides])
    let arguments = [try c.read(1), c.write(0)]
    c.step(
      arguments,
      run: try c.flat(
        .scale(factor: factor, bias: 0), over: loop, c.outputType(0).dtype, isWide: true))
  }
}

extension SumToShape: CPULowerable {
  var walk: ImageWalk { .anyOrder }

  func lower(_ c: inout LoweringContext) throws {
    let (shape, target) = (c.inputType(0).shape, c.inputType(1).shape)
    let aligned = try Elementwise(.add, axis: axis).alignedShape(target, to: shape)
    let wanted = c.layout(ofInput: 0)
    let layout = wanted.walks(aligned, of: shape) ? wanted : .plain
    let physical = layout.physicalShape(shape)
    let own = layout.physicalBroadcast(aligned, to: shape)
    let missing = physical.rank - own.rank
    let axes = Set(
      (0..<physical.rank).filter { $0 < missing || (own[$0 - missing] == 1 && physical[$0] != 1) })
    let sum = try Summation(physical, over: axes, c.element(c.inputType(0).dtype))
    let bytes = c.outputType(0).bytes
    let isCopy = axes.isEmpty
    let arguments = [
      try c.read(0, in: layout), c.write(0, in: layout.forOperand(target, of: shape)),
    ]
    c.step(arguments) { p in
      if !isCopy {
        sum.run(p[0], into: p[1])
      } else if p[0] != p[1] {
        p[1].copyMemory(from: p[0], byteCount: bytes)
      }
    }
  }
}
