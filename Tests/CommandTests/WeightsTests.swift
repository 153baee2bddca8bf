import Foundation
import InPlaceABN
import Testing

/// `abn weights` and `abn predict` as processes.
@Suite(.serialized) struct WeightsTests {
  private func run(_ place: Workplace, _ text: String) throws -> Outcome {
    try place.start(text.split(separator: " ").map(String.init)).finish()
  }

  private func expectSuccess(_ place: Workplace, _ text: String) throws {
    let outcome = try run(place, text)
    #expect(outcome.status == 0 && outcome.errors.isEmpty, "\(text): \(outcome.errors)")
  }

  private func expectMistake(_ place: Workplace, _ text: String, _ says: String...) throws {
    let outcome = try run(place, text)
    #expect(outcome.status > 0 && outcome.errorLines.count == 1, "\(text): \(outcome.errors)")
    for word in says { #expect(outcome.errors.contains(word), "\(text): \(outcome.errors)") }
  }

  /// Trained weights leave, come back in, and do what they did.
  @Test func outAndIn() throws {
    let place = try Workplace()
    #expect(try place.train("--output", "run").status == 0)
    let trained = try place.abn("eval", "run", "--json").json()
    let (model, _) = try Safetensors.read(path: place.path + "/run/model.safetensors")
    for ending in ["npz", "safetensors"] {
      try expectSuccess(place, "weights export run --output w.\(ending)")
      try expectSuccess(
        place, "weights import w.\(ending) --model mlp --data digits --output back --overwrite")
      #expect(try Safetensors.read(path: place.path + "/back/model.safetensors").tensors == model)
      let back = try place.abn("eval", "back", "--json").json()
      #expect(back["loss"] as? Double == trained["loss"] as? Double)
    }
    // Without data there is nothing to evaluate on, unless it is named.
    try expectSuccess(
      place, "weights import w.npz --model mlp --classes 10 --image-size 8 --output bare")
    try expectMistake(place, "eval bare", "without data", "--data")
    #expect(try place.abn("eval", "bare", "--data", "digits").status == 0)
  }

  /// What pixels are goes with the weights: through files, into a run that begins with them, and on
  /// from its checkpoint.
  @Test func pixelsGoWithTheWeights() throws {
    let place = try Workplace()
    let network = "--model mlp --data digits"
    try expectSuccess(
      place, "weights init --model mlp --classes 10 --image-size 8 --output first --seed 1")
    try expectSuccess(place, "weights export first --output plain.npz")
    try expectSuccess(
      place, "weights import plain.npz \(network) --mean 0.25 --std 0.5 --output net")
    try expectSuccess(place, "weights export net --output w.safetensors")
    try expectSuccess(place, "weights import w.safetensors \(network) --output back")
    let run = "train --model mlp --limit-batches 3 --threads 1"
    let begun = try self.run(place, run + " --epochs 1 --weights w.safetensors --output run")
    #expect(begun.status == 0 && begun.errors.contains("pixels are normalized"), "\(begun.errors)")
    // White is 16 in the digits.
    for folder in ["net", "back", "run"] {
      let file = try ModelFile.read(folder: "\(place.path)/\(folder)")
      #expect(
        file.normalization.mean == [4] && file.normalization.standardDeviation == [8], "\(folder)")
    }
    try FileManager.default.removeItem(atPath: place.path + "/w.safetensors")
    let further = try self.run(place, "train --resume --epochs 2 --output run")
    #expect(further.status == 0, "\(further.errors)")
    let file = try ModelFile.read(folder: "\(place.path)/run")
    #expect(file.normalization.mean == [4] && file.normalization.standardDeviation == [8])
    // Without such weights they are those of the data.
    #expect(try self.run(place, run + " --epochs 1 --output own").status == 0)
    #expect(try ModelFile.read(folder: "\(place.path)/own").normalization.mean != [4])
  }

