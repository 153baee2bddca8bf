import ABNTestSupport
import InPlaceABN
import Testing

/// First values: their distributions, and that seed and stream decide them.
@Suite struct InitializerTests {
  /// The values of a parameter of this shape after the startup program.
  func values(
    _ initializer: Initializer, shape: Shape, seed: UInt64 = 1, dtype: DType = .float64
  ) throws -> [Double] {
    let builder = ProgramBuilder(seed: seed)
    try builder.build {
      let x = try data("x", shape: [2, shape[0]], dtype: dtype)
      _ = try fc(
        x, size: shape[1], paramAttr: ParamAttr(name: "w", initializer: initializer),
        biasAttr: .absent)
    }
    let scope = Scope()
    try Executor(backend: CPUBackend()).run(builder.startup, scope: scope)
    return scope["w"]!.doubles
  }

  func moments(_ values: [Double]) -> (mean: Double, deviation: Double) {
    let mean = values.reduce(0, +) / Double(values.count)
    let variance = values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(values.count)
    return (mean, variance.squareRoot())
  }

  static let shape: Shape = [300, 100]

  @Test func constantAndArray() throws {
    #expect(try values(.constant(0.25), shape: [3, 2]) == Array(repeating: 0.25, count: 6))
    let given = Tensor([1.5, -2, 3, 4, 5, 6.25], shape: [3, 2])
    #expect(try values(.array(given), shape: [3, 2]) == given.doubles)
    #expect(try values(.array(given), shape: [3, 2], dtype: .float32) == given.doubles)
  }

  @Test func anArrayOfAnotherShapeIsAnError() {
    let error = #expect(throws: ABNError.self) {
      try values(.array(Tensor([1.0, 2], shape: [2, 1])), shape: [3, 2])
    }
    #expect(error?.description.contains("initializer of \"w\"") == true)
    #expect(error?.description.contains("float64[3, 2]") == true)
  }

  @Test func uniform() throws {
    let found = try values(.uniform(low: -2, high: 6), shape: Self.shape)
    #expect(found.allSatisfy { $0 >= -2 && $0 < 6 })
    let (mean, deviation) = moments(found)
    // Standard errors at 30,000 values: 0.013 and 0.006.
    #expect(abs(mean - 2) < 0.06)
    #expect(abs(deviation - 8 / 12.0.squareRoot()) < 0.03)
  }

  @Test func normal() throws {
    let (mean, deviation) = moments(
      try values(.normal(mean: 3, deviation: 0.5), shape: Self.shape))
    #expect(abs(mean - 3) < 0.015)
    #expect(abs(deviation - 0.5) < 0.01)
  }

  @Test func truncatedNormal() throws {
    let found = try values(.truncatedNormal(mean: 1, deviation: 2), shape: Self.shape)
    #expect(found.allSatisfy { abs($0 - 1) <= 4 })
    let (mean, deviation) = moments(found)
    #expect(abs(mean - 1) < 0.05)
    // The deviation of a standard normal cut at 2 is 0.8796.
    #expect(abs(deviation - 2 * 0.8796) < 0.03)
  }

  @Test func xavierAndMSRA() throws {
    let sum = 400.0
    let normal = moments(try values(.xavier(uniform: false), shape: Self.shape))
    #expect(abs(normal.deviation - (2 / sum).squareRoot()) < 0.002)
    let flat = try values(.xavier(), shape: Self.shape)
    #expect(flat.allSatisfy { abs($0) <= (6 / sum).squareRoot() })
    #expect(abs(moments(flat).deviation - (2 / sum).squareRoot()) < 0.002)
    let msra = try values(.msra(), shape: Self.shape)
    #expect(msra.allSatisfy { abs($0) <= (6 / 300.0).squareRoot() })
    #expect(abs(moments(msra).deviation - (2 / 300.0).squareRoot()) < 0.002)
    let fanned = moments(try values(.msra(uniform: false, fanIn: 8), shape: Self.shape))
    #expect(abs(fanned.deviation - 0.5) < 0.01)
  }

  @Test func seedAndStreamDecide() throws {
    let first = try values(.normal(), shape: [30, 10], seed: 5)
    #expect(try values(.normal(), shape: [30, 10], seed: 5) == first)
    #expect(try values(.normal(), shape: [30, 10], seed: 6) != first)
    let builder = ProgramBuilder(seed: 5)
    try builder.build {
      let x = try data("x", shape: [2, 30])
      _ = try fc(fc(x, size: 30, paramAttr: "a"), size: 30, paramAttr: "b")
    }
    let scope = Scope()
    try Executor(backend: CPUBackend()).run(builder.startup, scope: scope)
    #expect(scope["a"]! != scope["b"]!)
  }

  /// Known answers of Philox 4x32-10, from the generator's authors' test vectors.
  @Test func philoxKnownAnswers() {
    let zero = CounterRandom(seed: 0, stream: 0).words(block: 0)
    #expect(zero == SIMD4(0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8))
    let ones = CounterRandom(seed: .max, stream: .max).words(block: .max)
    #expect(ones == SIMD4(0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd))
  }
}
