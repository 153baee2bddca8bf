import ABNGraph
import ABNTensors
import Synchronization
import Testing

@testable import ABNRuntime

/// What a program is lowered to may depend on the number of threads: scratch memory has room for each.
@Suite struct ThreadsTests {
  private final class Team: Backend {
    let name = "team"
    let count = Atomic<Int>(1)
    var threads: Int { count.load(ordering: .relaxed) }

    func lower(_ program: Program, fetches: [VariableID]) throws -> LoweredProgram {
      LoweredProgram(
        steps: [], buffers: [], feeds: [], fetches: [], persistents: [])
    }
  }

  @Test func anotherTeamCompilesAnew() throws {
    let team = Team()
    let executor = Executor(backend: team)
    let program = Program()
    let alone = try executor.compile(program)
    #expect(try executor.compile(program) === alone)
    team.count.store(8, ordering: .relaxed)
    let eight = try executor.compile(program)
    #expect(eight !== alone)
    team.count.store(1, ordering: .relaxed)
    #expect(try executor.compile(program) === alone)
  }
}
