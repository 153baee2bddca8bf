import Foundation
import Testing

/// The public declarations of every room, as its sources spell them: what a user can name, and what breaks users when
/// it changes.
@Suite struct SymbolSnapshotTests {
  private static let sources = URL(filePath: #filePath).deletingLastPathComponent()
    .deletingLastPathComponent().deletingLastPathComponent().appending(path: "Sources")

  @Test func unchanged() throws {
    let rooms = try FileManager.default.contentsOfDirectory(atPath: Self.sources.path).sorted()
    var lines: [String] = []
    for room in rooms where room != "Kernels" {
      let files = FileManager.default.enumerator(atPath: Self.sources.appending(path: room).path)
      var symbols: [String] = []
      for case let file as String in files ?? .init() where file.hasSuffix(".swift") {
        let text = try String(
          contentsOf: Self.sources.appending(path: "\(room)/\(file)"), encoding: .utf8)
        symbols += declarations(text)
      }
      guard !symbols.isEmpty else { continue }
      lines += ["== \(room), \(symbols.count)"] + symbols.sorted()
    }
    #expect(lines.count > 100, "the sources could not be read")
    try Snapshot(name: "public-symbols", text: lines.joined(separator: "\n") + "\n").check()
  }

  /// A type that lines stand in.
  private struct Enclosing {
    let indent: Int
    let word: String
    let name: String
    let isPublic: Bool
  }

  /// `Type.Nested public func name(...)`, up to the body; types and extensions are told by their indentation, which the
  /// formatter keeps. Cases of public enums and requirements of public protocols are public without saying so.
  private func declarations(_ text: String) -> [String] {
    let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
    var types: [Enclosing] = []
    var found: [String] = []
    var index = 0
    while index < lines.count {
      let indent = lines[index].prefix { $0 == " " }.count
      let line = lines[index].dropFirst(indent)
      defer { index += 1 }
      if line.isEmpty || line.hasPrefix("//") { continue }
      if !line.hasPrefix(")") { types.removeAll { $0.indent >= indent } }
      let words = line.split(separator: " ").prefix(8).map(String.init).drop { $0.hasPrefix("@") }
      let isPublic = words.first == "public"
      let inside = types.last.flatMap { $0.isPublic && $0.indent == indent - 2 ? $0.word : nil }
      let isImplied =
        inside == "enum" && words.first == "case"
        || inside == "protocol" && !words.isEmpty && words.first != "}"
      if isPublic || isImplied {
        var whole = String(line)
        // A declaration over several lines ends where its parentheses are closed.
        while index + 1 < lines.count, isOpen(whole) {
          index += 1
          whole += " " + lines[index].drop { $0 == " " }
        }
        let path = types.map(\.name).joined(separator: ".")
        found.append((path.isEmpty ? "" : path + " ") + head(whole))
      }
      if let at = words.firstIndex(where: Self.typeWords.contains), at + 1 < words.endIndex,
        words[..<at].allSatisfy(Self.modifiers.contains)
      {
        let name = words[at + 1].prefix { $0.isLetter || $0.isNumber || $0 == "." || $0 == "_" }
        types.append(
          Enclosing(indent: indent, word: words[at], name: String(name), isPublic: isPublic))
      }
    }
    return found
  }

  private static let typeWords: Set = [
    "struct", "enum", "class", "protocol", "extension", "actor",
  ]
  private static let modifiers: Set = [
    "public", "private", "fileprivate", "final", "package", "indirect",
  ]

  private func isOpen(_ text: String) -> Bool {
    var depth = 0
    for character in text {
      if character == "(" || character == "[" { depth += 1 }
      if character == ")" || character == "]" { depth -= 1 }
    }
    return depth > 0
  }

  /// Without the body: what follows the first brace, or of a constant its value.
  private func head(_ text: String) -> String {
    let end = text.range(of: " {")?.lowerBound ?? text.endIndex
    return String(text[..<end])
  }
}
