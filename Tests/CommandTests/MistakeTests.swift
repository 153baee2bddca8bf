import CZlib
import Foundation
import Testing

/// Whatever is wrong ends in one line, a status above 0, and nothing under a final name.
@Suite(.serialized) struct MistakeTests {
  struct Mistake: Sendable, CustomTestStringConvertible {
    let arguments: [String]
    let says: [String]
    var testDescription: String { arguments.joined(separator: " ") }

    init(_ text: String, _ says: String...) {
      arguments = text.split(separator: " ").map(String.init)
      self.says = says
    }
  }

  /// Checks the one line; `before` lines of progress may stand above it.
  private func expectOneLine(
    _ run: Outcome, before: Int = 0, says: [String], _ place: SourceLocation = #_sourceLocation
  ) {
    #expect(run.status > 0, sourceLocation: place)
    #expect(run.output.isEmpty, sourceLocation: place)
    #expect(run.errors.hasSuffix("\n"), sourceLocation: place)
    #expect(run.errorLines.count == before + 1, "\(run.errors)", sourceLocation: place)
    let line = run.errorLines.last ?? ""
    #expect(line.hasPrefix("abn: "), "\(run.errors)", sourceLocation: place)
    for word in says { #expect(line.contains(word), "\(line)", sourceLocation: place) }
  }

  @Test(arguments: [
    Mistake("trian", "\"trian\"", "Did you mean \"train\"?"),
    Mistake("train --modle mlp", "--modle", "Did you mean '--model'?"),
    Mistake("train extra", "extra"),
    Mistake("train --model mpl", "\"mpl\"", "Did you mean \"mlp\"?"),
    Mistake("train --model transformer", "mlp, lenet, resnet20"),
    Mistake("train --norm inplce", "Did you mean \"inplace\"?"),
    Mistake("train --activation leaky_rellu", "Did you mean \"leaky_relu\"?"),
    Mistake("train --data digit", "Did you mean \"digits\"?"),
    Mistake("train --data mnist", "mnist:DIR"),
    Mistake("train --epochs 0", "epochs", "at least 1"),
    Mistake("train -epochs 3", "two dashes", "--epochs"),
    Mistake("train -1epochs 3", "two dashes"), Mistake("train -.h", "two dashes"),
    Mistake("train --epochs many", "many"),
    Mistake("train --epochs 9223372036854775807", "epochs", "at most 1000000000"),
    Mistake("train --batch-size 1", "batch size", "at least 2"),
    Mistake("train --batch-size -5", "-5"),
    Mistake("train --batch-size 1438", "1438", "1437"),
    Mistake("train --lr nan", "learning rate", "nan"),
    Mistake("train --lr -0.1", "learning rate", "-0.1"),
    Mistake("train --lr inf", "learning rate", "inf"),
    Mistake("train --momentum 1", "momentum"),
    Mistake("train --weight-decay -1", "weight decay"),
    Mistake("train --seed -1", "-1"),
    Mistake("train --threads 0", "--threads"),
    Mistake("train --threads 1000", "--threads", "1000", "1..."),
    Mistake("models --threads 9223372036854775807", "--threads"),
    Mistake("train -epochs 3", "-epochs", "Did you mean \"--epochs\"?"),
    Mistake("train -epochs=3", "Did you mean \"--epochs\"?"),
    Mistake("train --epochs 1 -help", "Did you mean \"--help\"?"),
    Mistake("eval out -batch-size 3", "Did you mean \"--batch-size\"?"),
    Mistake("-threads 3 models", "-threads"),
    Mistake("-h1", "-h1"),
    Mistake("help trian", "\"trian\"", "Did you mean \"train\"?"),
    Mistake("weights exprot", "\"exprot\"", "Did you mean \"export\"?"),
    Mistake(
      "weights init --model unet --image-size 17 --output out", "17 x 17", "16 x 16", "32 x 32"),
    Mistake("train --model unet", "8 x 8", "16 x 16"),
    Mistake("plan --model unet --image-size 20", "20 x 20", "multiples of 16"),
    Mistake("bench memory --model vgg16 --image-size 31", "31 x 31", "at least 32"),
    Mistake("train --data mnist:nowhere", "nowhere"),
    Mistake("train --data cifar10:nowhere", "nowhere"),
    Mistake("models resnet5", "Did you mean \"resnet50\"?"),
    Mistake("models --norm inplce", "Did you mean \"inplace\"?"),
    Mistake("eval out --batch-size 0", "--batch-size"),
    Mistake("bench memory --image-size 0", "at least 1"),
    Mistake("plan --model resnet2O", "Did you mean \"resnet20\"?"),
    Mistake("plan --optimizer adm", "Did you mean \"adam\"?"),
    Mistake("plan --batch-size 0", "at least 1"),
    Mistake("plan --image-size 9999999", "2^34"),
    Mistake("plan --classes 0", "--classes"),
    Mistake("plan --image 3x", "--image", "\"3x\"", "3x360x480"),
    Mistake("plan --image 3x0x32", "--image", "1...65536"),
    Mistake("bench model --image 32", "--image", "\"32\""),
    Mistake("plan --image 32x32 --image-size 32", "--image beside it"),
    Mistake("plan --model unet --image 3x17x23", "17 x 23", "16 x 16 and 32 x 32"),
    Mistake("bench memory --classes 0", "--classes"),
    Mistake("bench memory --image-size 999999999999", "2^30"),
    Mistake("bench memory --image-size 9000 --batch-size 4", "planned peak", "batch"),
  ])
  func inTheWords(mistake: Mistake) throws {
    let place = try Workplace()
    let isTrain = mistake.arguments.first == "train"
    let run = try place.start(mistake.arguments + (isTrain ? ["--output", "out"] : [])).finish()
    expectOneLine(run, says: mistake.says)
    #expect(place.files("").isEmpty)
  }

  // MARK: Data

  private func idx(_ type: UInt8, _ dimensions: [Int], _ bytes: [UInt8]) -> [UInt8] {
    [0, 0, type, UInt8(dimensions.count)]
      + dimensions.flatMap { size in [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: size >> $0) } }
      + bytes
  }

