import Foundation
import Testing

@testable import ABNKernels

/// The activations as flat loops, in every instruction set and element type, against float64: within the bounds of their
/// table, the elementary functions within those of their documentation.
@Suite struct ActivationTableTests {
  /// f and f' where neither overflows nor cancels but where f' crosses 0.
  private static func exact(_ act: ABNActivation, _ x: Double) -> (value: Double, slope: Double) {
    let e = exp(-x.magnitude)
    let q = 1 / (1 + e)
    switch act {
    case .sigmoid: return (x < 0 ? e * q : q, e * q * q)
    case .tanh:
      let square = e * e
      return (tanh(x), 4 * square / ((1 + square) * (1 + square)))
    case .swish:
      return x < 0 ? (x * e * q, e * q * (1 + x * q)) : (x * q, q + x * e * q * q)
    case .gelu:
      let tail = 0.5 * erfc(-x * 0.5.squareRoot())
      return (x * tail, tail + x * exp(-0.5 * x * x) / (2 * Double.pi).squareRoot())
    case .mish:
      let d = x < 0 ? 2 + 2 * e + e * e : 1 + 2 * e + 2 * e * e
      let t = (x < 0 ? e * (2 + e) : 1 + 2 * e) / d
      return (x * t, t + x * 4 * (x < 0 ? e : e * e) * (1 + e) / (d * d))
    default:
      let alpha = 0.25
      return (
        Scalar.activate(act, x, alpha), Scalar.derivative(act, x, alpha)
      )
    }
  }

  /// Numbers all over where float32 has a normal exp(-|x|), more of them near 0.
  private static let points: [Float] = {
    var source = Source(state: 11)
    var result: [Float] = [0, -0.0, 1e-40, -1e-40, 3, -3, 6]
    for _ in 0..<6000 {
      result.append(Float(source.uniform(-12, 12)))
      result.append(Float(source.uniform(-80, 80)))
      result.append(Float(exp(source.uniform(-80, 4))) * (source.uniform(-1, 1) < 0 ? -1 : 1))
    }
    return result
  }()

  /// An operation on arrays of one element type, from numbers and to numbers.
  private func run(
    _ operation: FlatOperation, _ element: ABNElement, _ set: ABNInstructionSet,
    _ inputs: [Float]...
  ) throws -> (read: [[Double]], result: [Double]) {
    let count = inputs[0].count
    let pack = try FlatKernel(.copy, instructionSet: set)
    let arrays = inputs.map { _ in
      UnsafeMutableRawPointer.allocate(byteCount: 8 * count, alignment: 64)
    }
    let out = UnsafeMutableRawPointer.allocate(byteCount: 8 * count, alignment: 64)
    defer { for array in arrays + [out] { array.deallocate() } }
    func wide(_ array: UnsafeRawPointer) -> [Double] {
      var result = [Double](repeating: 0, count: count)
      result.withUnsafeMutableBufferPointer { result in
        try! FlatKernel(.copy, isWide: true, instructionSet: set)(
          FlatOperands(
            FlatOperand(array, element),
            FlatOperand(UnsafeRawPointer(result.baseAddress!), .float64)),
          0..<count)
      }
      return result
    }
    for (input, array) in zip(inputs, arrays) {
      pack(FlatOperands(FlatOperand(input, .float32), FlatOperand(array, element)), 0..<count)
    }
    let operands = arrays.map { FlatOperand($0, element) }
    try FlatKernel(operation, instructionSet: set)(
      FlatOperands(
        operands[0], operands.count > 1 ? operands[1] : .none, FlatOperand(out, element)),
      0..<count)
    return (arrays.map { wide($0) }, wide(out))
  }

