import Foundation
import Testing

@testable import ABNKernels
import ABNMeasuring

/// The documented error bounds of the elementary functions, over their whole ranges.
@Suite struct MathematicsTests {
  struct Function: Sendable, CustomTestStringConvertible {
    var testDescription: String
    var code: Int
    var range: ClosedRange<Double>
    /// Bound in ulps of the result, and what is added to it for each unit of x * x.
    var ulps: Double
    var perSquare = 0.0
    /// Past what float32 holds.
    var isOnlyFloat64 = false
    var reference: @Sendable (Double) -> Double
  }

  static let functions: [Function] = [
    Function(testDescription: "exp", code: 0, range: -87...88, ulps: 2) { exp($0) },
    Function(testDescription: "expm1", code: 1, range: -200...0, ulps: 1.25) { expm1($0) },
    Function(testDescription: "log1p", code: 2, range: -0.9999...0, ulps: 1.5) { log1p($0) },
    // Where saturated elu comes from, down to the number next to -1.
    Function(
      testDescription: "log1p near -1", code: 2, range: -1 + 0x1p-24...(-0.9999), ulps: 1.5
    ) { log1p($0) },
    Function(testDescription: "tanh", code: 3, range: -30...30, ulps: 4) { tanh($0) },
    Function(testDescription: "sigmoid", code: 4, range: -80...80, ulps: 4) { 1 / (1 + exp(-$0)) },
    Function(
      testDescription: "normal distribution", code: 5, range: -12...12, ulps: 6, perSquare: 1.5
    ) { 0.5 * erfc(-$0 * 0.5.squareRoot()) },
    Function(testDescription: "normal density", code: 6, range: -12...12, ulps: 4, perSquare: 1.5) {
      exp(-0.5 * $0 * $0) / (2 * Double.pi).squareRoot()
    },
    Function(
      testDescription: "exp, far", code: 0, range: -708...709, ulps: 2, isOnlyFloat64: true
    ) { exp($0) },
    Function(
      testDescription: "log1p next to -1", code: 2, range: -1 + 0x1p-53...(-1 + 0x1p-20),
      ulps: 1.5, isOnlyFloat64: true
    ) { log1p($0) },
    Function(
      testDescription: "normal distribution, far", code: 5, range: -37...37, ulps: 6,
      perSquare: 1.5, isOnlyFloat64: true
    ) { 0.5 * erfc(-$0 * 0.5.squareRoot()) },
  ]

  /// Values all over the range: evenly, and by magnitude down to the smallest.
  static func points(_ range: ClosedRange<Double>, _ least: Double) -> [Double] {
    var source = Source(state: 9)
    var result = (0..<40_000).map { _ in source.uniform(range.lowerBound, range.upperBound) }
    for _ in 0..<8000 {
      let size = exp(source.uniform(log(least), log(max(abs(range.lowerBound), range.upperBound))))
      for value in [size, -size] where range.contains(value) { result.append(value) }
    }
    result += [range.lowerBound, range.upperBound, 0]
    while result.count % 16 != 0 { result.append(range.lowerBound) }
    return result
  }

  @Test(arguments: functions.filter { !$0.isOnlyFloat64 })
  func isWithinItsBoundInFloat32(_ function: Function) {
    let x = Self.points(function.range, 1e-37).map { Float($0) }
    for set in AgreementTests.sets {
      var result = [Float](repeating: 0, count: x.count)
      x.withUnsafeBytes { input in
        result.withUnsafeMutableBytes {
          set.evaluate(function.code, false, input.baseAddress!, $0.baseAddress!, x.count)
        }
      }
      var worst = (0.0, Float(0))
      for (value, got) in zip(x, result) {
        let truth = function.reference(Double(value))
        let unit = max(Double(Float(truth).ulp), Double(Float.leastNormalMagnitude.ulp))
        let bound = 1 + function.perSquare / function.ulps * Double(value * value)
        let error = abs(Double(got) - truth) / unit / bound
        if !(error <= worst.0) { worst = (error, value) }
      }
      print("\(function.testDescription) float32 \(set): \(worst.0) ulps at \(worst.1)")
      #expect(worst.0 <= function.ulps, "\(set): \(worst.0) ulps at \(worst.1)")
    }
  }

