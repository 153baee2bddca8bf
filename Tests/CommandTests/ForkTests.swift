import Foundation
import Testing

/// A run in a forked child: `Tests/ForkedRun` is the program.
@Suite(.serialized) struct ForkTests {
  /// Threads, whether a team was at work before the fork, and whether another thread forks than had it.
  @Test(arguments: ["1", "2", "2 trained", "3 trained", "2 trained thread", "2 thread"])
  func theFamilyAgrees(_ words: String) throws {
    let process = Process()
    process.executableURL = URL(filePath: Workplace.command).deletingLastPathComponent()
      .appending(path: "ForkedRun")
    process.arguments = words.split(separator: " ").map(String.init)
    let pipe = Pipe()
    process.standardOutput = pipe
    try process.run()
    let deadline = ContinuousClock.now + .seconds(60)
    while process.isRunning, .now < deadline { usleep(5_000) }
    if process.isRunning {
      // Its children wait for ever too.
      process.terminate()
      Issue.record("\(words): no end")
      return
    }
    let lines = String(decoding: pipe.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
      .split(separator: "\n")
    #expect(process.terminationStatus == 0)
    #expect(lines.count == 5, "\(words): \(lines)")
    // The same numbers with the same number of threads.
    let results = lines.map { $0.drop { $0 != "[" } }
    #expect(
      Set(results).count == 1 && results[0].hasSuffix(" \(words.prefix(1)) threads"), "\(lines)")
  }
}
