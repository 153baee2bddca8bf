import ABNTestSupport
import Foundation
import InPlaceABN
import Testing

@testable import ABNModelFiles

/// A model and its summary, whose numbers say which belong together.
private struct Saved {
  let folder: String

  static func model(_ number: UInt64) throws -> ModelFile {
    let values = [Float](repeating: Float(number), count: 20_000)
    return ModelFile(
      parameters: ["w": Tensor(values), "b": Tensor([Float(number)])], model: .mlp,
      options: ModelOptions(classes: 10), image: [1, 8, 8],
      normalization: try .identity(channels: 1), data: "digits")
  }

  func save(_ number: UInt64) throws {
    let file = try Self.model(number)
    try file.write(
      toFolder: folder,
      summary: TrainingSummary(
        accuracy: 0.5, loss: 1, seconds: 2, imagesPerSecond: 3, plannedPeakBytes: 4,
        plannedStepBytes: 5, measuredPeakBytes: 6, baseBytes: 7, seed: number, interrupted: false,
        epochsDone: 8, modelPath: folder + "/" + ModelFile.name, modelChecksum: file.checksum,
        settings: [:]))
  }

  /// The number that both files say, nil where both are absent.
  func number() throws -> UInt64? {
    if !ModelFile.isThere(inFolder: folder) { return nil }
    let summary = try TrainingSummary.read(folder: folder)
    let values = try ModelFile.read(folder: folder).parameters["w"]!.elements(Float.self)
    #expect(values.allSatisfy { $0 == Float(summary.seed) })
    return summary.seed
  }

  var entries: [String] {
    ((try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []).sorted()
  }

  /// Where a child process finds the folder: in a file that is named after its parent.
  static func order(of process: pid_t) -> String {
    FileManager.default.temporaryDirectory.path + "/abn-save-\(process)"
  }
}

@Suite(.serialized) struct ModelFilePropertyTests {
  private func withFolder<R>(_ body: (String) async throws -> R) async throws -> R {
    let path = FileManager.default.temporaryDirectory.path + "/abn-save-\(UUID().uuidString)"
    defer { try? FileManager.default.removeItem(atPath: path) }
    return try await body(path)
  }

  /// Processes that save one model after the other are killed at any moment: model and summary
  /// belong together, and the next run leaves nothing else in the folder.
  @Test func modelAndSummaryAgreeAfterAKill() async throws {
    try await withFolder { folder in
      let saved = Saved(folder: folder)
      let order = Saved.order(of: getpid())
      defer { try? FileManager.default.removeItem(atPath: order) }
      var numbers: Set<UInt64> = []
      for round in 0..<10 * soakFactor {
        let seed = soakSeed &+ UInt64(round)
        try AtomicFile.write("\(seed)\n\(folder)", to: order)
        await #expect(processExitsWith: .signal(SIGKILL)) {
          let order = try String(contentsOfFile: Saved.order(of: getppid()), encoding: .utf8)
            .split(separator: "\n", maxSplits: 1)
          let seed = try #require(UInt64(order[0]))
          let saved = Saved(folder: String(order[1]))
          let random = CounterRandom(seed: seed, stream: 0x4b11)
          let microseconds = 3000 + UInt32(120_000 * random.uniform(0))
          Thread.detachNewThread {
            usleep(microseconds)
            kill(getpid(), SIGKILL)
          }
          for number in 0... { try saved.save(seed &* 1000 &+ UInt64(number)) }
        }
        if let number = try saved.number() { numbers.insert(number) }
        if FileManager.default.fileExists(atPath: folder) {
          try ModelFile.prepare(folder: folder)
          #expect([[], ["model.safetensors", "summary.json"]].contains(saved.entries), "\(seed)")
          if let number = try saved.number() { #expect(numbers.contains(number), "\(seed)") }
        }
      }
      #expect(numbers.count > 1, "nothing was ever saved")
      print("kills: \(10 * soakFactor), different models left: \(numbers.count)")
    }
  }