  @Test func predictsWhatTheNetworkSays() throws {
    let place = try Workplace()
    try expectSuccess(
      place, "weights init --model lenet --classes 4 --image-size 8 --seed 3 --output net")
    let random = CounterRandom(seed: 6, stream: 0)
    let images = Tensor(
      (0..<5 * 64).map { Float(random.uniform(UInt64($0)) - 0.5) }, shape: [5, 1, 8, 8])
    try NPY.write(images, to: place.path + "/x.npy")
    var found: [[Float]] = []
    for flags in ["", " --batch-statistics", " --threads 1"] {
      try expectSuccess(place, "predict net --input x.npy --output y.npy\(flags)")
      let logits = try NPY.read(place.path + "/y.npy")
      #expect(logits.shape == [5, 4] && logits.dtype == .float32)
      found.append(logits.elements(Float.self))
    }
    // The library says the same; statistics of the batch are others than the first moving ones.
    let file = try ModelFile.read(folder: place.path + "/net")
    #expect(try file.logits(of: images, folder: "net").elements(Float.self) == found[0])
    #expect(found[0] != found[1])
    for (a, b) in zip(found[0], found[2]) { #expect(abs(a - b) <= 1e-4) }
  }

  @Test func theSeedDecides() throws {
    let place = try Workplace()
    for (seed, folder) in [(1, "a"), (1, "b"), (2, "c")] {
      try expectSuccess(place, "weights init --model mlp --seed \(seed) --output \(folder)")
    }
    let files = try ["a", "b", "c"].map { try place.data("\($0)/model.safetensors") }
    #expect(files[0] == files[1] && files[0] != files[2])
  }

  @Test func mistakes() throws {
    let place = try Workplace()
    try expectSuccess(place, "weights init --model mlp --output net")
    try expectSuccess(place, "weights export net --output w.npz")
    let images = Tensor([Float](repeating: 0.5, count: 3 * 64), shape: [1, 3, 8, 8])
    try NPY.write(images, to: place.path + "/x.npy")
    let before = place.files("")
    try expectMistake(place, "weights exprot net --output w.npz", "exprot", "Did you mean")
    try expectMistake(place, "weights export nowhere --output a.npz", "nowhere")
    try expectMistake(place, "weights export net --output w.pt", ".pt", ".safetensors or .npz")
    try expectMistake(place, "weights export net --output w", "no ending")
    try expectMistake(place, "weights export net --output a.npz --names trch", "\"torch\"?")
    try expectMistake(place, "weights export net --output a.npz --names torch", "mlp", "resnet50")
    try expectMistake(place, "weights import w.npz --model mpl --output out", "\"mlp\"?")
    try expectMistake(place, "weights import no.npz --model mlp --output out", "no.npz")
    try expectMistake(
      place, "weights import w.npz --model lenet --output out", "w.npz", "no \"conv2d_0.w_0\"")
    try expectMistake(
      place, "weights import w.npz --model mlp --classes 11 --output out", "fc_2.w_0", "--classes")
    try expectMistake(
      place, "weights import w.npz --model mlp --names torch --output out", "torch names", "mlp")
    try expectMistake(
      place, "weights import w.npz --model mlp --mean 0.5,0.5 --std 0.5 --output out", "--mean",
      "1 numbers")
    try expectMistake(
      place, "weights import w.npz --model mlp --mean 0.5 --std 127 --output out", "--std", "255")
    try expectMistake(
      place, "weights import w.npz --model mlp --mean 0.5 --output out", "--std", "together")
    try expectMistake(
      place, "weights import w.npz --model mlp --data digits --classes 10 --output out", "--data")
    try expectMistake(place, "weights init --model mlp --classes 0 --output out", "--classes")
    try expectMistake(place, "weights init --model mlp --image-size 0 --output out", "--image-size")
    try expectMistake(place, "weights init --model mlp --output w.npz", "w.npz")
    try expectMistake(place, "predict net --input x.npy --output y.npy", "[1, 3, 8, 8]")
    try expectMistake(place, "predict net --input w.npz --output y.npy", "w.npz")
    try expectMistake(place, "predict net --input no.npy --output y.npy", "no.npy")
    // A result never takes the place of the model that it is made by, however that was named.
    let model = try place.data("net/model.safetensors")
    for name in ["net", "net/model.safetensors"] {
      try expectMistake(
        place, "predict \(name) --input x.npy --output net/model.safetensors", "model.safetensors")
      try expectMistake(
        place, "weights export \(name) --output net/model.safetensors", "model.safetensors")
    }
    #expect(try place.data("net/model.safetensors") == model)
    #expect(place.files("") == before)
  }
}
