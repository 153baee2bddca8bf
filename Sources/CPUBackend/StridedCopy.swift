import ABNRuntime
import ABNTensors

/// Copies elements, whatever they mean, between two strided arrangements of one shape.
struct StridedCopy: Sendable {
  /// Two dimensions that source and target walk in opposite order: copied in tiles, so that both
  /// sides touch each cache line once.
  private struct Tiled: Sendable {
    let outer: StridedLoop
    /// Neighbours in the source.
    let rows: Int
    /// The distance of rows in the target.
    let rowTo: Int
    /// Neighbours in the target.
    let columns: Int
    /// The distance of columns in the source.
    let columnFrom: Int
  }

  private let loop: StridedLoop
  private let tiled: Tiled?
  private let fromStart: Int
  private let toStart: Int
  private let elementBytes: Int

  /// A copy of `shape` elements; strides and starts count elements.
  init(
    _ shape: Shape, from: [Int], fromStart: Int = 0, to: [Int], toStart: Int = 0,
    elementBytes: Int
  ) {
    let loop = StridedLoop(shape, [from, to])
    self.loop = loop
    self.fromStart = fromStart
    self.toStart = toStart
    self.elementBytes = elementBytes
    let last = loop.dimensions.count - 1
    if loop.innerStride(0) != 1, loop.innerStride(1) == 1,
      let row = loop.dimensions.indices.dropLast().last(where: { loop.strides[0][$0] == 1 })
    {
      let others = loop.dimensions.indices.filter { $0 != row && $0 != last }
      tiled = Tiled(
        outer: StridedLoop(
          Shape(others.map { loop.dimensions[$0] }),
          loop.strides.map { own in others.map { own[$0] } }),
        rows: loop.dimensions[row], rowTo: loop.strides[1][row], columns: loop.inner,
        columnFrom: loop.innerStride(0))
    } else {
      tiled = nil
    }
  }

  /// Copies.
  func run(from: UnsafeRawPointer, to: UnsafeMutableRawPointer) {
    func typed<E>(_: E.Type) {
      move(from.assumingMemoryBound(to: E.self), to.assumingMemoryBound(to: E.self))
    }
    switch elementBytes {
    case 1: typed(UInt8.self)
    case 2: typed(UInt16.self)
    case 4: typed(UInt32.self)
    default: typed(UInt64.self)
    }
  }

  @inline(__always)
  private func move<E>(_ source: UnsafePointer<E>, _ target: UnsafeMutablePointer<E>) {
    nonisolated(unsafe) let (from, to) = (source + fromStart, target + toStart)
    if let tiled {
      moveTiles(tiled, from, to)
    } else if loop.innerStride(0) == 1 && loop.innerStride(1) == 1 {
      moveRows(from, to)
    } else {
      let (a, b) = (loop.innerStride(0), loop.innerStride(1))
      loop.forEachStretch { row, range in
        let x = from + loop.offset(0, row: row)
        let y = to + loop.offset(1, row: row)
        for i in range { y[i * b] = x[i * a] }
      }
    }
  }

  private func moveRows<E>(_ from: UnsafePointer<E>, _ to: UnsafeMutablePointer<E>) {
    nonisolated(unsafe) let (from, to) = (from, to)
    loop.forEachStretch { row, range in
      (to + loop.offset(1, row: row) + range.lowerBound).update(
        from: from + loop.offset(0, row: row) + range.lowerBound, count: range.count)
    }
  }

  private func moveTiles<E>(
    _ t: Tiled, _ from: UnsafePointer<E>, _ to: UnsafeMutablePointer<E>
  ) {
    // Few columns: a long tile that is read along its rows, so that no loop is short.
    let isNarrow = t.columns < 16
    let (side, strip) = (isNarrow ? 512 : 32, 1024)
    let rowTiles = (t.rows + side - 1) / side
    let strips = (t.columns + strip - 1) / strip
    nonisolated(unsafe) let (from, to) = (from, to)
    Parallel.run(t.outer.outer * t.outer.inner * rowTiles * strips) { part in
      let (block, stripIndex) = part.quotientAndRemainder(dividingBy: strips)
      let (outer, rowTile) = block.quotientAndRemainder(dividingBy: rowTiles)
      let (high, low) = outer.quotientAndRemainder(dividingBy: t.outer.inner)
      let x = from + t.outer.offset(0, row: high) + low * t.outer.innerStride(0)
      let y = to + t.outer.offset(1, row: high) + low * t.outer.innerStride(1)
      let rows = rowTile * side..<min(t.rows, (rowTile + 1) * side)
      let end = min(t.columns, (stripIndex + 1) * strip)
      if isNarrow {
        for column in 0..<t.columns {
          let (own, line) = (x + column * t.columnFrom, y + column)
          for row in rows { line[row * t.rowTo] = own[row] }
        }
        return
      }
      var first = stripIndex * strip
      while first < end {
        let last = min(first + side, end)
        for row in rows {
          let line = y + row * t.rowTo
          for column in first..<last { line[column] = x[row + column * t.columnFrom] }
        }
        first = last
      }
    }
  }
}

/// Copies bytes on all threads.
func parallelCopy(from: UnsafeRawPointer, to: UnsafeMutableRawPointer, bytes: Int) {
  nonisolated(unsafe) let (from, to) = (from, to)
  Parallel.ranges(bytes, grain: 1 << 16) { range in
    (to + range.lowerBound).copyMemory(from: from + range.lowerBound, byteCount: range.count)
  }
}

/// argument 1 = argument 0, unless both are the same bytes: what a view does.
func viewStep(bytes: Int) -> @Sendable (StepPointers) -> Void {
  { p in if p[0] != p[1] { parallelCopy(from: p[0], to: p[1], bytes: bytes) } }
}

/// `value` at each of `count` elements of this type.
func parallelFill(_ to: UnsafeMutableRawPointer, _ value: Double, _ dtype: DType, count: Int) {
  func fill<T: TensorScalar>(_: T.Type) {
    let scalar = T(tensorValue: value)
    nonisolated(unsafe) let to = to
    Parallel.ranges(count) { range in
      (to.assumingMemoryBound(to: T.self) + range.lowerBound)
        .update(repeating: scalar, count: range.count)
    }
  }
  switch dtype {
  case .float16: fill(Float16.self)
  case .bfloat16: fill(BFloat16.self)
  case .float32: fill(Float.self)
  case .float64: fill(Double.self)
  case .int8: fill(Int8.self)
  case .uint8: fill(UInt8.self)
  case .int32: fill(Int32.self)
  case .int64: fill(Int64.self)
  case .bool: fill(Bool.self)
  }
}