  /// Pictures whose bytes depend on the class: bytes of no meaning would do as well.
  private func pictures(_ count: Int) -> [UInt8] {
    (0..<count * 784).map { UInt8(truncatingIfNeeded: ($0 &* 2_654_435_761) >> 7 &+ $0 / 784) }
  }

  private func gzipped(_ bytes: [UInt8], _ place: Workplace) throws -> [UInt8] {
    let path = place.path + "/packed.tmp"
    let file = try #require(gzopen(path, "wb"))
    #expect(gzwrite(file, bytes, UInt32(bytes.count)) == Int32(bytes.count))
    #expect(gzclose(file) == Z_OK)
    defer { unlink(path) }
    return try Array(place.data("packed.tmp"))
  }

  /// A folder `mnist` with 40 pictures, one part of it replaced.
  private func makeMNIST(
    _ place: Workplace, images: [UInt8]? = nil, labels: [UInt8]? = nil
  ) throws {
    let count = 40
    let goodImages = try gzipped(idx(8, [count, 28, 28], pictures(count)), place)
    let goodLabels = idx(8, [count], (0..<count).map { UInt8($0 % 10) })
    try place.write("mnist/t10k-images-idx3-ubyte.gz", images ?? goodImages)
    try place.write("mnist/t10k-labels-idx1-ubyte", labels ?? goodLabels)
  }

  private func trainOnMNIST(_ place: Workplace) throws -> Outcome {
    try place.abn(
      "train", "--data", "mnist:mnist", "--model", "mlp", "--epochs", "1", "--batch-size", "8",
      "--output", "out")
  }

  @Test func theFixtureItselfIsSound() throws {
    let place = try Workplace()
    try makeMNIST(place)
    let run = try trainOnMNIST(place)
    #expect(run.status == 0, "\(run.errors)")
    #expect(place.files("out") == runFiles)
  }

