import ABNKernels
import ABNOperators
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
    let element = try c.element(c.inputType(0).dtype)
    let kernel = try FlatKernel(.sumOfSquares, in: element, isWide: true)
    c.step(arguments) { p in
      nonisolated(unsafe) let (x, sums) = (FlatOperand(p[0], element), p(2, as: Double.self))
      Parallel.ranges(count, grain: Self.grain) { range in
        sums[range.lowerBound / Self.grain] = kernel.total(FlatOperands(x, .none), range)
      }
      var total = 0.0
      for part in 0..<parts { total += sums[part] }
      p(1, as: Double.self)[0] = total
    }
  }
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
