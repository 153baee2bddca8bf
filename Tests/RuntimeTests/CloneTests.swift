import ABNTestSupport
import InPlaceABN
import Synchronization
import Testing

/// Clones of a program for evaluation are compiled once, however often they are made.
@Suite struct CloneTests {
  /// The processor, counting what it is asked to lower.
  private final class CountingBackend: Backend {
    let processor = CPUBackend()
    let count = Atomic(0)
    var name: String { processor.name }
    var passes: [any ProgramPass] { processor.passes }
    func lower(_ program: Program, fetches: [VariableID]) throws -> LoweredProgram {
      count.add(1, ordering: .relaxed)
      return try processor.lower(program, fetches: fetches)
    }
  }

  @Test func areCompiledOnce() throws {
    let backend = CountingBackend()
    let (executor, scope, builder) = (Executor(backend: backend), Scope(), ProgramBuilder())
    let y = try builder.build { try inplaceABN(data("x", shape: [4, 3])) }
    try executor.run(builder.startup, scope: scope)
    let feed = ["x": Tensor(zeros: [4, 3], dtype: .float32)]
    func compilations(_ program: Program) throws -> Int {
      let before = backend.count.load(ordering: .relaxed)
      for _ in 0..<3 {
        try executor.run(program.cloned(forTest: true), feed: feed, fetch: [y], scope: scope)
        try executor.run(
          builder.main.cloned().cloned(), feed: feed, fetch: [y], scope: scope)
        try executor.run(program, feed: feed, fetch: [y], scope: scope)
      }
      return backend.count.load(ordering: .relaxed) - before
    }
    // For training and for evaluation.
    #expect(try compilations(builder.main) == 2)
    // A program that has changed since has another clone.
    _ = try builder.build { try relu(y) }
    #expect(try compilations(builder.main) == 2)
    #expect(try compilations(builder.main) == 0)
  }
}
