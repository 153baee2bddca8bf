import Foundation
import InPlaceABN
import Testing

@testable import ABNModelFiles

/// Class names and the rule for pictures in a model's file; older files have neither.
@Suite struct ModelFileRuleTests {
  private func withFolder<R>(_ body: (String) throws -> R) throws -> R {
    let path = FileManager.default.temporaryDirectory.path + "/abn-rule-\(UUID().uuidString)"
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: path) }
    return try body(path)
  }

  private func model() throws -> ModelFile {
    var file = try WeightTests.random(.inplace, .resnet20, classes: 3)
    file.classNames = ["ant", "b\"e\"e", "Käfer\n"]
    file.resize = 40
    file.white = 16
    file.normalization = try ChannelNormalization(
      mean: [1, 2, 3], standardDeviation: [4, 5, 6])
    return file
  }

  @Test func comeBack() throws {
    let file = try model()
    try withFolder { folder in
      try file.write(toFolder: folder)
      let back = try ModelFile.read(folder: folder)
      #expect(back.classNames == file.classNames && back.resize == 40 && back.white == 16)
      #expect(back.rule == file.rule && back.parameters == file.parameters)
      #expect(back.rule.shape == [3, 32, 32] && back.rule.mean == [1, 2, 3])
      #expect(back.className(1) == "b\"e\"e" && back.className(5) == "5")
    }
  }

  /// What older versions wrote, and what nobody wrote.
  @Test func olderAndWrongFiles() throws {
    let file = try model()
    try withFolder { folder in
      let path = folder + "/" + ModelFile.name
      func written(_ change: (inout [String: String]) -> Void) throws -> ModelFile {
        var metadata = file.metadata
        change(&metadata)
        try Safetensors.write(file.parameters, metadata: metadata, to: path)
        return try ModelFile.read(folder: folder)
      }
      let older = try written {
        for key in ["class_names", "resize", "white"] { $0[key] = nil }
        $0["format"] = "swift-inplace-abn model 2.0"
      }
      #expect(older.classNames.isEmpty && older.resize == nil && older.white == 255)
      #expect(older.className(2) == "2")
      for (key, value) in [
        ("class_names", "[\"a\"]"), ("class_names", "a, b, c"), ("class_names", "[1, 2, 3]"),
        ("resize", "0"), ("resize", "x"), ("white", "-1"), ("white", "inf"),
      ] {
        let error = #expect(throws: ABNError.self) { try written { $0[key] = value } }
        #expect(error?.category == .file && error?.got.contains(key) == true, "\(key) \(value)")
      }
      // The middle of 32 x 32 does not fit into pictures of 20.
      let small = #expect(throws: ABNError.self) { try written { $0["resize"] = "20" } }
      #expect(small?.got == "20")
    }
  }

  /// What the data say goes into the file.
  @Test func ofData() throws {
    let dataset = try DataSource.digits.load()
    let file = ModelFile(
      parameters: [:], model: .mlp, options: ModelOptions(classes: 10), image: [1, 8, 8],
      normalization: dataset.normalization, data: "digits", dataset: dataset)
    #expect(file.classNames == dataset.classNames && file.white == 16 && file.resize == nil)
    #expect(file.rule == dataset.rule)
  }
}
