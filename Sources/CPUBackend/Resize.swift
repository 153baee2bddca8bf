import ABNDNNL
import ABNGraph
import ABNOperators
import ABNRuntime
import ABNTensors

/// For each position of an axis, the positions of another axis that it is a weighted sum of.
///
/// In memory of its own that never changes: the innermost loops read it.
final class AxisWeights: @unchecked Sendable {
  /// The number of positions.
  let count: Int
  /// Position i has the entries first[i] ..< first[i + 1].
  let first: UnsafeMutablePointer<Int>
  /// Positions of the other axis.
  let source: UnsafeMutablePointer<Int>
  /// Their weights.
  let weight: UnsafeMutablePointer<Double>

  /// Room for `entries` entries of `count` positions.
  private init(count: Int, entries: Int) {
    self.count = count
    first = .allocate(capacity: count + 1)
    source = .allocate(capacity: max(1, entries))
    weight = .allocate(capacity: max(1, entries))
    first.initialize(repeating: 0, count: count + 1)
  }

  /// The bytes of a table of `count` positions with `entries` entries.
  static func bytes(count: Int, entries: Int) -> Int { 8 * (count + 1) + 16 * max(1, entries) }

  deinit {
    first.deallocate()
    source.deallocate()
    weight.deallocate()
  }

  /// The weights of a resize from size `from` to size `to`: see `Resize`.
  convenience init(_ resize: Resize, from: Int, to: Int) {
    self.init(count: to, entries: 2 * to)
    var end = 0
    for k in 0..<to {
      let (below, share) = Self.place(resize, from: from, to: to, at: k)
      (source[end], weight[end]) = (below, 1 - share)
      end += 1
      if share > 0 {
        (source[end], weight[end]) = (below + 1, share)
        end += 1
      }
      first[k + 1] = end
    }
  }

  /// The position that position `k` is made of, and the share of the one behind it.
  private static func place(
    _ resize: Resize, from: Int, to: Int, at k: Int
  ) -> (below: Int, share: Double) {
    // The position is numerator / denominator.
    var (numerator, denominator) =
      resize.alignCorners ? (k * (from - 1), max(to - 1, 1)) : (k * from, to)
    if resize.alignCorners && to == 1 { numerator = 0 }
    switch resize.method {
    case .nearest:
      let position =
        resize.alignCorners
        ? (2 * numerator + denominator) / (2 * denominator) : numerator / denominator
      return (min(position, from - 1), 0)
    case .bilinear:
      if !resize.alignCorners && resize.alignMode == 0 {
        (numerator, denominator) = (max((2 * k + 1) * from - to, 0), 2 * to)
      }
      let (below, rest) = numerator.quotientAndRemainder(dividingBy: denominator)
      if rest == 0 || below + 1 >= from { return (min(below, from - 1), 0) }
      return (below, Double(rest) / Double(denominator))
    }
  }

  /// The weights by which gradients go back to an axis of size `count`.
  func transposed(count sources: Int) -> AxisWeights {
    let entries = first[count]
    let result = AxisWeights(count: sources, entries: entries)
    for entry in 0..<entries { result.first[source[entry] + 1] += 1 }
    for position in 0..<sources { result.first[position + 1] += result.first[position] }
    // Each position's next free entry is first[position], moved back below.
    for position in 0..<count {
      for entry in first[position]..<first[position + 1] {
        let free = result.first[source[entry]]
        (result.source[free], result.weight[free]) = (position, weight[entry])
        result.first[source[entry]] = free + 1
      }
    }
    for position in stride(from: sources, to: 0, by: -1) {
      result.first[position] = result.first[position - 1]
    }
    result.first[0] = 0
    return result
  }
}

extension Resize: TableReader {
  /// The weights along both axes.
  func tableBytes(_ shapes: [Shape]) -> Int {
    [spatialAxes.height, spatialAxes.width].reduce(0) {
      $0 + AxisWeights.bytes(count: shapes[1][$1], entries: 2 * shapes[1][$1])
    }
  }
}

extension ResizeGradient: TableReader {
  /// The weights along both axes, and turned around.
  func tableBytes(_ shapes: [Shape]) -> Int {
    let (dout, dx) = (shapes[0], shapes[2])
    return [forward.spatialAxes.height, forward.spatialAxes.width].reduce(0) {
      $0 + AxisWeights.bytes(count: dout[$1], entries: 2 * dout[$1])
        + AxisWeights.bytes(count: dx[$1], entries: 2 * dout[$1])
    }
  }
}

/// out[h, w] = the sum of rows[h] columns[w] x over planes of a row-major tensor; elements of one
/// position are `inner` neighbours.
private struct PlaneMap: Sendable {
  let planes: Int
  let inner: Int
  let from: (height: Int, width: Int)
  let to: (height: Int, width: Int)
  let rows: AxisWeights
  let columns: AxisWeights

  init(
    _ x: Shape, _ out: Shape, _ layout: DataLayout, _ physical: PhysicalLayout,
    rows: AxisWeights, columns: AxisWeights
  ) {
    let axis = layout == .nchw ? 2 : 1
    planes = x.dimensions[..<axis].reduce(1, *) / physical.block
    inner = x.dimensions[(axis + 2)...].reduce(1, *) * physical.block
    from = (x[axis], x[axis + 1])
    to = (out[axis], out[axis + 1])
    self.rows = rows
    self.columns = columns
  }

