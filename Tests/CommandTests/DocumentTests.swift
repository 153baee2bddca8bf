import ABNTestSupport
import Foundation
import Testing

/// What the documents say of files and of the command, held against both.
@Suite struct DocumentTests {
  private static let root = URL(filePath: #filePath).deletingLastPathComponent()
    .deletingLastPathComponent().deletingLastPathComponent()

  /// All Markdown of the package, by path.
  private static func documents() throws -> [(path: String, text: String)] {
    let files = FileManager.default
    var paths = ["README.md", "CHANGELOG.md"]
    for folder in ["Documentation", "Sources", "Benchmarks", "Examples"] {
      let inside = files.enumerator(atPath: root.path + "/" + folder)?.allObjects as? [String] ?? []
      paths += inside.filter { $0.hasSuffix(".md") && !$0.contains(".build/") }
        .map { folder + "/" + $0 }
    }
    return try paths.map {
      ($0, try String(contentsOf: root.appending(path: $0), encoding: .utf8))
    }
  }

  /// The anchor that a heading gets.
  private static func anchor(_ heading: Substring) -> String {
    heading.lowercased().filter {
      $0.isLetter || $0.isNumber || $0 == " " || $0 == "-" || $0 == "_"
    }
    .replacing(" ", with: "-")
  }

  @Test func everyLinkLeadsSomewhere() throws {
    var count = 0
    for (path, text) in try Self.documents() {
      let folder = Self.root.appending(path: path).deletingLastPathComponent()
      for match in text.matches(of: /\]\(([^)\s]+)\)/) where !match.1.contains("://") {
        let parts = match.1.split(separator: "#", maxSplits: 1, omittingEmptySubsequences: false)
        let file =
          parts[0].isEmpty
          ? Self.root.appending(path: path) : folder.appending(path: String(parts[0]))
        count += 1
        guard FileManager.default.fileExists(atPath: file.path) else {
          Issue.record("\(path) leads to \(match.1)")
          continue
        }
        if parts.count == 2, file.pathExtension == "md" {
          let target = try String(contentsOf: file, encoding: .utf8)
          let anchors = target.matches(of: /(?m)^#+ (.*)$/).map { Self.anchor($0.1) }
          #expect(anchors.contains(String(parts[1])), "\(path) leads to \(match.1)")
        }
      }
    }
    #expect(count > 30)
  }

  /// The help in the command's document is what the command prints.
  @Test func theDocumentHasTheHelp() throws {
    let place = try Workplace()
    let help = try place.abn("train", "--help").output
    let options = try #require(help.range(of: "OPTIONS:")).lowerBound
    let ours = help[options...].split(separator: "\n").filter { !$0.contains("Show help") }
      .filter { !$0.contains("--version") && !$0.contains("-h, --help") }
    let document = try String(
      contentsOf: Self.root.appending(path: "Documentation/Command.md"), encoding: .utf8)
    let start = try #require(document.range(of: "```\nOPTIONS:"))
    let block = document[start.lowerBound...].dropFirst(4)
    let theirs = try block[..<#require(block.range(of: "\n```")).lowerBound].split(separator: "\n")
    #expect(theirs == ours)
  }

  /// Every option of every command in the documents is one of that command.
  @Test func commandsHaveTheirOptions() throws {
    let place = try Workplace()
    var known: [String: String] = [:]
    var count = 0
    for (path, text) in try Self.documents() where path != "CHANGELOG.md" {
      // Lines that are continued are one.
      let whole = text.replacing("\\\n", with: " ")
      let commands =
        whole.matches(of: /(?m)^(?:\$ )?(?:\.build\/release\/)?(abn .*)$/).map(\.1)
        + whole.matches(of: /`(abn [^`]*)`/).map(\.1)
      for command in commands {
        let words = command.split(whereSeparator: \.isWhitespace).dropFirst().map(String.init)
        let names = words.prefix { $0.first?.isLowercase == true && !$0.contains("/") }
        var depth = min(2, names.count)
        if depth == 2, !["weights", "bench", "data"].contains(names[0]) { depth = 1 }
        guard depth > 0 else { continue }
        let key = names.prefix(depth).joined(separator: " ")
        if known[key] == nil {
          known[key] = try place.start(names.prefix(depth) + ["--help"]).finish().output
        }
        let help = known[key]!
        #expect(help.contains("USAGE: abn \(key)"), "\(path): \(command)")
        for word in words where word.hasPrefix("--") && word.count > 2 {
          let option = word.prefix { $0 != "=" && $0 != "," && $0 != ")" }
          count += 1
          #expect(help.contains(option), "\(path): \(command): \(option)")
        }
      }
    }
    #expect(count > 20)
  }

  /// The example of those who embed the layer alone compiles, seen from outside the package.
  @Test func theLayersExampleCompiles() throws {
    let readme = try String(
      contentsOf: Self.root.appending(path: "Sources/ABNKernels/README.md"), encoding: .utf8)
    let example = try #require(readme.firstMatch(of: /```swift\n((?s).*?)```/)).1
    let program = """
      import ABNKernels

      func example(
        n: Int, c: Int, h: Int, w: Int, x: UnsafeMutableRawPointer, dz: UnsafeMutableRawPointer,
        scratch: UnsafeMutableRawPointer, parameters: ABNParameters, saved: ABNSavedStatistics,
        moving: ABNMovingStatistics?, gradients: ABNGradients,
        run: @escaping @Sendable (Int, @Sendable (Int) -> Void) -> Void
      ) throws {
      \(example)
      }
      """
    guard let errors = try Typecheck.errors(of: program) else { return }
    #expect(errors.isEmpty, "\(errors)")
  }
}
