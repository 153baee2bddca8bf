import Foundation
import Testing

/// All suites run at once in one process: a test that sets what belongs to the whole process changes the
/// bits of another one's results, now and then.
@Suite struct ProcessWideTests {
  /// Test sources by name, without this one and the programs that tests start.
  private static func sources() throws -> [(name: String, text: String)] {
    let tests = RoadTests.root.appendingPathComponent("Tests")
    let all = FileManager.default.enumerator(at: tests, includingPropertiesForKeys: nil)
    return try (all?.allObjects as? [URL] ?? [])
      .filter {
        $0.path.hasSuffix("Tests.swift") && $0.lastPathComponent != "ProcessWideTests.swift"
      }
      .map { ($0.lastPathComponent, try String(contentsOf: $0, encoding: .utf8)) }
  }

  /// The tests of a source: what stands between one `@Test` and the next.
  private static func tests(_ text: String) -> [Substring] {
    let starts = text.ranges(of: "@Test").map(\.lowerBound)
    return zip(starts, starts.dropFirst() + [text.endIndex]).map { text[$0..<$1] }
  }

  @Test func whatIsTheWholeProcessesIsSetInAProcessOfItsOwn() throws {
    let setting = /\bParallel\.threads\s*=[^=]|\b(?:setenv|unsetenv|putenv|chdir|umask|signal)\(/
    let sources = try Self.sources()
    #expect(sources.count > 100)
    var found = 0
    for (name, text) in sources {
      let settings = text.matches(of: setting).count
      // Those in functions beside the tests would be missed below.
      var inTests = 0
      for test in Self.tests(text) {
        for match in test.matches(of: setting) {
          inTests += 1
          let before = test[..<match.range.lowerBound]
          #expect(before.contains("processExitsWith"), "\(name): \(match.0)")
        }
      }
      #expect(inTests == settings, "\(name): set outside a test")
      found += settings
    }
    #expect(found > 2)
  }
}
