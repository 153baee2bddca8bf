import Testing

@testable import ABNKernels

/// The arithmetic of residual blocks, in every instruction set, bit by bit as its formulas say.
@Suite struct ResidualTests {
  private static func numbers<T: BinaryFloatingPoint>(_ count: Int, _ seed: Int) -> [T] {
    var values = (0..<count).map { T(Double(($0 &* 7919 &+ seed &* 104_729) % 2003) / 1001 - 1) }
    // What comparisons go wrong on.
    for (index, special) in [T.nan, .infinity, -.infinity, 0, -0.0].enumerated()
    where index * 5 + seed < count { values[index * 5 + seed] = special }
    return values
  }

  /// out = the operation on arrays of one type.
  private func run<T: BinaryFloatingPoint>(
    _ operation: FlatOperation, _ element: ABNElement, _ set: ABNInstructionSet,
    _ inputs: [[T]], into out: inout [T]
  ) throws {
    let kernel = try FlatKernel(operation, isWide: element == .float64, instructionSet: set)
    let count = inputs[0].count
    inputs[0].withUnsafeBufferPointer { a in
      inputs[1].withUnsafeBufferPointer { b in
        inputs[inputs.count - 1].withUnsafeBufferPointer { c in
          out.withUnsafeMutableBufferPointer { out in
            func array(_ x: UnsafePointer<T>?) -> FlatOperand { FlatOperand(x!, element) }
            guard count > 0 else { return }
            kernel(
              FlatOperands(
                array(a.baseAddress), array(b.baseAddress), array(c.baseAddress),
                FlatOperand(out.baseAddress!, element)), 0..<count)
          }
        }
      }
    }
  }

  private func check<T: BinaryFloatingPoint>(_ element: ABNElement, _ type: T.Type) throws {
    for set in AgreementTests.sets {
      for count in [0, 1, 15, 16, 17, 31, 48, 1000] {
        let (a, b, c): ([T], [T], [T]) =
          (Self.numbers(count, 0), Self.numbers(count, 1), Self.numbers(count, 2))
        func expectBits(
          _ wanted: (Int) -> T, _ what: String, _ operation: FlatOperation, _ inputs: [[T]]
        ) throws {
          // Two elements more, which must stay.
          var out = [T](repeating: 7, count: count + 2)
          try run(operation, element, set, inputs, into: &out)
          for i in 0..<count {
            let (got, right) = (out[i], wanted(i))
            #expect(
              got == right && got.sign == right.sign || got.isNaN && right.isNaN,
              "\(what) \(set) \(element) \(i) of \(count): \(got), not \(right)")
          }
          #expect(out[count] == 7 && out[count + 1] == 7, "\(what) \(set) \(count)")
        }
        for slope in [1, 0.25] {
          let t = T(slope)
          try expectBits(
            { a[$0] + b[$0] > 0 ? a[$0] + b[$0] : (a[$0] + b[$0]) * t }, "sum",
            .residualSum(slope: slope), [a, b])
          try expectBits(
            { (a[$0] > 0 ? a[$0] : a[$0] * (1 / t)) - b[$0] }, "term",
            .residualTerm(inverseSlope: 1 / slope), [a, b])
          try expectBits(
            { a[$0] > 0 ? b[$0] + c[$0] : (b[$0] + c[$0]) * t }, "gradient",
            .residualGradient(slope: slope), [a, b, c])
        }
        try expectBits(
          { a[$0] + b[$0] < 0 ? 0 : a[$0] + b[$0] }, "sum with relu", .residualSum(slope: 0),
          [a, b])
        try expectBits(
          { a[$0] > 0 ? b[$0] + c[$0] : 0 }, "gradient of relu", .residualGradient(slope: 0),
          [a, b, c])
        // Over an operand.
        var over = b
        over.withUnsafeMutableBufferPointer { over in
          guard let base = over.baseAddress, count > 0 else { return }
          a.withUnsafeBufferPointer { a in
            c.withUnsafeBufferPointer { c in
              let kernel = try! FlatKernel(
                .residualGradient(slope: 0.25), isWide: element == .float64, instructionSet: set)
              kernel(
                FlatOperands(
                  FlatOperand(a.baseAddress!, element), FlatOperand(base, element),
                  FlatOperand(c.baseAddress!, element), FlatOperand(base, element)), 0..<count)
            }
          }
        }
        for i in 0..<count where !over[i].isNaN {
          #expect(over[i] == (a[i] > 0 ? b[i] + c[i] : (b[i] + c[i]) * 0.25))
        }
      }
    }
  }

  @Test func formulasBitByBit() throws {
    try check(.float32, Float.self)
    try check(.float64, Double.self)
  }

  @Test func squaresOfSums() throws {
    let a = (0..<100).map { Float($0 % 7) - 3 }
    let b = (0..<100).map { Float($0 % 5) }
    let squares = zip(a, b).map { ($0 + $1) * ($0 + $1) }
    for set in AgreementTests.sets {
      let kernel = try FlatKernel(.residualSquares, instructionSet: set)
      let operands = FlatOperands(FlatOperand(a, .float32), FlatOperand(b, .float32), .none)
      let sums = kernel.withLanes(operands, 0..<96) { lanes in (0..<16).map { Float(lanes[$0]) } }
      for lane in 0..<16 {
        let own = stride(from: lane, to: 96, by: 16).map { squares[$0] }.reduce(0, +)
        #expect(sums[lane] == own, "\(set)")
      }
    }
  }
}
