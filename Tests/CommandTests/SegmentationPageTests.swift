import Foundation
import Testing

/// The commands of Documentation/Segmentation.md, on scenes that are made here.
@Suite(.serialized) struct SegmentationPageTests {
  private static let root = URL(filePath: #filePath).deletingLastPathComponent()
    .deletingLastPathComponent().deletingLastPathComponent()

  /// The lines of all blocks of `sh`, those that end in a backslash joined with the next.
  private func commands() throws -> [[String]] {
    let page = try String(
      contentsOf: Self.root.appending(path: "Documentation/Segmentation.md"), encoding: .utf8)
    return page.matches(of: /(?s)```sh\n(.*?)```/).flatMap { match in
      match.1.replacing("\\\n", with: " ").split(separator: "\n")
        .map { $0.split(separator: " ").map(String.init) }
    }
  }

  @Test func everyCommandRuns() throws {
    let place = try Workplace()
    try place.makeScenes("scenes", train: 4, val: 2)
    let commands = try commands()
    #expect(commands.count > 8)
    for var words in commands {
      #expect(words.removeFirst() == "abn")
      let line = words.joined(separator: " ")
      // What makes the commands short; later options win.
      if words.first == "train" { words += ["--epochs", "1", "--batch-size", "2"] }
      let outcome = try place.start(words).finish()
      #expect(outcome.status == 0, "\(line): \(outcome.errors)")
    }
    #expect(place.files("run") == runFiles && place.files("careful") == runFiles)
    #expect(place.files("masks") == ["0.png", "1.png"])
    #expect(place.files("overlays") == ["0.png", "1.png"])
    #expect(Set(place.files("")).isSuperset(of: ["sheet.png", "mask.png", "overlay.png"]))
  }

  /// The block of the page is a file of classes.
  @Test func theFileOfClasses() throws {
    let page = try String(
      contentsOf: Self.root.appending(path: "Documentation/Segmentation.md"), encoding: .utf8)
    let block = try #require(page.firstMatch(of: /(?s)```\n(# numbers.*?)```/)).1
    let place = try Workplace()
    try place.makeScenes("scenes", train: 2, val: 1)
    try place.write("other.txt", Array(block.utf8))
    let check = try place.abn(
      "data", "check", "pairs:scenes", "--class-file", "other.txt", "--ignore-index", "3", "--json")
    #expect(check.status == 0, "\(check.errors)")
    #expect(try check.json()["classNames"] as? [String] == ["road", "traffic light", "sky"])
  }
}
