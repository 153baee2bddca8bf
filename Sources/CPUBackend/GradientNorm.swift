import ABNOperations
import ABNRuntime
import ABNTensors

extension SquaredNorm: CPULowerable {
  /// Elements whose squares are added up by one member of the team.
  private static var grain: Int { 16384 }

  func lower(_ c: inout LoweringContext) throws {
    let count = c.inputType(0).shape.elementCount
    let parts = (count + Self.grain - 1) / Self.grain
    let arguments = [
      try c.read(0), c.write(0), c.scratch(bytes: max(parts, 1) * MemoryLayout<Double>.stride),
    ]
    func run<T: CPUFloat>(_: T.Type) -> @Sendable (StepPointers) -> Void {
      { p in
        let x = p(0, as: T.self)
        let sums = p(2, as: Double.self)
        Parallel.ranges(count, grain: Self.grain) { range in
          sums[range.lowerBound / Self.grain] = squares(x + range.lowerBound, range.count)
        }
        var total = 0.0
        for part in 0..<parts { total += sums[part] }
        p(1, as: Double.self)[0] = total
      }
    }
    c.step(
      arguments, run: try c.float(c.inputType(0).dtype, run(Float.self), run(Double.self)))
  }
}

/// The sum of squares in float64: eight sums that take turns, added up at the end.
@inline(__always)
private func squares<T: CPUFloat>(_ x: UnsafePointer<T>, _ count: Int) -> Double {
  var (s0, s1, s2, s3) = (0.0, 0.0, 0.0, 0.0)
  var (s4, s5, s6, s7) = (0.0, 0.0, 0.0, 0.0)
  @inline(__always) func square(_ i: Int) -> Double { Double(x[i]) * Double(x[i]) }
  var i = 0
  while i + 8 <= count {
    s0 += square(i)
    s1 += square(i + 1)
    s2 += square(i + 2)
    s3 += square(i + 3)
    s4 += square(i + 4)
    s5 += square(i + 5)
    s6 += square(i + 6)
    s7 += square(i + 7)
    i += 8
  }
  while i < count {
    s0 += square(i)
    i += 1
  }
  return ((s0 + s4) + (s1 + s5)) + ((s2 + s6) + (s3 + s7))
}

extension ClipScale: CPULowerable {
  func lower(_ c: inout LoweringContext) throws {
    let terms = c.inputCount
    let arguments = try (0..<terms).map { try c.read($0) } + [c.write(0)]
    let kind = self
    c.step(arguments) { p in
      var sum = 0.0
      for term in 0..<terms { sum += p(term, as: Double.self)[0] }
      p(terms, as: Double.self)[0] = kind.scale(squaredNorm: sum)
    }
  }
}
