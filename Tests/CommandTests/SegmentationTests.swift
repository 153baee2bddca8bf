import ABNImages
import ABNTestSupport
import Foundation
import InPlaceABN
import Testing

/// `abn train`, `eval`, `predict` and `data` with masks.
@Suite(.serialized) struct SegmentationTests {
  private static let small = [
    "--model", "unet-small", "--batch-size", "2", "--threads", "1", "--seed", "3",
  ]

  private func train(
    _ place: Workplace, _ output: String, _ more: [String] = [], epochs: Int = 2
  ) throws -> Outcome {
    try place.start(
      ["train", "--data", "pairs:scenes", "--epochs", "\(epochs)", "--output", output]
        + Self.small + more
    ).finish()
  }

  /// It learns, says what it has learned under its name, and what it has learned can be used.
  @Test func trainsAndEvaluates() throws {
    let place = try Workplace()
    try place.makeScenes("scenes")
    let run = try train(place, "run", ["--crop-size", "48x64", "--lr", "0.1"], epochs: 6)
    #expect(run.status == 0, "\(run.errors)")
    #expect(place.files("run") == runFiles)
    #expect(run.output.contains("held-out mean IoU") && run.errors.contains("meanIoU"))
    let log = String(decoding: try place.data("run/log.csv"), as: UTF8.self)
    #expect(log.contains(",val_loss,val_meanIoU,val_pixelAccuracy,") && !log.contains("nan"))
    let metrics = try object(place.data("run/metrics.json"))
    let iou = try #require(metrics["meanIoU"] as? Double)
    #expect(iou > 0.6, "\(iou)")
    let summary = try object(place.data("run/summary.json"))
    #expect(summary["metric"] as? String == "meanIoU" && summary["accuracy"] as? Double == iou)

    // From another folder, without the options of the training: the model knows its masks.
    let text = try place.abn("eval", place.path + "/run", shell: "cd /")
    #expect(text.status == 0, "\(text.errors)")
    #expect(text.output.contains("boundary F") && text.output.contains("box"))
    let report = try place.abn("eval", "run", "--json").json()
    #expect(report["meanIoU"] as? Double == iou && report["count"] as? Int == 3)
    #expect(report["pixels"] as? Int == 3 * 62 * 96)
    // Averages of views are other numbers, near to these; a window that is never too small is none.
    let whole = try place.abn("eval", "run", "--json", "--window", "64x96").json()
    #expect(whole["meanIoU"] as? Double == iou)
    for view in [
      ["--flip"], ["--window", "48x48", "--overlap", "0.5"], ["--scales", "0.75,1,1.25"],
    ] {
      let other = try place.start(["eval", "run", "--json"] + view).finish().json()
      let found = try #require(other["meanIoU"] as? Double)
      #expect(found != iou && abs(found - iou) < 0.25, "\(view): \(found), \(iou)")
    }
    let runs = try place.abn("runs", "run", "--json").json()
    let first = try #require((runs["runs"] as? [[String: Any]])?.first)
    let best = try #require(first["bestAccuracy"] as? Double)
    #expect(best >= iou)
    try predict(place, iou: iou)
  }