  @Test func truncatedGzip() throws {
    let place = try Workplace()
    let whole = try gzipped(idx(8, [40, 28, 28], pictures(40)), place)
    try makeMNIST(place, images: Array(whole.prefix(whole.count / 2)))
    expectOneLine(try trainOnMNIST(place), says: ["t10k-images-idx3-ubyte.gz", "cut off"])
    #expect(place.files("out").isEmpty)
  }

  @Test func wrongMagicNumber() throws {
    let place = try Workplace()
    try makeMNIST(place, labels: [1, 2, 8, 1] + [UInt8](repeating: 0, count: 44))
    expectOneLine(
      try trainOnMNIST(place), says: ["t10k-labels-idx1-ubyte", "byte 0", "no IDX file"])
    #expect(place.files("out").isEmpty)
  }

  @Test func labelOutOfRange() throws {
    let place = try Workplace()
    try makeMNIST(place, labels: idx(8, [40], (0..<40).map { $0 == 17 ? 12 : UInt8($0 % 10) }))
    expectOneLine(
      try trainOnMNIST(place), says: ["t10k-labels-idx1-ubyte", "label 17", "got 12", "0...9"])
    #expect(place.files("out").isEmpty)
  }

  @Test func fewerLabelsThanPictures() throws {
    let place = try Workplace()
    try makeMNIST(place, labels: idx(8, [39], (0..<39).map { UInt8($0 % 10) }))
    expectOneLine(try trainOnMNIST(place), says: ["39 labels", "40"])
    #expect(place.files("out").isEmpty)
  }

  // MARK: Output

  @Test func outputThatCannotBeMade() throws {
    let place = try Workplace()
    try place.write("file", [1])
    for output in ["file", "file/deeper", "/proc", "/proc/abn"] {
      expectOneLine(try place.train("--output", output), says: [output])
    }
    expectOneLine(try place.start(["train", "--output", ""]).finish(), says: ["output"])
    try place.write("out/model.safetensors/x", [1])
    expectOneLine(try place.train("--output", "out"), says: ["out/model.safetensors", "a folder"])
    #expect(place.files("") == ["file", "out"])
  }

  @Test(.enabled(if: geteuid() != 0, "permissions do not bind root"))
  func outputWithoutPermission() throws {
    let place = try Workplace()
    #expect(chmod(place.path, 0o555) == 0)
    for output in [".", "out"] {
      expectOneLine(try place.train("--output", output), says: [output, "Permission denied"])
    }
  }

  @Test func fullDiskLeavesTheOldModel() throws {
    let place = try Workplace()
    #expect(try place.train("--output", "out").status == 0)
    let model = try place.data("out/model.safetensors")
    let summary = try place.data("out/summary.json")
    // 20 blocks, of 512 or 1,024 bytes by the shell; the model has 108,736 bytes.
    let run = try place.train(
      "--seed", "9", "--output", "out", "--overwrite", shell: "ulimit -f 20")
    expectOneLine(run, before: 1, says: ["out/", "cannot be written"])
    // What told of the old run went with its logs.
    let gone = ["best.json", "metrics.json", "profile.json", "report.html"]
    #expect(place.files("out") == runFiles.filter { !gone.contains($0) })
    #expect(try place.data("out/model.safetensors") == model)
    #expect(try place.data("out/summary.json") == summary)
  }

  @Test func fullDiskWithoutAnOldModel() throws {
    let place = try Workplace()
    let run = try place.train("--output", "out", shell: "ulimit -f 20")
    expectOneLine(run, before: 1, says: ["out/", "cannot be written"])
    #expect(place.files("out").isEmpty)
  }

  @Test func resultThatCannotBePrinted() throws {
    let place = try Workplace()
    let run = try place.abn("models", "--no-memory", shell: "exec >/dev/full")
    expectOneLine(run, says: ["standard output"])
  }