  /// The largest error in ulps of float32, after what a rounding to the element type takes.
  private func worst(
    _ element: ABNElement, _ x: [Double], _ got: [Double], _ exact: (Double) -> Double,
    _ scale: (Double) -> Double = { _ in 0 }, perSquare: Double = 0, bound: Double
  ) -> (ulps: Double, at: Double) {
    var worst = (ulps: 0.0, at: 0.0)
    for (x, got) in zip(x, got) {
      let wanted = exact(x)
      let size = max(wanted.magnitude, scale(x))
      guard size < element.greatest, size > element.leastNormal * 0x1p4 || element == .float32
      else { continue }
      let unit = max(Double(Float(size).ulp), Double(Float.leastNormalMagnitude.ulp))
      let stored = element == .float32 ? 0 : wanted.magnitude * element.unitRoundoff
      let square = x < 0 ? 1 + perSquare / max(bound, 1) * x * x : 1
      let error = max(0, abs(got - wanted) - stored) / unit / square
      if !(error <= worst.ulps) { worst = (error, x) }
    }
    return worst
  }

  @Test(arguments: Activation.all) func valuesAndDerivatives(_ given: Activation) throws {
    let act = given.with(alpha: 0.25)
    let row = act.row
    guard act != .prelu else { return }
    let ones = [Float](repeating: 1, count: Self.points.count)
    for set in AgreementTests.sets {
      for element in [ABNElement.float32, .float16, .bfloat16] {
        let value = try run(.activation(act), element, set, Self.points)
        let gradient = try run(.gradient(act), element, set, Self.points, ones)
        let ofValue = worst(
          element, value.read[0], value.result, { Self.exact(act, $0).value },
          perSquare: row.perSquare, bound: row.valueUlps)
        let ofGradient = worst(
          element, gradient.read[0], gradient.result, { Self.exact(act, $0).slope },
          { row.crosses && $0.magnitude < 4 ? 1 : 0 }, perSquare: row.perSquare,
          bound: row.gradientUlps)
        print("\(row.name) \(element) \(set): \(ofValue), gradient \(ofGradient)")
        #expect(ofValue.ulps <= row.valueUlps, "\(row.name) \(element) \(set): \(ofValue)")
        #expect(ofGradient.ulps <= row.gradientUlps, "\(row.name) \(element) \(set): \(ofGradient)")
      }
    }
  }

  @Test func elementaryFunctions() throws {
    let functions: [(FlatOperation, String, Double, (Double) -> Double)] = [
      (.logarithm, "log", 1.5, { log($0) }), (.exponential, "exp", 1.25, { exp($0) }),
      (.squareRoot, "sqrt", 0.5, { $0.squareRoot() }),
    ]
    for set in AgreementTests.sets {
      for (operation, name, bound, exact) in functions {
        let x =
          name == "exp"
          ? Self.points : Self.points.map { $0.magnitude } + [1e38, 0.9999999, 1.0000001, 3e38]
        let got = try run(operation, .float32, set, x)
        let worst = worst(
          .float32, got.read[0], got.result, { exact($0) }, bound: bound)
        print("\(name) \(set): \(worst)")
        #expect(worst.ulps <= bound, "\(name) \(set): \(worst)")
      }
      let special = try run(
        .logarithm, .float32, set, [0, -0.0, -1, .infinity, .nan, -.infinity, 1]
      ).result
      #expect(special[0] == -.infinity && special[1] == -.infinity && special[3] == .infinity)
      #expect(special[2].isNaN && special[4].isNaN && special[5].isNaN && special[6] == 0)
    }
  }

  @Test func everyActivationIsInTheTable() {
    let names = Activation.all.map(\.name)
    #expect(Set(names).count == names.count)
    for act in Activation.all {
      #expect(Activation(name: act.name, alpha: 0.5) == act.with(alpha: 0.5))
    }
    // The numbers of the kernels' formulas, without a gap: a formula whose activation is not in `all` leaves one.
    #expect(Set(Activation.all.map(\.code)) == Set(0..<names.count))
    #expect(Activation(name: "relu7") == nil)
  }
}
