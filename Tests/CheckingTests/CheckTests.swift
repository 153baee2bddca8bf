import ABNChecking
import ABNOperators
import ABNPasses
import ABNTensors
import InPlaceABN
import Synchronization
import Testing

/// Scales by a thousandth more than the program says.
private struct WrongScale: ProgramPass {
  let name = "wrong scale"

  func rewrite(_ program: Program, fetches: Set<VariableID>) throws -> RewrittenProgram {
    RewrittenProgram(
      program.with(
        operators: program.operators.map { op in
          var op = op
          if op.kind is Scale { op.kind = Scale(factor: 2.002) }
          return op
        }))
  }
}

/// The processor, with other lowerings.
private struct ChangedBackend: Backend {
  let name = "changed"
  let base = CPUBackend()
  let change: @Sendable (inout LoweredProgram) throws -> Void
  var passes: [any ProgramPass] { base.passes }
  var threads: Int { base.threads }

  func lower(_ program: Program, fetches: [VariableID]) throws -> LoweredProgram {
    var lowered = try base.lower(program, fetches: fetches)
    try change(&lowered)
    return lowered
  }
}

/// That the comparisons of `abn check` compare.
@Suite struct CheckTests {
  private static let processor = CPUBackend()

  private func row(_ backend: any Backend, _ group: CheckGroup, _ text: String) throws -> CheckRow {
    let test = try #require(CheckCase.all([group]).first { $0.line.contains(text) })
    return CheckRunner(backend, reference: Self.processor).run(test)
  }

  /// One case of each kind; `abn check` runs all of them.
  @Test(arguments: [
    (CheckGroup.layer, "leaky_relu(0.2) train"), (.layer, "elu(1) test"),
    (.layer, "some rescued, elu(1) train"), (.layer, "NaN in one channel, elu(1)"),
    (.layer, "identity, sum with x, leaky_relu, some rescued"),
    (.layer, "momentum by a variable"), (.operations, "conv2d 3x3/2 NHWC"),
    (.operations, "dropout"), (.operations, "cast to int32"),
    (.operations, "momentum, clipped by the common norm"), (.graphs, "graph 6"),
  ])
  func theProcessorPasses(_ group: CheckGroup, _ text: String) throws {
    let tests = CheckCase.all([group]).filter { $0.line.contains(text) }
    #expect(tests.count >= 1)
    for test in tests {
      let row = CheckRunner(Self.processor, reference: Self.processor).run(test)
      #expect(row.verdict == .pass, "\(row.details)")
      #expect(row.line.count <= 80)
      // Of float64 both sides are the same program; of 16 bits a test rounds as the reference does.
      if row.type == "f32", text != "dropout", text != "cast to int32" {
        #expect(try #require(row.error) > 0, "\(row.line)")
      }
    }
  }

  @Test func everyCaseHasItsLine() {
    let lines = CheckCase.all().map(\.line)
    #expect(Set(lines).count == lines.count)
    #expect(lines.count > 1000)
    for group in CheckGroup.allCases { #expect(!CheckCase.all([group]).isEmpty, "\(group)") }
  }

  @Test(arguments: ["tanh train", "identity global", "relu test"])
  func aWrongNumberFails(_ text: String) throws {
    // With the batch's own statistics a factor is normalized away, but for the moving variance.
    let backend = CPUBackend(passes: [WrongScale()])
    let row = try row(backend, .layer, text)
    #expect(row.verdict == .fail)
    #expect(try #require(row.error) > 1e-4)
    #expect(row.details.contains("wanted"), "\(row.details)")
  }

  /// What has other bits the second time fails, though it is right.
  @Test func whatIsNotRepeatedFails() throws {
    final class Runs: Sendable {
      let count = Atomic(0)
    }
    let runs = Runs()
    let backend = ChangedBackend { lowered in
      for index in lowered.steps.indices where lowered.steps[index].name == "scale" {
        let run = lowered.steps[index].run
        lowered.steps[index].run = { pointers in
          try run(pointers)
          let count = runs.count.add(1, ordering: .relaxed).newValue
          pointers(1, as: Float.self)[0] *= 1 + Float(count) * 0x1p-23
        }
      }
    }
    let row = try row(backend, .layer, "identity global")
    #expect(row.verdict == .fail)
    #expect(row.details.contains("other bits when run again"), "\(row.details)")
  }

  /// What a backend does not run is told apart from what it does wrong.
  @Test func whatIsNotRunIsRefused() throws {
    let backend = ChangedBackend { lowered in
      if lowered.steps.contains(where: { $0.name == "softmax" }) {
        throw ABNError(.unsupported, "softmax", got: "a kind without a kernel", wanted: "another")
      }
    }
    let row = try row(backend, .operators, "softmax of 1e3")
    #expect(row.verdict == .refused)
    #expect(row.details.contains("a kind without a kernel"))
    #expect(try self.row(backend, .operators, "a large sum").verdict == .pass)
  }

  /// Programs of float32 whose products round: bounds are wider, and hold.
  @Test func lowerPrecisionPasses() throws {
    let backend = CPUBackend(
      passes: [LowerPrecision(to: .bfloat16)] + memoryPasses + trainingPasses)
    let runner = CheckRunner(backend, reference: Self.processor, unitOfProducts: 0x1p-8)
    for test in CheckCase.all([.operators]) where test.name.contains("conv, layer") {
      let row = runner.run(test)
      #expect(row.verdict == .pass, "\(row.details)")
      if row.type == "f32" { #expect(try #require(row.error) > 1e-5) }
    }
    #expect(CheckCase.all().contains { !runner.applies($0) })
  }
}
