import ABNImages
import ABNTestSupport
import Foundation
import InPlaceABN
import Testing

/// `abn predict` on pictures, `abn eval` class by class, and weights that others published.
@Suite(.serialized) struct PredictTests {
  /// Eight pictures of two classes, grey noise on green and on blue.
  private func makePictures(_ place: Workplace) throws {
    for (split, count) in [("train", 3), ("val", 1)] {
      for (number, name) in ["ant", "bee"].enumerated() {
        for index in 0..<count {
          let random = CounterRandom(seed: UInt64(number), stream: UInt64(index))
          let bytes = (0..<40 * 48 * 3).map { place -> UInt8 in
            let noise = UInt8(random.uniform(UInt64(place)) * 60)
            return place % 3 == number + 1 ? 190 + noise : noise
          }
          let picture = Picture(
            size: PictureSize(height: 40, width: 48), channels: 3, bytes: bytes)
          try place.write("pics/\(split)/\(name)/\(index).png", picture.encodedPNG())
        }
      }
    }
  }

  private func madeModel(_ place: Workplace) throws {
    try makePictures(place)
    let made = try place.abn(
      "weights", "init", "--model", "resnet20", "--data", "folder:pics", "--seed", "2", "--output",
      "net")
    #expect(made.status == 0, "\(made.errors)")
  }

