import ABNTestSupport
import Foundation
import InPlaceABN
import Testing

/// A model that is listed works in every command.
@Suite(.serialized) struct ZooPropertyTests {
  /// In continuous integration those that together have every kind of layer, of parameter and of state, and
  /// few parameters; all of them in `scripts/soak`.
  private static let models =
    soakFactor > 1 ? Model.all : [.lenet, .resnet20, .mobilenetv2]

  private func run(_ place: Workplace, _ text: String) throws -> Outcome {
    try place.start(text.split(separator: " ").map(String.init)).finish(seconds: 600)
  }

  private func expectSuccess(_ place: Workplace, _ text: String) throws {
    let outcome = try run(place, text)
    #expect(outcome.status == 0, "\(text): \(outcome.errors)")
  }

  /// init, export, import and predict: the weights leave and come back, and say the same. Then training on
  /// two photographs, evaluation, and prediction with what came out.
  @Test(arguments: models) func throughEveryCommand(_ model: Model) throws {
    let place = try Workplace()
    let name = model.name
    let size = max(32, model.sizes.least)
    let channels = model.image[0] == 1 ? 1 : 3
    let random = CounterRandom(seed: soakSeed, stream: 0x7A6F)
    let images = Tensor(
      (0..<channels * size * size).map { Float(random.uniform(UInt64($0)) - 0.5) },
      shape: [1, channels, size, size])
    try NPY.write(images, to: place.path + "/x.npy")
    let network = "--model \(name) --image-size \(size) --classes 3"
    try expectSuccess(place, "weights init \(network) --output net")
    try expectSuccess(place, "weights export net --output w.safetensors")
    try expectSuccess(place, "weights import w.safetensors \(network) --output back")
    for folder in ["net", "back"] {
      try expectSuccess(place, "predict \(folder) --input x.npy --output \(folder).npy")
    }
    let logits = try NPY.read(place.path + "/net.npy")
    #expect(logits.shape.dimensions.prefix(2) == [1, 3])
    #expect(try NPY.read(place.path + "/back.npy") == logits)
    if model.torchNames != nil {
      try expectSuccess(place, "weights export net --names torch --output t.safetensors")
      try expectSuccess(
        place, "weights import t.safetensors \(network) --names torch --output torch")
    }
    try expectSuccess(place, "plan --model \(name) --image-size \(size) --batch-size 2")

    try place.makePhotographs("data", train: 2, test: 2)
    let training = "train --model \(name) --data cifar10:data --epochs 1 --batch-size 2"
    if logits.shape.rank == 4 {
      let outcome = try run(place, "\(training) --output trained")
      #expect(outcome.status > 0 && outcome.errors.contains("a class for each pixel"))
      #expect(place.files("trained").isEmpty)
      return
    }
    try expectSuccess(place, "\(training) --output trained")
    try expectSuccess(place, "eval trained")
    let photographs = Tensor([Float](repeating: 0.5, count: 2 * 3072), shape: [2, 3, 32, 32])
    try NPY.write(photographs, to: place.path + "/p.npy")
    for flag in ["", " --batch-statistics"] {
      try expectSuccess(place, "predict trained --input p.npy --output y.npy\(flag)")
    }
    try expectSuccess(place, "weights export trained --output v.npz")
    try expectSuccess(
      place, "weights import v.npz --model \(name) --data cifar10:data --output again")
    try expectSuccess(place, "eval again")
  }

  /// Networks that end in products of all pixels take what comes to as many, with a note, and nothing else.
  @Test(arguments: ["lenet", "mlp"]) func networksOfOneSize(_ name: String) throws {
    let place = try Workplace()
    let made = try place.abn(
      "weights", "init", "--model", name, "--image-size", "28", "--output", "net")
    #expect(made.status == 0, "\(made.errors)")
    let channels = try ModelFile.read(folder: place.path + "/net").image[0]
    var taken = 0
    for (height, width) in [(27, 28), (28, 29), (56, 56), (14, 56), (1, 784), (8, 8), (28, 28)] {
      unlink(place.path + "/y.npy")
      try NPY.write(
        Tensor(zeros: [2, channels, height, width], dtype: .float32), to: place.path + "/x.npy")
      let outcome = try place.abn("predict", "net", "--input", "x.npy", "--output", "y.npy")
      let what = "\(height) x \(width): \(outcome.errors)"
      #expect((outcome.status == 0) == place.files("").contains("y.npy"), "\(what)")
      if (height, width) == (28, 28) {
        #expect(outcome.status == 0 && outcome.errors.isEmpty, "\(what)")
      } else if outcome.status == 0 {
        taken += 1
        #expect(
          outcome.errors
            == "note: images of \(height) x \(width); the model was made for 28 x 28\n")
      } else {
        #expect(outcome.errorLines.count == 1 && outcome.errors.contains("images"), "\(what)")
        #expect(outcome.errors.contains("\(height) x \(width)"), "\(what)")
      }
    }
    #expect(taken < 4, "images of any size are taken")
  }

  /// Images of another size: a note where the network can take them, an error that says what works where not.
  @Test func otherSizes() throws {
    let place = try Workplace()
    try expectSuccess(place, "weights init --model resnet20 --output net")
    func predict(_ height: Int, _ width: Int) throws -> Outcome {
      let images = Tensor(
        [Float](repeating: 0.5, count: 3 * height * width), shape: [1, 3, height, width])
      try NPY.write(images, to: place.path + "/x.npy")
      return try run(place, "predict net --input x.npy --output y.npy")
    }
    #expect(try predict(32, 32).errors.isEmpty)
    for (height, width) in [(32, 40), (24, 32), (17, 23)] {
      let outcome = try predict(height, width)
      #expect(outcome.status == 0, "\(outcome.errors)")
      #expect(
        outcome.errors
          == "note: images of \(height) x \(width); the model was made for 32 x 32\n")
    }
  }
}
