import ABNGraph
import ABNPlanning
import ABNTensors
import Testing

@testable import ABNRuntime

/// The checking mode finds steps that touch what is not theirs.
@Suite struct CheckingTests {
  /// Two steps over buffers of 100 bytes: the first fills a, the second makes b from a.
  struct TwoSteps: Backend {
    let name = "two steps"
    /// What the second step does.
    let second: @Sendable (StepPointers) -> Void

    func lower(_ program: Program, fetches: [VariableID]) throws -> LoweredProgram {
      let (a, b, c) = (BufferID(0), BufferID(1), BufferID(2))
      let buffers = ["a", "b", "c"].map { PlanBuffer(name: $0, bytes: 100, use: .activation) }
      func step(
        _ name: String, _ arguments: [StepArgument],
        _ run: @escaping @Sendable (StepPointers) -> Void
      )
        -> Step
      {
        Step(name: name, layer: "l", source: nil, arguments: arguments, sharing: [], run: run)
      }
      let steps = [
        step("first", [.write(a)]) {
          $0[0].initializeMemory(as: UInt8.self, repeating: 1, count: 100)
        },
        step("second", [.read(a), .write(b)], second),
        step("third", [.read(b), .write(c)]) { p in
          for i in 0..<100 { p(1, as: UInt8.self)[i] = p(0, as: UInt8.self)[i] }
        },
      ]
      var fetched = buffers
      fetched[2].isFetched = true
      return LoweredProgram(
        steps: steps, buffers: fetched, feeds: [],
        fetches: [LoweredProgram.Port(name: "c", type: TensorType([100], .uint8), buffer: c)],
        persistents: [])
    }
  }

  private func run(
    _ second: @escaping @Sendable (StepPointers) -> Void, mode: PlanningMode = .guarded
  ) throws -> [UInt8] {
    let lowered = try TwoSteps(second: second).lower(Program(), fetches: [])
    let executable = Executable(lowered, mode: mode)
    let arena = Arena(HostMemory.shared)
    return try withExtendedLifetime(arena) {
      try executable.bind(arena: arena, scope: Scope())
      try executable.run(feed: [:], verbosity: 0)
      return try executable.fetched()[0].withUnsafeBytes { Array($0) }
    }
  }

  @Test func rightStepsPass() throws {
    let values = try run { p in
      for i in 0..<100 { p(1, as: UInt8.self)[i] = p(0, as: UInt8.self)[i] + 1 }
    }
    #expect(values == Array(repeating: 2, count: 100))
  }

  /// One byte behind a buffer: in the compact plan nobody would notice.
  @Test func writeBehindABuffer() throws {
    let overflow: @Sendable (StepPointers) -> Void = { p in
      p[1].initializeMemory(as: UInt8.self, repeating: 7, count: 101)
    }
    #expect(try run(overflow, mode: .compact).allSatisfy { $0 == 7 })
    let error = #expect(throws: ABNError.self) { try run(overflow) }
    for word in ["step 1", "second", "behind the 100", "b"] {
      #expect("\(error!)".contains(word), "\(error!)")
    }
  }

  /// What a step leaves unwritten is not what stood there before.
  @Test func unwrittenBytesAreNaN() throws {
    let values = try run { p in
      for i in 0..<50 { p(1, as: UInt8.self)[i] = 3 }
    }
    #expect(values == Array(repeating: 3, count: 50) + Array(repeating: 0xFF, count: 50))
  }

  @Test func theVariable() throws {
    #expect(try Debug.parseSwitch("ABN_CHECK", nil, default: false).get() == false)
    #expect(try Debug.parseSwitch("ABN_CHECK", "1", default: false).get())
    let error = #expect(throws: ABNError.self) {
      try Debug.parseSwitch("ABN_CHECK", "yes", default: false).get()
    }
    #expect("\(error!)".contains("ABN_CHECK"))
  }
}