  @Test func namesOfClasses() throws {
    let place = try Workplace()
    try madeModel(place)
    let (_, metadata) = try Safetensors.read(path: place.path + "/net/model.safetensors")
    #expect(metadata["class_names"] == #"["ant","bee"]"# && metadata["resize"] == "256")
    let pictures = ["pics/val/ant/0.png", "pics/val/bee/0.png"]
    let text = try place.start(["predict", "net"] + pictures).finish()
    #expect(text.status == 0 && text.errors.isEmpty, "\(text.errors)")
    let lines = text.output.split(separator: "\n")
    #expect(lines.count == 2)
    for (line, picture) in zip(lines, pictures) {
      #expect(line.hasPrefix(picture + ": ") && line.contains("ant ") && line.contains("bee "))
    }
    let json = try place.start(["predict", "net", "--json", "--top", "1"] + pictures).finish()
    let objects = try json.output.split(separator: "\n").map { try object(Data($0.utf8)) }
    #expect(objects.map { $0["path"] as? String } == pictures)
    for (line, found) in zip(lines, objects) {
      let guesses = try #require(found["guesses"] as? [[String: Any]])
      #expect(guesses.count == 1)
      let name = try #require(guesses[0]["name"] as? String)
      let probability = try #require(guesses[0]["probability"] as? Double)
      #expect((0.5...1).contains(probability))
      #expect(line.contains(": \(name) \(String(format: "%.1f", probability * 100)) %"))
    }
    // As evaluation sees them: the share that is right.
    let right = zip(objects, ["ant", "bee"]).count { found, name in
      (found["guesses"] as? [[String: Any]])?.first?["name"] as? String == name
    }
    let report = try place.abn("eval", "net", "--json").json()
    #expect(report["accuracy"] as? Double == Double(right) / 2)
    #expect(
      (report["classes"] as? [[String: Any]])?.map { $0["name"] as? String } == ["ant", "bee"])
    #expect((report["confusion"] as? [[Int]])?.flatMap { $0 }.reduce(0, +) == 2)
    // The same of a folder of pictures, and of the model's file.
    let folder = try place.abn("predict", "net/model.safetensors", "pics/val")
    #expect(folder.status == 0 && folder.output == text.output, "\(folder.errors)")
    let file = try place.abn("eval", "net/model.safetensors", "--json").json()
    #expect(file["loss"] as? Double == report["loss"] as? Double)
    try place.write("none/readme.txt", [65])
    let none = try place.abn("predict", "net", "none")
    #expect(none.status == 1 && none.errors.contains("\"none\""), "\(none.errors)")
    // From another folder: the data are found all the same.
    let elsewhere = try place.abn("eval", place.path + "/net", "--json", shell: "cd /")
    #expect(elsewhere.status == 0)
    #expect(try elsewhere.json()["loss"] as? Double == report["loss"] as? Double)
    let table = try place.abn("eval", "net").output
    #expect(table.hasPrefix("accuracy ") && table.contains("precision") && table.contains("bee"))
  }

  @Test func mistakes() throws {
    let place = try Workplace()
    try madeModel(place)
    try place.write("text.jpg", Array("no picture".utf8))
    try place.write("empty.png", [])
    func mistake(_ arguments: String..., says: String...) throws {
      let outcome = try place.start(arguments).finish()
      #expect(outcome.status > 0 && outcome.errorLines.count == 1, "\(outcome.errors)")
      for word in says { #expect(outcome.errors.contains(word), "\(outcome.errors)") }
    }
    try mistake("predict", "net", "text.jpg", says: "text.jpg")
    try mistake("predict", "net", "empty.png", says: "empty.png")
    try mistake("predict", "net", "none.png", says: "none.png")
    try mistake("predict", "net", says: "pictures")
    try mistake("predict", "net", "pics/val/ant/0.png", "--top", "0", says: "--top")
    try mistake("predict", "net", "a.png", "--input", "x.npy", says: "--input")
    let mixed = try place.abn("predict", "net", "text.jpg", "pics/val/ant/0.png", "--skip-broken")
    #expect(mixed.status == 0 && mixed.output.contains("pics/val/ant/0.png"))
    #expect(mixed.errorLines.count == 1 && mixed.errors.contains("text.jpg"))
    // Folders that are called otherwise are other classes.
    try FileManager.default.moveItem(
      atPath: place.path + "/pics/val/bee", toPath: place.path + "/pics/val/cow")
    try FileManager.default.moveItem(
      atPath: place.path + "/pics/train/bee", toPath: place.path + "/pics/train/cow")
    try mistake("eval", "net", says: "cow", "bee")
  }

  /// The import in the documentation, of published weights and the pictures they are known on.
  @Test(.enabled(if: Shared.has("data/weights/resnet20-cifar10.th") && Shared.has("data/cifar10")))
  func publishedWeights() throws {
    let place = try Workplace()
    let file = Shared.path("data/weights/resnet20-cifar10.th")
    let arguments = [
      "weights", "import", file, "--model", "cifar-resnet20", "--norm", "standard", "--mean",
      "0.485,0.456,0.406", "--std", "0.229,0.224,0.225", "--data",
      "cifar10:" + Shared.path("data/cifar10"), "--output", "model",
    ]
    // Its names are those of networks with relu.
    let refused = try place.start(arguments).finish()
    #expect(refused.status > 0 && refused.errors.contains("--activation relu"))
    #expect(place.files("").isEmpty)
    let imported = try place.start(arguments + ["--activation", "relu", "--json"]).finish()
    let report = try imported.json()
    #expect((report["matched"] as? [String])?.count == 97)
    #expect(report["prefix"] as? String == "state_dict.module.")
    #expect(report["format"] as? String == "torch-legacy")
    let result = try place.abn("eval", "model", "--json").json()
    // What PyTorch 2.15 gets right of the 5,000.
    let right = try #require(result["accuracy"] as? Double) * 5000
    #expect(abs(right - 4084) <= 2, "\(right)")
    #expect(try #require(result["top5"] as? Double) > 0.98)
  }

  /// Damaged, cut off, or another network's: a line each.
  @Test func damagedWeights() throws {
    let place = try Workplace()
    let tensors = ["conv1.weight": Tensor((0..<432).map { Float($0) }, shape: [16, 3, 3, 3])]
    let whole = TorchFile.zip(.dictionary([("state_dict", TorchFile.state(tensors))]))
    try place.write("other.pth", whole)
    try place.write("cut.pth", Array(whole.dropLast(100)))
    try place.write("legacy.pth", Array(TorchFile.legacy(TorchFile.state(tensors)).dropLast(100)))
    var flipped = whole
    flipped[1500] ^= 1
    try place.write("flipped.pth", flipped)
    try place.write("text.pth", Array("<html>404</html>".utf8))
    for (name, says) in [
      ("other.pth", "bn1.weight"), ("cut.pth", "cut off"), ("legacy.pth", "cut off"),
      ("flipped.pth", "flipped.pth"), ("text.pth", "web page"), ("none.pth", "none.pth"),
    ] {
      let outcome = try place.abn(
        "weights", "import", name, "--model", "cifar-resnet20", "--output", "out")
      #expect(outcome.status > 0 && outcome.errorLines.count == 1, "\(outcome.errors)")
      #expect(outcome.errors.contains(name) && outcome.errors.contains(says), "\(outcome.errors)")
    }
    #expect(!place.files("").contains("out"))
  }
}
