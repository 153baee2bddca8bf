import ABNCPUBackend
import ABNGraph
import ABNLayers
import ABNOperators
import ABNRuntime
import ABNTensors
import Testing

@Suite struct GradientNormTests {
  private func squaredNorm(_ values: Tensor) throws -> Double {
    let builder = ProgramBuilder()
    let source = SourceLocation(fileID: #fileID, line: #line)
    let norm = try builder.build {
      let x = try data("x", shape: values.shape, dtype: values.dtype)
      return try builder.append(SquaredNorm(), [x], layer: "norm", source: source)[0]
    }
    return try Executor(backend: CPUBackend()).run(
      builder.main, feed: ["x": values], fetch: [norm], scope: Scope())[0].doubles[0]
  }

  @Test(arguments: [1, 7, 8, 16384, 50_003], [DType.float32, .float64])
  func squaredNormOfAnyLength(_ count: Int, _ dtype: DType) throws {
    let source = CounterRandom(seed: 2, stream: 9)
    let values = Tensor((0..<count).map { source.uniform(UInt64($0)) * 2 - 1 }).cast(to: dtype)
    // Kahan's sum: the plain one is less exact than what it would judge.
    var (wanted, lost) = (0.0, 0.0)
    for value in values.doubles {
      let term = value * value - lost
      let next = wanted + term
      lost = (next - wanted) - term
      wanted = next
    }
    #expect(abs(try squaredNorm(values) - wanted) <= 1e-13 * wanted)
  }

  @Test func largeFloatsDoNotOverflow() throws {
    #expect(
      try squaredNorm(Tensor([Float(1e30), -1e30])) == 2 * Double(Float(1e30)) * Double(Float(1e30))
    )
  }

  @Test func scales() throws {
    let clip = try ClipScale(limit: 2)
    #expect(clip.scale(squaredNorm: 0) == 1)
    #expect(clip.scale(squaredNorm: 4) == 1)
    #expect(clip.scale(squaredNorm: 64) == 0.25)
    #expect(clip.scale(squaredNorm: .nan).isNaN)
    #expect(clip.scale(squaredNorm: .infinity).isNaN)
  }
}
