import ABNInspection
import ABNModels
import ABNPlanning
import ABNRuntime
import InPlaceABN
import Testing

/// What a run takes of a card is what was planned, and is not told from the process's own memory.
@Suite(.enabled(if: TestCard.backend != nil)) struct CardMemoryTests {
  @Test func aStepTakesWhatWasPlanned() throws {
    let card = try #require(TestCard.backend)
    let measured = try FlatCase.turn.withLock { _ in
      try measureMemory(
        of: Model.named("lenet"), norm: .inplace, image: [1, 28, 28], batchSize: 4, steps: 2,
        backend: card)
    }
    #expect(measured.baseBytes == 0)
    // Each of some 40 allocations is rounded up by the driver, to at most 512 bytes more.
    let beyond = measured.measuredPeakBytes - measured.plannedPeakBytes
    #expect((0...40 * 512).contains(beyond), "\(measured)")
  }

  /// Fetches of another program are refused, as by the processor.
  @Test func foreignFetchesAreRefused() throws {
    let card = try #require(TestCard.backend)
    let (own, other) = (ProgramBuilder(seed: 1), ProgramBuilder(seed: 1))
    try own.build { _ = try relu(data("x", shape: [2])) }
    let foreign = try other.build {
      var y = try data("x", shape: [2])
      for _ in 0..<9 { y = try relu(y) }
      return y
    }
    #expect(throws: ABNError.self) { try card.lower(own.main, fetches: [foreign.id]) }
    #expect(throws: ABNError.self) { try CPUBackend().lower(own.main, fetches: [foreign.id]) }
  }
}
