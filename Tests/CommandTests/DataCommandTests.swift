import ABNImages
import Foundation
import InPlaceABN
import Testing

/// `abn data` and `abn bench data`, on pictures made here.
@Suite struct DataCommandTests {
  let place: Workplace

  init() throws { place = try Workplace() }

  private func picture(_ height: Int, _ width: Int, level: UInt8) -> Picture {
    Picture(size: PictureSize(height: height, width: width), channels: 3) { to in
      for i in to.indices { to[i] = level &+ UInt8(i % 50) }
    }
  }

  private func writePictures() throws {
    for (part, count) in [("train", 4), ("val", 2)] {
      for (number, name) in ["cat", "dog"].enumerated() {
        for i in 0..<count + number {
          let picture = picture(20 + i, 30, level: UInt8(60 * number + i))
          try place.write("pets/\(part)/\(name)/\(i).jpg", picture.encodedJPEG())
        }
      }
    }
    try place.write("pets/train/cat/notes.txt", Array("x".utf8))
  }

  @Test func checkCountsAndNamesBrokenFiles() throws {
    try writePictures()
    let good = try place.abn("data", "check", "folder:pets")
    #expect(good.status == 0 && good.output.contains("train: 9 pictures (9 JPEG)"))
    #expect(good.output.contains("30 x 20 to 30 x 24") && good.output.contains("cat 4, dog 5"))
    #expect(good.output.contains("pets/train/cat/notes.txt"))
    let whole = try picture(40, 40, level: 9).encodedJPEG()
    try place.write("pets/train/dog/9.jpg", Array(whole.dropLast(whole.count / 3)))
    try place.write("pets/val/dog/9.png", [])
    let bad = try place.abn("data", "check", "folder:pets", "--json")
    #expect(bad.status == 1)
    let report = try bad.json()
    let parts = try #require(report["parts"] as? [[String: Any]])
    #expect(parts.map { $0["pictures"] as? Int } == [9, 5])
    let broken = parts.flatMap { $0["broken"] as? [String] ?? [] }
    #expect(broken.count == 2 && broken[0].contains("pets/train/dog/9.jpg"))
    #expect(broken[1].contains("pets/val/dog/9.png\": got an empty file"))
    #expect((report["mean"] as? [Double])?.count == 3)
  }

  @Test func showWritesASheet() throws {
    try writePictures()
    let options = ["--count", "5", "--columns", "3", "--image-size", "16", "--output", "sheet.png"]
    let made = try place.start(["data", "show", "folder:pets"] + options).finish()
    #expect(made.status == 0, "\(made.errors)")
    let sheet = try Picture.read(place.path + "/sheet.png")
    #expect(sheet.size == PictureSize(height: 2 * 18 + 2, width: 3 * 18 + 2))
    let names = made.output.split(whereSeparator: \.isWhitespace)
    #expect(names.count == 5 && names.allSatisfy { ["cat", "dog"].contains($0) })
    // What is there stays, unless it is asked for; another augmentation shows something else.
    let again = try place.start(["data", "show", "folder:pets"] + options).finish()
    #expect(again.status == 1 && again.errorLines.contains { $0.contains("--overwrite") })
    let other = try place.start(
      ["data", "show", "folder:pets", "--augment", "trivial", "--mixup", "0.4", "--overwrite"]
        + options
    ).finish()
    #expect(other.status == 0)
    #expect(try Picture.read(place.path + "/sheet.png") != sheet)
    let held = try place.start(["data", "show", "digits", "--held-out", "--output", "d.png"])
      .finish()
    #expect(held.status == 0 && held.output.hasPrefix("\(Digits.dataset.test.labels[0])  "))
  }

  @Test func mistakesAreOneLine() throws {
    try writePictures()
    for (words, text) in [
      (["check", "floder:pets"], "folder:DIR"), (["check", "folder:none"], "nothing there"),
      (["show", "folder:pets", "--output", "x.png", "--augment", "trivail"], "trivial"),
      (["show", "folder:pets", "--output", "x.png", "--count", "0"], "--count"),
      (["show", "folder:pets", "--output", "x.png", "--mixup", "-1"], "mixup"),
    ] {
      let outcome = try place.start(["data"] + words).finish()
      #expect(outcome.status != 0 && outcome.errorLines.last?.contains(text) == true, "\(words)")
    }
    #expect(!FileManager.default.fileExists(atPath: place.path + "/x.png"))
  }

  @Test func benchCountsPictures() throws {
    try writePictures()
    let outcome = try place.abn(
      "bench", "data", "folder:pets", "--epochs", "2", "--batch-size", "4", "--json")
    let result = try outcome.json()
    #expect(result["pictures"] as? Int == 18)
    #expect((result["picturesPerSecond"] as? Double ?? 0) > 0)
  }
}
