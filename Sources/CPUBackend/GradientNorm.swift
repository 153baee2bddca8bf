import ABNKernels
import ABNOperators
import ABNRuntime
import ABNTensors

/// A sum over the elements of an array, on the team: of parts of one size, each added up by itself,
/// so that the number of threads changes nothing.
struct ParallelSum: Sendable {
  /// Elements that are added up by one member of the team.
  private static var grain: Int { 16384 }

  private let kernel: FlatKernel
  private let count: Int
  private var parts: Int { Self.parts(count) }

  private static func parts(_ count: Int) -> Int { (count + grain - 1) / grain }

  /// The bytes of the sums of the parts.
  static func scratchBytes(count: Int) -> Int {
    max(parts(count), 1) * MemoryLayout<Double>.stride
  }

  /// The sum that an operation makes of `count` elements, in float64.
  init(_ operation: FlatOperation, in element: ABNElement, count: Int) throws {
    kernel = try FlatKernel(operation, in: element, isWide: true)
    self.count = count
  }

  /// The sum over an array.
  ///
  /// - Parameter sums: `scratchBytes` of room.
  func callAsFunction(_ array: FlatOperand, _ sums: UnsafeMutablePointer<Double>) -> Double {
    nonisolated(unsafe) let sums = sums
    Parallel.ranges(count, grain: Self.grain) { range in
      sums[range.lowerBound / Self.grain] = kernel.total(FlatOperands(array, .none), range)
    }
    var total = 0.0
    for part in 0..<parts { total += sums[part] }
    return total
  }
}

extension SquaredNorm: CPULowerable {
  func lower(_ c: inout LoweringContext) throws {
    let count = c.inputType(0).shape.elementCount
    let arguments = [
      try c.read(0), c.write(0), c.scratch(bytes: ParallelSum.scratchBytes(count: count)),
    ]
    let element = try c.element(c.inputType(0).dtype)
    let squares = try ParallelSum(.sumOfSquares, in: element, count: count)
    c.step(arguments) { p in
      p(1, as: Double.self)[0] = squares(FlatOperand(p[0], element), p(2, as: Double.self))
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