  /// Progress that cannot be written ends nothing: the model is what matters.
  @Test(arguments: ["exec 2>/dev/full", "exec 2>&-", "exec <&- 2>&-"])
  func progressThatCannotBeWritten(_ shell: String) throws {
    let place = try Workplace()
    let run = try place.train("--output", "out", shell: shell)
    #expect(run.status == 0 && run.errors.isEmpty)
    #expect(place.files("out") == runFiles)
    #expect(try place.abn("eval", "out").status == 0)
    #expect(try place.abn("nonsense", shell: shell).status > 0)
  }

  /// `ABN_KERNELS` forces a set of kernels, and says so where it cannot.
  @Test func kernelSetsByName() throws {
    let place = try Workplace()
    func run(_ set: String) throws -> Outcome {
      try place.abn(
        "bench", "layer", "--shape", "2x4x4x4", "--json", shell: "export ABN_KERNELS='\(set)'")
    }
    expectOneLine(try run("sse9"), says: ["ABN_KERNELS", "\"sse9\"", "baseline, avx2, avx512"])
    expectOneLine(try run(""), says: ["ABN_KERNELS", "\"\""])
    let forced = try run("baseline")
    #expect(forced.status == 0, "\(forced.errors)")
    #expect(try forced.json()["forwardMilliseconds"] is Double)
  }

  @Test func divergedTrainingSavesNothing() throws {
    let place = try Workplace()
    let run = try place.train("--lr", "1e30", "--output", "out")
    expectOneLine(run, says: ["loss", "finite", "--lr"])
    #expect(place.files("out").isEmpty)
  }

  // MARK: Models

  @Test func evaluationOfWhatIsNoModel() throws {
    let place = try Workplace()
    expectOneLine(try place.abn("eval"), says: ["runs/latest", "Train first"])
    expectOneLine(try place.abn("eval", "nowhere"), says: ["nowhere", "no model.safetensors"])
    try place.write("empty/model.safetensors", [])
    expectOneLine(try place.abn("eval", "empty"), says: ["empty/model.safetensors"])
    let noise = (0..<5000).map { UInt8(truncatingIfNeeded: ($0 &* 2_654_435_761) >> 9) }
    try place.write("noise/model.safetensors", noise)
    expectOneLine(try place.abn("eval", "noise"), says: ["noise/model.safetensors"])
    try place.write("foreign/model.safetensors", [2, 0, 0, 0, 0, 0, 0, 0] + Array("{}".utf8))
    expectOneLine(try place.abn("eval", "foreign"), says: ["foreign/model.safetensors", "format"])
  }

  @Test func evaluationOfADamagedModelOrOnOtherData() throws {
    let place = try Workplace()
    #expect(try place.train("--output", "run").status == 0)
    let model = try Array(place.data("run/model.safetensors"))
    for count in [4, 300, model.count - 1] {
      try place.write("cut/model.safetensors", Array(model.prefix(count)))
      expectOneLine(try place.abn("eval", "cut"), says: ["cut/model.safetensors"])
    }
    // The same length, another network in the metadata.
    let text = String(decoding: model, as: Unicode.ASCII.self)
    for (from, to) in [("\"mlp\"", "\"mlq\""), ("\"1x8x8\"", "\"1x9x9\""), ("\"10\"", "\"11\"")] {
      let place16 = try #require(text.range(of: from))
      let start = text.distance(from: text.startIndex, to: place16.lowerBound)
      var changed = model
      changed.replaceSubrange(start..<start + from.utf8.count, with: to.utf8)
      try place.write("changed/model.safetensors", changed)
      expectOneLine(try place.abn("eval", "changed"), says: [])
    }
    // 3,073 bytes a picture: the label, then 3 x 32 x 32.
    let record = [3] + [UInt8](repeating: 77, count: 3072)
    try place.write("cifar/data_batch_1.bin", record + record)
    try place.write("cifar/test_batch.bin", record)
    expectOneLine(
      try place.abn("eval", "run", "--data", "cifar10:cifar"), says: ["[3, 32, 32]", "[1, 8, 8]"])
    try makeMNIST(place)
    expectOneLine(
      try place.abn("eval", "run", "--data", "mnist:mnist"), says: ["[1, 28, 28]", "[1, 8, 8]"])
  }
}
