import Foundation
import Testing

@testable import ABNInspection

/// When a time is not to be trusted.
@Suite struct MachineLoadTests {
  private func doubt(
    others: Double?, of processors: Int = 2, waiting: Double? = 0, threads: Int = 2
  ) -> String? {
    MachineLoad(
      otherProcessors: others, processors: processors, waitingShare: waiting, threads: threads
    ).doubt
  }

  @Test func whoeverTakesAProcessorIsNamed() {
    #expect(doubt(others: 0.05) == nil)
    #expect(doubt(others: 0.2) == "other programs used 0.2 of 2 processors")
    // What the team leaves free may be used.
    #expect(doubt(others: 0.9, threads: 1) == nil)
    #expect(doubt(others: 1.2, threads: 1) != nil)
    #expect(doubt(others: 61, of: 64, threads: 2) == nil)
    // More threads than processors wait for each other.
    #expect(
      doubt(others: 0, waiting: 0.4, threads: 4)
        == "threads waited for a processor 40 % of the time")
    #expect(doubt(others: nil, waiting: nil) == nil)
    #expect(doubt(others: nil, waiting: 0.01) == nil)
  }

  /// Two loops for each processor are seen.
  @Test func aBusyMachineIsSeen() throws {
    let loops = try (0..<2 * ProcessInfo.processInfo.activeProcessorCount).map { _ in
      let process = Process()
      process.executableURL = URL(filePath: "/bin/sh")
      process.arguments = ["-c", "ulimit -t 5; while :; do :; done"]
      try process.run()
      return process
    }
    defer { for loop in loops { loop.terminate() } }
    let meter = LoadMeter()
    let end = ContinuousClock.now + .milliseconds(400)
    var turns = 0
    while .now < end { turns += 1 }
    let load = meter.load(threads: ProcessInfo.processInfo.activeProcessorCount)
    guard load.otherProcessors != nil || load.waitingShare != nil else {
      print("skipped: /proc does not tell who uses the processors")
      return
    }
    #expect(load.doubt != nil, "\(load), \(turns) turns")
  }
}