  /// Masks of pictures, whose comparison with the true ones gives the metric again.
  private func predict(_ place: Workplace, iou: Double) throws {
    let one = try place.abn(
      "predict", "run", "scenes/val/0.png", "--output", "mask.png", "--overlay", "seen.png")
    #expect(one.status == 0 && one.output.hasPrefix("scenes/val/0.png: "), "\(one.errors)")
    let stored = try StoredPicture.read(place.path + "/mask.png")
    #expect(stored.palette == [200, 60, 60, 60, 200, 60, 60, 60, 200])
    #expect(stored.picture.size == PictureSize(height: 64, width: 96))
    let (seen, picture) = (
      try Picture.read(place.path + "/seen.png"), try Picture.read(place.path + "/scenes/val/0.png")
    )
    let number = Int(stored.picture.pixels[100 * 33])
    let colour = stored.palette![3 * number]
    #expect(seen.pixels[3 * 3300] == UInt8((Int(picture.pixels[3 * 3300]) + Int(colour) + 1) / 2))
    // What is there stays.
    let again = try place.abn("predict", "run", "scenes/val/0.png", "--output", "mask.png")
    #expect(again.status == 1 && again.errors.contains("--overwrite"))
    let all = try place.abn(
      "predict", "run", "scenes/val", "--output", "masks", "--overlay", "overlays", "--json")
    #expect(all.status == 0, "\(all.errors)")
    #expect(place.files("masks") == ["0.png", "1.png", "2.png"])
    #expect(place.files("overlays") == ["0.png", "1.png", "2.png"])
    let lines = try all.output.split(separator: "\n").map { try object(Data($0.utf8)) }
    let classes = try #require(lines[0]["classes"] as? [[String: Any]])
    #expect(abs(classes.reduce(0) { $0 + ($1["share"] as? Double ?? 0) } - 1) < 1e-9)
    var counts = [[Int]](repeating: [0, 0, 0], count: 3)
    for index in 0..<3 {
      let mask = try StoredPicture.read("\(place.path)/masks/\(index).png").picture
      let truth = try StoredPicture.read("\(place.path)/scenes/valannot/\(index).png").picture
      for (own, found) in zip(truth.pixels, mask.pixels) where own < 3 {
        counts[Int(own)][Int(found)] += 1
      }
    }
    let ious = (0..<3).map { k -> Double in
      let union = counts[k].reduce(0, +) + counts.reduce(0) { $0 + $1[k] } - counts[k][k]
      return Double(counts[k][k]) / Double(union)
    }
    #expect(abs(ious.reduce(0, +) / 3 - iou) < 1e-12)
    // A picture of any size.
    try place.write(
      "odd.jpg",
      picture.cut(
        PictureRegion(top: 3, left: 5, size: PictureSize(height: 17, width: 23))
      ).encodedJPEG())
    let odd = try place.abn("predict", "run", "odd.jpg", "--output", "odd.png")
    #expect(odd.status == 0, "\(odd.errors)")
    #expect(
      try StoredPicture.read(place.path + "/odd.png").picture.size
        == PictureSize(height: 17, width: 23))
  }

  /// A run that was stopped goes on to the same bits, with the options of its settings.
  @Test func goesOnBitForBit() throws {
    let place = try Workplace()
    try place.makeScenes("scenes", train: 4, val: 1)
    let options = [
      "--crop-size", "32", "--scale-range", "0.8,1.4", "--rotate", "8", "--class-weights",
      "median-frequency", "--loss", "cross_entropy+dice", "--color-jitter", "0.2", "--schedule",
      "constant",
    ]
    let whole = try train(place, "whole", options, epochs: 2)
    #expect(whole.status == 0, "\(whole.errors)")
    let first = try train(place, "part", options, epochs: 1)
    #expect(first.status == 0, "\(first.errors)")
    for (option, value, says) in [
      ("rotate", "9", "rotate"), ("loss", "dice", "loss"),
      ("ignore-index", "2", "got ground, sky, box"),
    ] {
      let refused = try place.abn(
        "train", "--resume", "--output", "part", "--epochs", "2", "--\(option)", value)
      #expect(refused.status == 1 && refused.errors.contains(says), "\(refused.errors)")
    }
    let rest = try place.abn("train", "--resume", "--output", "part", "--epochs", "2")
    #expect(rest.status == 0, "\(rest.errors)")
    #expect(
      try place.data("part/model.safetensors") == place.data("whole/model.safetensors"))
    // Four workers prepare the same batches.
    let others = try train(place, "others", options + ["--workers", "4", "--cache", "1MB"])
    #expect(others.status == 0)
    #expect(
      try place.data("others/model.safetensors") == place.data("whole/model.safetensors"))
  }

  /// What is wrong with data is one line with the path, before or at the first step.
  @Test func mistakesAreOneLine() throws {
    let place = try Workplace()
    try place.makeScenes("scenes", train: 4, val: 1)
    func mistake(_ words: [String], _ says: String..., file: StaticString = #filePath) throws {
      let outcome = try place.start(words).finish()
      #expect(outcome.status > 0 && outcome.output.isEmpty, "\(words)")
      #expect(outcome.errorLines.count == 1, "\(outcome.errors)")
      for word in says { #expect(outcome.errors.contains(word), "\(outcome.errors)") }
      #expect(place.files("out").isEmpty, "\(words)")
    }
    func training(_ more: String...) -> [String] {
      ["train", "--data", "pairs:scenes", "--epochs", "1", "--output", "out"] + Self.small + more
    }
    try mistake(training("--crop-size", "0"), "image size", "1...")
    try mistake(training("--crop-size", "3x4x5"), "--crop-size", "360x480")
    try mistake(training("--scale-range", "2,1"), "--scale-range", "0.5,2")
    try mistake(training("--rotate", "-1"), "rotation")
    try mistake(training("--ignore-index", "red"), "--ignore-index")
    try mistake(training("--class-weights", "frequncy"), "Did you mean \"frequency\"?")
    try mistake(training("--loss", "dise"), "Did you mean \"dice\"?")
    try mistake(training("--augment", "trivial"), "--augment basic")
    try mistake(training("--mixup", "0.2"), "mixup")
    try mistake(training("--model", "lenet"), "a class for each pixel", "unet")
    try mistake(training("--aux-head"), "unet-small", "deeplabv3-resnet50")
    try mistake(training("--data", "digits", "--crop-size", "32"), "pairs:DIR")
    try mistake(training("--data", "digits", "--loss", "dice"), "pairs:DIR")
    try mistake(training("--class-file", "none.txt"), "none.txt")
    try mistake(training("--data", "pairs:none"), "\"none\"")

    let good = try place.data("scenes/trainannot/1.png")
    let mask = try StoredPicture.read(place.path + "/scenes/trainannot/1.png").picture
    let name = "scenes/trainannot/1.png"
    func replacing(_ bytes: [UInt8], _ says: String...) throws {
      try place.write(name, bytes)
      let outcome = try place.start(training("--sanity-batches", "0")).finish()
      #expect(outcome.status > 0 && outcome.errorLines.count == 1, "\(outcome.errors)")
      for word in says + [name] { #expect(outcome.errors.contains(word), "\(outcome.errors)") }
      let check = try place.abn("data", "check", "pairs:scenes")
      #expect(check.status == 1 && check.output.contains("1 broken"), "\(check.output)")
    }
    try replacing(
      mask.cut(PictureRegion(top: 0, left: 0, size: PictureSize(height: 63, width: 96)))
        .encodedPNG(), "got 96 x 63 pixels, wanted 96 x 64", "scenes/train/1.png")
    var other = mask
    other.withMutablePixels { $0[97] = 7 }
    try replacing(other.encodedPNG(), "row 1, column 1", "got 7, wanted a class in 0...2")
    try replacing(
      mask.encodedPNG(palette: [60, 200, 60, 200, 60, 60, 60, 60, 200, 0, 0, 0]),
      "got a palette whose number 0 is #3cc83c, wanted #c83c3c, the colour of \"ground\"")
    try replacing(Array("text".utf8), "got text")
    try FileManager.default.removeItem(atPath: "\(place.path)/\(name)")
    try mistake(training(), "scenes/train/1.png\": got no mask")
    try place.write(name, Array(good))
    try place.write("scenes/valannot/9.png", Array(good))
    try mistake(training(), "scenes/valannot/9.png\": got no picture")
    let check = try place.abn("data", "check", "pairs:scenes")
    #expect(check.status == 1 && check.output.contains("1 broken"))
  }

  @Test func dataOfMasks() throws {
    let place = try Workplace()
    try place.makeScenes("scenes", train: 3, val: 1)
    let check = try place.abn("data", "check", "pairs:scenes")
    #expect(check.status == 0 && check.output.contains("pairs:scenes: 3 classes"))
    #expect(check.output.contains("class      box:") && check.output.contains("in 3 pictures"))
    let json = try place.abn("data", "check", "pairs:scenes", "--json").json()
    let part = try #require((json["parts"] as? [[String: Any]])?.first)
    #expect(part["ignoredPixels"] as? Int == 3 * 2 * 96)
    #expect((part["pixelCounts"] as? [Int])?.reduce(0, +) == 3 * 62 * 96)
    let show = try place.abn(
      "data", "show", "pairs:scenes", "--crop-size", "32x40", "--rotate", "20", "--count", "3",
      "--columns", "3", "--output", "sheet.png")
    #expect(show.status == 0 && show.output.hasPrefix("ground #c83c3c  sky "), "\(show.errors)")
    let sheet = try Picture.read(place.path + "/sheet.png")
    #expect(sheet.size == PictureSize(height: 36, width: 3 * 42 + 2))
  }

  /// Options of the other task are refused.
  @Test func optionsOfTheOtherTask() throws {
    let place = try Workplace()
    #expect(try place.train("--output", "net").status == 0)
    for words in [
      ["eval", "net", "--flip"], ["eval", "net", "--ignore-index", "3"],
      ["eval", "net", "--data", "pairs:x"], ["predict", "net", "a.png", "--overlay", "b.png"],
    ] {
      let outcome = try place.start(words).finish()
      #expect(outcome.status == 1 && outcome.errorLines.count == 1, "\(words): \(outcome.errors)")
    }
  }
}
