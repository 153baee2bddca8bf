import ABNKernels
import ABNRuntime
import CParallel

/// Work on the OpenMP team that oneDNN uses, so that two pools never fight for the cores.
///
/// What the members share is checked by the compiler, but for pointers, which a step marks
/// `nonisolated(unsafe)`: members write no element that another one touches.
public enum Parallel {
  /// The members that a team of the calling thread has now; setting it asks for as many, in the
  /// whole process.
  ///
  /// It is what a team really gets, and may be less than was asked for: at most `mostThreads`,
  /// `OMP_THREAD_LIMIT`, and the threads that the system gives; 1 inside a team. Where nothing was
  /// asked for it is `OMP_NUM_THREADS`, else the number of processors. `OMP_DYNAMIC` is turned off.
  public static var threads: Int {
    get { Int(abn_team_size()) }
    set { abn_team_set_size(Int32(clamping: newValue)) }
  }

  /// The most threads that can be asked for: four for each processor, and at least 16.
  package static var mostThreads: Int { Int(abn_team_most()) }

  private struct Call {
    let parts: Int
    let body: @Sendable (Int) -> Void
  }

  /// Calls `body` with 0 ..< parts, spread over the team: member m takes the m-th contiguous share,
  /// of as many shares as the team has members. Parts must not wait for each other.
  ///
  /// What a part computes must not depend on who computes it; then results do not depend on the
  /// number of threads.
  package static func run(_ parts: Int, _ body: @Sendable (Int) -> Void) {
    if parts <= 1 {
      if parts == 1 { body(0) }
      return
    }
    withoutActuallyEscaping(body) { escaping in
      var call = Call(parts: parts, body: escaping)
      withUnsafeMutablePointer(to: &call) { pointer in
        abn_team_run(
          Int32(clamping: parts),
          { context, member, members in
            let call = context!.assumingMemoryBound(to: Call.self)
            let parts = call.pointee.parts
            let first = parts * Int(member) / Int(members)
            let end = parts * (Int(member) + 1) / Int(members)
            for part in first..<end { call.pointee.body(part) }
          }, pointer)
      }
    }
  }

  /// Calls `body` with ranges that cover 0 ..< count, each `grain` long but the last.
  package static func ranges(
    _ count: Int, grain: Int = 16384, _ body: @Sendable (Range<Int>) -> Void
  ) {
    run((count + grain - 1) / grain) { part in
      body(part * grain..<min(count, (part + 1) * grain))
    }
  }
}

extension Parallel {
  /// The team for a call of a layer kernel: of as many threads as it has at this moment.
  public static var team: KernelTeam { KernelTeam(count: threads, run: run) }
}

/// Turns of the OpenMP team.
struct TeamTurns: Turns {
  func begin() { abn_turn_begin() }
  func next() { abn_turn_next() }
  func end() { abn_turn_end() }
}