  #if arch(x86_64)
  static let long: [Int: @Sendable (Float80) -> Float80] = [
    0: { exp($0) }, 1: { expm1($0) }, 2: { log1p($0) }, 3: { tanh($0) },
    4: { 1 / (1 + exp(-$0)) }, 5: { 0.5 * erfc(-$0 * Float80(0.5).squareRoot()) },
    6: { exp(-0.5 * $0 * $0) / (2 * Float80.pi).squareRoot() },
  ]

  @Test(arguments: functions)
  func isWithinItsBoundInFloat64(_ function: Function) throws {
    let x = Self.points(function.range, 1e-300)
    let reference = try #require(Self.long[function.code])
    for set in AgreementTests.sets {
      var result = [Double](repeating: 0, count: x.count)
      x.withUnsafeBytes { input in
        result.withUnsafeMutableBytes {
          set.evaluate(function.code, true, input.baseAddress!, $0.baseAddress!, x.count)
        }
      }
      var worst = (0.0, 0.0)
      for (value, got) in zip(x, result) {
        let truth = reference(Float80(value))
        let unit = max(Double(truth).ulp, Double.leastNormalMagnitude.ulp)
        let bound = 1 + function.perSquare / function.ulps * value * value
        let error = Double(abs(Float80(got) - truth)) / unit / bound
        if !(error <= worst.0) { worst = (error, value) }
      }
      print("\(function.testDescription) float64 \(set): \(worst.0) ulps at \(worst.1)")
      #expect(worst.0 <= function.ulps, "\(set): \(worst.0) ulps at \(worst.1)")
    }
  }
  #endif

  @Test func theEndsOfTheRangeAreRight() {
    let x: [Float] = [
      .nan, .infinity, -.infinity, 200, -200, 88.7, -103, 0, -0.0, 0x1p-133, -0x1p-133, 89, -104.5,
      1, -1,
      0.5,
    ]
    for set in AgreementTests.sets {
      var result = [Float](repeating: 0, count: 16)
      x.withUnsafeBytes { input in
        result.withUnsafeMutableBytes {
          set.evaluate(0, false, input.baseAddress!, $0.baseAddress!, 16)
        }
      }
      #expect(result[0].isNaN)
      #expect(result[1] == .infinity && result[3] == .infinity && result[11] == .infinity)
      #expect(result[2] == 0 && result[4] == 0 && result[12] == 0)
      #expect(result[6] > 0 && result[6] < 0x1p-146, "subnormal results are kept")
      #expect(result[7] == 1 && result[8] == 1 && result[9] == 1)
    }
  }

  @Test func masksHaveOneBitForEachLane() {
    for set in AgreementTests.sets {
      for mask in [0, 1, 0x8000, 0xFFFF, 0x0180, 0x5A3C] + (0..<16).map({ 1 << $0 }) {
        let expected = Double(mask == 0 ? 0 : mask | 0x1_0000)
        let x = (0..<16).map { mask >> $0 & 1 == 1 ? 0.5 : $0 % 2 == 0 ? -1 : Double.nan }
        var wide = [Double](repeating: -1, count: 16)
        x.withUnsafeBytes { input in
          wide.withUnsafeMutableBytes {
            set.evaluate(7, true, input.baseAddress!, $0.baseAddress!, 16)
          }
        }
        #expect(wide.allSatisfy { $0 == expected }, "\(set), float64, mask \(mask): \(wide[0])")
        var single = [Float](repeating: -1, count: 16)
        x.map { Float($0) }.withUnsafeBytes { input in
          single.withUnsafeMutableBytes {
            set.evaluate(7, false, input.baseAddress!, $0.baseAddress!, 16)
          }
        }
        #expect(single.allSatisfy { Double($0) == expected }, "\(set), float32, mask \(mask)")
      }
    }
  }
}