  func run<T: CPUFloat>(_ x: UnsafePointer<T>, _ out: UnsafeMutablePointer<T>) {
    let line = to.width * inner
    nonisolated(unsafe) let (out, x) = (out, x)
    Parallel.ranges(planes * to.height, grain: max(1, 4096 / max(1, line))) { lines in
      for index in lines {
        let (plane, h) = index.quotientAndRemainder(dividingBy: to.height)
        let y = out + index * line
        let base = x + plane * from.height * from.width * inner
        if inner == 1 {
          runLine(base, y, h)
        } else {
          runWideLine(base, y, h)
        }
        // Weights are rounded: their sum may be above 1, and the largest number become infinite.
        if T.self != Double.self, hasOverflown(y, line) { runExactLine(base, y, h) }
      }
    }
  }

  @inline(__always)
  private func runLine<T: CPUFloat>(
    _ base: UnsafePointer<T>, _ y: UnsafeMutablePointer<T>, _ h: Int
  ) {
    let (starts, sources, weights) = (columns.first, columns.source, columns.weight)
    for r in rows.first[h]..<rows.first[h + 1] {
      let row = base + rows.source[r] * from.width
      let scale = rows.weight[r]
      let isFirst = r == rows.first[h]
      for w in 0..<to.width {
        var part = T(0)
        for c in starts[w]..<starts[w + 1] { part += T(weights[c] * scale) * row[sources[c]] }
        y[w] = isFirst ? part : y[w] + part
      }
    }
    if rows.first[h] == rows.first[h + 1] { y.update(repeating: 0, count: to.width) }
  }

  @inline(__always)
  private func runWideLine<T: CPUFloat>(
    _ base: UnsafePointer<T>, _ y: UnsafeMutablePointer<T>, _ h: Int
  ) {
    y.update(repeating: 0, count: to.width * inner)
    for w in 0..<to.width {
      let target = y + w * inner
      for r in rows.first[h]..<rows.first[h + 1] {
        let row = base + rows.source[r] * from.width * inner
        for c in columns.first[w]..<columns.first[w + 1] {
          let weight = T(rows.weight[r] * columns.weight[c])
          let source = row + columns.source[c] * inner
          for i in 0..<inner { target[i] += weight * source[i] }
        }
      }
    }
  }
}

extension PlaneMap {
  private func hasOverflown<T: CPUFloat>(_ y: UnsafePointer<T>, _ count: Int) -> Bool {
    var bad = false
    // Infinity less itself, and NaN, are not 0.
    for i in 0..<count { bad = bad || y[i] - y[i] != 0 }
    return bad
  }

  /// The same in float64.
  private func runExactLine<T: CPUFloat>(
    _ base: UnsafePointer<T>, _ y: UnsafeMutablePointer<T>, _ h: Int
  ) {
    for w in 0..<to.width {
      for i in 0..<inner {
        var sum = 0.0
        for r in rows.first[h]..<rows.first[h + 1] {
          for c in columns.first[w]..<columns.first[w + 1] {
            let place = (rows.source[r] * from.width + columns.source[c]) * inner + i
            sum += rows.weight[r] * columns.weight[c] * Double(base[place])
          }
        }
        y[w * inner + i] = T(sum)
      }
    }
  }
}

extension Resize: CPULowerable {
  var walk: ImageWalk { .channels(layout) }

  func lower(_ c: inout LoweringContext) throws {
    let (x, out) = (c.inputType(0).shape, c.outputType(0).shape)
    let (height, width) = spatialAxes
    let map = PlaneMap(
      x, out, layout, c.layout(ofInput: 0),
      rows: AxisWeights(self, from: x[height], to: out[height]),
      columns: AxisWeights(self, from: x[width], to: out[width]))
    try lowerMap(map, &c)
  }
}

extension ResizeGradient: CPULowerable {
  var walk: ImageWalk { .channels(forward.layout) }

  func lower(_ c: inout LoweringContext) throws {
    let (dout, dx) = (c.inputType(0).shape, c.outputType(0).shape)
    let (height, width) = forward.spatialAxes
    func back(_ axis: Int) -> AxisWeights {
      AxisWeights(forward, from: dx[axis], to: dout[axis]).transposed(count: dx[axis])
    }
    try lowerMap(
      PlaneMap(
        dout, dx, forward.layout, c.layout(ofInput: 0), rows: back(height), columns: back(width)),
      &c)
  }
}

/// output 0 = the map of input 0.
private func lowerMap(_ map: PlaneMap, _ c: inout LoweringContext) throws {
  let physical = c.layout(ofInput: 0)
  let arguments = [try c.read(0, in: physical), c.write(0, in: physical)]
  func run<T: CPUFloat>(_: T.Type) -> @Sendable (StepPointers) -> Void {
    { p in map.run(p(0, as: T.self), p(1, as: T.self)) }
  }
  c.step(arguments, run: try c.float(c.inputType(0).dtype, run(Float.self), run(Double.self)))
}
