import Foundation
import Testing

/// `scripts/quick-tests` names tests that are there: a filter that matches nothing passes.
@Suite struct QuickTests {
  private static let root = URL(filePath: #filePath).deletingLastPathComponent()
    .deletingLastPathComponent().deletingLastPathComponent()

  @Test func everyLineNamesATest() throws {
    let list = try String(
      contentsOf: Self.root.appending(path: "scripts/quick-tests"), encoding: .utf8)
    let lines = list.split(separator: "\n")
    #expect((15...30).contains(lines.count))
    for line in lines {
      let match = try #require(line.wholeMatch(of: /ABN(\w+)Tests\.(\w+)(?:\/(\w+))?/), "\(line)")
      let room = match.1 == "Kernels" ? "ABNKernels" : String(match.1)
      let folder = Self.root.appending(path: "Tests/\(room)Tests")
      let texts = try FileManager.default.contentsOfDirectory(atPath: folder.path)
        .filter { $0.hasSuffix(".swift") }
        .map { try String(contentsOf: folder.appending(path: $0), encoding: .utf8) }
      let found = texts.contains { text in
        text.contains("struct \(match.2) ")
          && (match.3.map { text.contains("func \($0)(") } ?? true)
      }
      #expect(found, "\(line)")
    }
  }

  /// What `scripts/test` leaves out of the checking mode, and the rooms that it runs there, are there.
  @Test func theCheckingModeNamesTests() throws {
    let script = try String(contentsOf: Self.root.appending(path: "scripts/test"), encoding: .utf8)
    let rooms = try #require(script.firstMatch(of: /--filter 'ABN\(([\w|]+)\)Tests'/)).1
      .split(separator: "|")
    var texts = ""
    for room in rooms {
      let folder = Self.root.appending(path: "Tests/\(room)Tests")
      for name in try FileManager.default.contentsOfDirectory(atPath: folder.path)
      where name.hasSuffix(".swift") {
        texts += try String(contentsOf: folder.appending(path: name), encoding: .utf8)
      }
    }
    let skipped = script.matches(of: /(?m)^(?:sizes|same)=['"](?:\$same\|)?([\w|]+)['"]$/)
      .flatMap { $0.1.split(separator: "|") }
    #expect(rooms.count > 5 && skipped.count > 5)
    for name in skipped {
      #expect(texts.contains(try Regex("struct \\w*\(name) ")), "\(name)")
    }
  }
}
