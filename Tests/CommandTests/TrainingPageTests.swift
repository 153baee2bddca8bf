import ABNImages
import Foundation
import InPlaceABN
import Testing

/// The commands of Documentation/Training.md, on pictures that are made here.
@Suite(.serialized) struct TrainingPageTests {
  /// What makes the commands short; later options win.
  private static let short = [
    "--image-size", "32", "--epochs", "1", "--batch-size", "4", "--threads", "1",
  ]
  private static let root = URL(filePath: #filePath).deletingLastPathComponent()
    .deletingLastPathComponent().deletingLastPathComponent()

  private func makePhotographs(_ place: Workplace) throws {
    let random = CounterRandom(seed: 11, stream: 1)
    for (part, count) in [("train", 10), ("val", 3)] {
      for (number, name) in ["cat", "dog"].enumerated() {
        for index in 0..<count {
          let base = UInt64(1000 * number + index + (part == "val" ? 500 : 0)) << 16
          let bytes = (0..<40 * 48 * 3).map { i -> UInt8 in
            let word: UInt32 = random.bits(base + UInt64(i))
            return UInt8(truncatingIfNeeded: word >> 24) / 2 + UInt8(number * 90)
          }
          let picture = Picture(
            size: PictureSize(height: 40, width: 48), channels: 3, bytes: bytes)
          try place.write("photos/\(part)/\(name)/\(index).png", picture.encodedPNG())
        }
      }
    }
    try place.write(
      "recipes/digits.yaml",
      [UInt8](Data(contentsOf: Self.root.appending(path: "recipes/digits.yaml"))))
  }

  /// The lines of all blocks of `sh`, those that end in a backslash joined with the next.
  private func commands() throws -> [[String]] {
    let page = try String(
      contentsOf: Self.root.appending(path: "Documentation/Training.md"), encoding: .utf8)
    return page.matches(of: /(?s)```sh\n(.*?)```/).flatMap { match in
      match.1.replacing("\\\n", with: " ").split(separator: "\n")
        .map { $0.split(separator: " ").map(String.init) }
    }
  }

  @Test func everyCommandRuns() throws {
    let place = try Workplace()
    try makePhotographs(place)
    let commands = try commands()
    #expect(commands.count > 12)
    for var words in commands {
      #expect(words.removeFirst() == "abn")
      let line = words.joined(separator: " ")
      if words.first == "train", !words.contains("--resume") {
        let isAutomatic = words.contains("auto")
        let warmsUp = words.contains("--warmup-epochs")
        words += Self.short
        if isAutomatic { words += ["--batch-size", "auto"] }
        if warmsUp { words += ["--warmup-epochs", "0.5"] }
        // A search needs its hundred rates; a digit has 8 x 8 pixels.
        if line.contains("recipes/digits") { words += ["--image-size", "8"] }
      }
      let outcome = try place.start(words).finish()
      #expect(outcome.status == 0, "\(line): \(outcome.errors)")
    }
    #expect(place.files("run") == runFiles)
    #expect(place.files("find") == ["lr-find.svg"])
    #expect(place.files("").contains("sheet.png"))
  }
}
