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

  private func check<T: BinaryFloatingPoint>(_ element: ABNElement, _ type: T.Type) throws {
    for set in AgreementTests.sets {
      let arithmetic = try ABNResidual(element: element, instructionSet: set)
      for count in [0, 1, 15, 16, 17, 31, 48, 1000] {
        let (a, b, c): ([T], [T], [T]) =
          (Self.numbers(count, 0), Self.numbers(count, 1), Self.numbers(count, 2))
        func expectBits(_ wanted: (Int) -> T, _ what: String, _ run: (inout [T]) -> Void) {
          // Two elements more, which must stay.
          var out = [T](repeating: 7, count: count + 2)
          run(&out)
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
          expectBits({ a[$0] + b[$0] > 0 ? a[$0] + b[$0] : (a[$0] + b[$0]) * t }, "sum") {
            arithmetic.sum(a, b, into: &$0, count: count, slope: slope)
          }
          expectBits({ (a[$0] > 0 ? a[$0] : a[$0] * (1 / t)) - b[$0] }, "term") {
            arithmetic.term(a, b, into: &$0, count: count, inverseSlope: 1 / slope)
          }
          expectBits({ a[$0] > 0 ? b[$0] + c[$0] : (b[$0] + c[$0]) * t }, "gradient") {
            arithmetic.gradient(a, b, c, into: &$0, count: count, slope: slope)
          }
        }
        expectBits({ a[$0] + b[$0] < 0 ? 0 : a[$0] + b[$0] }, "sum with relu") {
          arithmetic.sum(a, b, into: &$0, count: count, slope: 0)
        }
        expectBits({ a[$0] > 0 ? b[$0] + c[$0] : 0 }, "gradient of relu") {
          arithmetic.gradient(a, b, c, into: &$0, count: count, slope: 0)
        }
        // Over an operand.
        var over = b
        arithmetic.gradient(a, over, c, into: &over, count: count, slope: 0.25)
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
      var sums = [Float](repeating: 7, count: 17)
      try ABNResidual(element: .float32, instructionSet: set).squares(a, b, into: &sums, count: 100)
      for lane in 0..<16 {
        let own = stride(from: lane, to: 96, by: 16).map { squares[$0] }.reduce(0, +)
        #expect(sums[lane] == own, "\(set)")
      }
      #expect(sums[16] == 7)
    }
  }

  @Test func sixteenBitsAreRefused() throws {
    let error = #expect(throws: KernelError.self) { try ABNResidual(element: .bfloat16) }
    #expect(error?.description.contains("float32 or float64") == true)
  }
}
