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
}
