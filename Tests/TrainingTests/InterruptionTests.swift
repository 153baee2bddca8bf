import Foundation
import InPlaceABN
import Testing

@testable import ABNTraining

/// What a signal does to a training.
@Suite struct InterruptionTests {
  /// A closed terminal asks, as often as it likes; Ctrl-C after it asks too, the next one ends.
  @Test func hangingUpAsksAndNeverEnds() async {
    await #expect(processExitsWith: .signal(SIGINT)) {
      Interruption.install()
      for _ in 0..<3 { raise(SIGHUP) }
      guard Interruption.isRequested else { exit(1) }
      raise(SIGINT)
      for _ in 0..<3 { raise(SIGHUP) }
      raise(SIGINT)
      exit(2)
    }
  }

  @Test(arguments: [SIGINT, SIGTERM]) func theSecondOneEnds(number: Int32) async {
    await #expect(processExitsWith: .signal(SIGTERM)) { [number] in
      Interruption.install()
      raise(number)
      guard Interruption.isRequested else { exit(1) }
      raise(SIGTERM)
      exit(2)
    }
  }

  /// As under `nohup`.
  @Test func whatIsIgnoredStaysSo() async {
    await #expect(processExitsWith: .success) {
      signal(SIGHUP, unsafeBitCast(1, to: (@convention(c) (Int32) -> Void).self))
      Interruption.install()
      raise(SIGHUP)
      exit(Interruption.isRequested ? 1 : 0)
    }
  }

  /// The first one says what was given, and the others say nothing.
  @Test func theNoticeIsSaidOnce() async throws {
    let result = await #expect(
      processExitsWith: .success, observing: [\.standardErrorContent]
    ) {
      Interruption.install(notice: "stopping: größer than 16 bytes\n")
      raise(SIGHUP)
      raise(SIGHUP)
      exit(Interruption.isRequested ? 0 : 1)
    }
    let errors = String(decoding: result?.standardErrorContent ?? [], as: UTF8.self)
    #expect(errors.components(separatedBy: "stopping: größer than 16 bytes\n").count == 2)
  }
}