  /// A damaged model, one of a newer version, and one of version 1, which has no checksum.
  @Test func damageAndVersionsAreNamed() async throws {
    try await withFolder { folder in
      let saved = Saved(folder: folder)
      try saved.save(5)
      #expect(try saved.number() == 5)
      let path = folder + "/" + ModelFile.name
      let bytes = [UInt8](try Data(contentsOf: URL(filePath: path)))
      for number in 0..<40 * soakFactor {
        let random = CounterRandom(seed: soakSeed &+ UInt64(number), stream: 0xb17)
        // Half of them in the header, which is small.
        let range = number % 2 == 0 ? 600 : bytes.count
        var copy = bytes
        copy[Int(random.uniform(0) * Double(range))] ^= 1 << UInt8(random.uniform(1) * 8)
        try AtomicFile.write(copy, to: path)
        do {
          #expect(try ModelFile.read(folder: folder).parameters == Saved.model(5).parameters)
          #expect(try ModelFile.read(folder: folder).metadata == Saved.model(5).metadata)
        } catch {
          #expect(error is ABNError, "\(error)")
        }
      }
      func rewrite(_ change: (inout [String: String]) -> Void) throws {
        try AtomicFile.write(bytes, to: path)
        var (tensors, metadata) = try Safetensors.read(path: path)
        change(&metadata)
        tensors["b"] = Tensor([9 as Float])
        try Safetensors.write(tensors, metadata: metadata, to: path)
      }
      func error() -> ABNError? {
        #expect(throws: ABNError.self) { _ = try ModelFile.read(folder: folder) }
      }
      try rewrite { $0[Safetensors.checksumKey] = nil }
      #expect(error()?.got.contains("checksum") == true)
      try rewrite { $0["format"] = "swift-inplace-abn model 3.0" }
      #expect(error()?.category == .unsupported)
      // Before its checksum, which a newer version may count otherwise.
      try rewrite {
        $0["format"] = "swift-inplace-abn model 3.0"
        $0[Safetensors.checksumKey] = "0000"
      }
      var text = try #require(
        String(data: Data(contentsOf: URL(filePath: path)), encoding: .isoLatin1))
      text.replace("model 3.0", with: "model 4.0")
      try AtomicFile.write([UInt8](#require(text.data(using: .isoLatin1))), to: path)
      #expect(error()?.category == .unsupported)
      #expect(error()?.got.contains("4.0") == true)
      try rewrite { $0["format"] = "swift-inplace-abn checkpoint 1.0" }
      #expect(error()?.got.contains("checkpoint") == true)
      try rewrite {
        $0["format"] = "swift-inplace-abn model 1"
        $0[Safetensors.checksumKey] = nil
      }
      #expect(try ModelFile.read(folder: folder).parameters["b"]?.doubles == [9])
      let other = #expect(throws: ABNError.self) { _ = try TrainingSummary.read(folder: folder) }
      #expect(other?.wanted.contains("none") == true)
    }
  }

  /// A model that comes without a summary takes that of the model before it away.
  @Test func aSummaryGoesWithItsModel() async throws {
    try await withFolder { folder in
      try Saved(folder: folder).save(1)
      try Saved.model(2).write(toFolder: folder)
      #expect(Saved(folder: folder).entries == ["model.safetensors"])
      // What the user keeps there stays, also what looks like a probe, or leads to one.
      try AtomicFile.write("mine", to: folder + "/kept")
      try FileManager.default.createSymbolicLink(
        atPath: folder + "/.writable", withDestinationPath: folder + "/kept")
      try Saved(folder: folder).save(3)
      #expect(try Saved(folder: folder).number() == 3)
      #expect(try String(contentsOfFile: folder + "/kept", encoding: .utf8) == "mine")
      #expect(Saved(folder: folder).entries.contains(".writable"))
    }
  }

  /// Found before the first step, with the file's name; nothing is changed.
  @Test func whatCannotBeReplacedIsFoundBefore() async throws {
    try await withFolder { folder in
      var settings = TrainingSettings(data: .digits, model: .mlp, output: folder + "/run")
      settings.epochs = 1
      for name in [ModelFile.name, "summary.json"] {
        for make in [
          { mkfifo($0, 0o666) }, { mkdir($0, 0o777) }, { symlink("/dev/null", $0) },
        ] as [(String) -> Int32] {
          try Folder.make(settings.output)
          let path = settings.output + "/" + name
          #expect(make(path) == 0)
          var steps = 0
          let error = #expect(throws: ABNError.self) {
            try Trainer(settings) { _ in steps += 1 }.run()
          }
          #expect(error?.description.contains(name) == true && steps == 0)
          try FileManager.default.removeItem(atPath: settings.output)
        }
      }
    }
  }

  @Test func sixteenBitWeightsAreImported() async throws {
    try await withFolder { folder in
      let model = WeightTests.narrow
      let file = try WeightTests.random(.inplace)
      try Folder.make(folder)
      let path = folder + "/w.safetensors"
      for (dtype, ending) in [
        (DType.float16, "npz"), (.float16, "safetensors"), (.bfloat16, "safetensors"),
      ] {
        try file.exportWeights(to: path, names: .torch, folder: "")
        let tensors = try Safetensors.read(path: path).tensors.mapValues { $0.cast(to: dtype) }
        let half = folder + "/half." + ending
        if ending == "npz" {
          try NPZ.write(tensors, to: half)
        } else {
          try Safetensors.write(tensors, to: half)
        }
        var loading = WeightLoading(half)
        loading.allowsOtherActivation = true
        let (back, report) = try file.again(loading)
        #expect(report.widened.count == report.parameters && report.widened[0].from == "\(dtype)")
        for (name, value) in file.parameters {
          #expect(back.parameters[name] == value.cast(to: dtype).cast(to: .float32), "\(name)")
        }
      }
    }
  }

  /// Into a program of float32, from values and from files; what would lose digits is refused.
  @Test func sixteenBitValuesFitAProgram() async throws {
    try await withFolder { folder in
      let builder = ProgramBuilder(seed: 1)
      _ = try builder.build { try fc(data("x", shape: [2, 3]), size: 4) }
      let names = builder.main.parameters.map(\.name)
      let half = Dictionary(
        uniqueKeysWithValues: builder.main.parameters.map {
          ($0.name, Tensor((0..<$0.shape.elementCount).map { Float16($0) / 8 }, shape: $0.shape))
        })
      for dtype in [DType.float16, .bfloat16] {
        let scope = Scope()
        let values = half.mapValues { $0.cast(to: dtype) }
        #expect(try setProgramState(builder.main, scope, to: values).isEmpty)
        for name in names {
          #expect(scope[name] == values[name]!.cast(to: .float32), "\(name)")
        }
      }
      try PaddleParameters.writeDirectory(half, to: folder)
      let scope = Scope()
      try loadParams(builder.main, scope, from: folder)
      for name in names { #expect(scope[name] == half[name]!.cast(to: .float32), "\(name)") }
      #expect(throws: ABNError.self) {
        try setProgramState(builder.main, scope, to: half.mapValues { $0.cast(to: .float64) })
      }
    }
  }
}
