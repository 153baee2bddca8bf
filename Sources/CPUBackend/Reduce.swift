import ABNOperations
import ABNRuntime
import ABNTensors

/// Sums over some axes of a row-major tensor.
///
/// Every output element is the sum, in a fixed order, of chunk sums of at most 256 terms, so that
/// rounding errors do not grow with the count and results do not depend on the number of threads. A
/// chunk that overflows in float32 is added up again in float64: what fits the type is not infinite.
struct Summation: Sendable {
  private let kept: StridedLoop
  private let reduced: StridedLoop
  private let outputCount: Int

  /// The sum of a tensor of `shape` over `axes`, the result row-major over the other axes.
  init(_ shape: Shape, over axes: Set<Int>) {
    let strides = shape.strides
    let keptAxes = (0..<shape.rank).filter { !axes.contains($0) }
    let reducedAxes = (0..<shape.rank).filter(axes.contains)
    kept = StridedLoop(Shape(keptAxes.map { shape[$0] }), [keptAxes.map { strides[$0] }])
    reduced = StridedLoop(Shape(reducedAxes.map { shape[$0] }), [reducedAxes.map { strides[$0] }])
    outputCount = keptAxes.reduce(1) { $0 * shape[$1] }
  }

  /// out = factor * sums of x.
  func run<T: CPUFloat>(_ x: UnsafePointer<T>, into out: UnsafeMutablePointer<T>, factor: Double) {
    let inner = kept.inner
    if kept.innerStride(0) == 1 && reduced.innerStride(0) != 1 {
      // Outputs are neighbours in x: 64 of them at a time, row after row.
      let blocks = (inner + 63) / 64
      Parallel.run(kept.outer * blocks) { part in
        let (row, block) = part.quotientAndRemainder(dividingBy: blocks)
        let first = block * 64
        let width = min(64, inner - first)
        sumColumns(
          x + kept.offset(0, row: row) + first, width, into: out + row * inner + first, factor)
      }
    } else {
      Parallel.ranges(outputCount, grain: max(1, 16384 / max(1, reduced.outer * reduced.inner))) {
        range in
        for index in range {
          let (row, column) = index.quotientAndRemainder(dividingBy: inner)
          let start = kept.offset(0, row: row) + column * kept.innerStride(0)
          out[index] = T(factor * sumOne(x + start))
        }
      }
    }
  }

  private func sumOne<T: CPUFloat>(_ x: UnsafePointer<T>) -> Double {
    var total = 0.0
    let stride = reduced.innerStride(0)
    for row in 0..<reduced.outer {
      let start = x + reduced.offset(0, row: row)
      var first = 0
      while first < reduced.inner {
        let end = min(first + 256, reduced.inner)
        if stride == 1 {
          // Eight independent sums: vectors without reordering by the compiler.
          var sums = SIMD8<T>(repeating: 0)
          var i = first
          while i + 8 <= end {
            sums += UnsafeRawPointer(start + i).loadUnaligned(as: SIMD8<T>.self)
            i += 8
          }
          var chunk = T(0)
          for lane in 0..<8 { chunk += sums[lane] }
          while i < end {
            chunk += start[i]
            i += 1
          }
          total += exact(chunk, start + first, end - first, 1)
        } else {
          var chunk = T(0)
          for i in first..<end { chunk += start[i * stride] }
          total += exact(chunk, start + first * stride, end - first, stride)
        }
        first = end
      }
    }
    return total
  }

  /// The sum of a chunk, added up again where it is not finite in its own type.
  @inline(__always)
  private func exact<T: CPUFloat>(
    _ sum: T, _ x: UnsafePointer<T>, _ count: Int, _ stride: Int
  ) -> Double {
    if sum.isFinite { return Double(sum) }
    return (0..<count).reduce(0.0) { $0 + Double(x[$1 * stride]) }
  }

  private func sumColumns<T: CPUFloat>(
    _ x: UnsafePointer<T>, _ width: Int, into out: UnsafeMutablePointer<T>, _ factor: Double
  ) {
    withUnsafeTemporaryAllocation(of: Double.self, capacity: 64) { totals in
      withUnsafeTemporaryAllocation(of: T.self, capacity: 64) { chunk in
        totals.update(repeating: 0)
        for row in 0..<reduced.outer {
          let start = x + reduced.offset(0, row: row)
          var first = 0
          while first < reduced.inner {
            let end = min(first + 256, reduced.inner)
            chunk.update(repeating: 0)
            for i in first..<end {
              let line = start + i * reduced.innerStride(0)
              for column in 0..<width { chunk[column] += line[column] }
            }
            for column in 0..<width {
              totals[column] += exact(
                chunk[column], start + first * reduced.innerStride(0) + column, end - first,
                reduced.innerStride(0))
            }
            first = end
          }
        }
        for column in 0..<width { out[column] = T(factor * totals[column]) }
      }
    }
  }
}

extension Reduce: CPULowerable {
  func lower(_ c: inout LoweringContext) throws {
    let shape = c.inputType(0).shape
    let axes = try reducedAxes(rank: shape.rank)
    let count = axes.reduce(1) { $0 * shape[$1] }
    let factor = function == .mean ? 1 / Double(count) : 1
    let sum = Summation(shape, over: axes)
    let arguments = [try c.read(0), c.write(0)]
    func run<T: CPUFloat>(_: T.Type) -> @Sendable (StepPointers) -> Void {
      { p in sum.run(p(0, as: T.self), into: p(1, as: T.self), factor: factor) }
    }
    c.step(
      arguments, run: try c.float(c.inputType(0).dtype, run(Float.self), run(Double.self)))
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
    func run<T: CPUFloat>(_: T.Type) -> @Sendable (StepPointers) -> Void {
      let (inner, stride) = (loop.inner, loop.innerStride(0))
      let scale = T(factor)
      return { p in
        let (x, y) = (p(0, as: T.self), p(1, as: T.self))
        loop.forEachStretch { row, range in
          let from = x + loop.offset(0, row: row)
          let out = y + row * inner
          if stride == 0 {
            (out + range.lowerBound).update(repeating: from[0] * scale, count: range.count)
          } else {
            for i in range { out[i] = from[i * stride] * scale }
          }
        }
      }
    }
    c.step(arguments, run: try c.float(c.outputType(0).dtype, run(Float.self), run(Double.self)))
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
    let sum = Summation(physical, over: axes)
    let bytes = c.outputType(0).bytes
    let isCopy = axes.isEmpty
    let arguments = [
      try c.read(0, in: layout), c.write(0, in: layout.forOperand(target, of: shape)),
    ]
    func run<T: CPUFloat>(_: T.Type) -> @Sendable (StepPointers) -> Void {
      { p in
        if !isCopy {
          sum.run(p(0, as: T.self), into: p(1, as: T.self), factor: 1)
        } else if p[0] != p[1] {
          p[1].copyMemory(from: p[0], byteCount: bytes)
        }
      }
    }
    c.step(arguments, run: try c.float(c.outputType(0).dtype, run(Float.self), run(Double.self)))
  }
}
