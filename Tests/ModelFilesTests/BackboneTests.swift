import Foundation
import InPlaceABN
import Testing

@testable import ABNModelFiles
@testable import ABNModels

/// Weights of a classifier in the network of a segmentation that is built on it.
@Suite struct BackboneTests {
  private func withFolder<R>(_ body: (String) throws -> R) throws -> R {
    let path = FileManager.default.temporaryDirectory.path + "/abn-backbones-\(UUID().uuidString)"
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: path) }
    return try body(path)
  }

  /// ResNet-50 with few channels: the names are those of the wide one.
  private static let network = ResNet(blocks: [3, 4, 6, 3], width: 4)
  private static let classifier = network.model("resnet50", "")
  private static let backbone = SegmentationBackbone.resNet("resnet50", network)
  private static let options = ModelOptions(classes: 5, norm: .standard, activation: .relu)

  /// Its parameters, each with values of its own.
  private static func values(_ program: Program) -> [String: Tensor] {
    program.parameters.enumerated().reduce(into: [:]) { values, parameter in
      let shape = parameter.element.shape
      values[parameter.element.name] = Tensor(
        (0..<shape.elementCount).map { Float(($0 % 97) + parameter.offset) / 300 }, shape: shape)
    }
  }

  private static func file(_ model: Model) throws -> ModelFile {
    let program = try ClassifierPrograms(model, options: options, image: [3, 32, 32], seed: 0)
      .evaluation
    return ModelFile(
      parameters: values(program), model: model, options: options, image: [3, 32, 32],
      normalization: try .identity(channels: 3), data: nil)
  }

  /// Loads a file into a segmentation's programs. Gives the parameters before and after.
  private func load(
    _ path: String, into model: Model
  ) throws -> (before: [String: Tensor], after: [String: Tensor], report: WeightReport) {
    let programs = try ClassifierPrograms(
      model, options: Self.options, image: [3, 32, 32], seed: 1)
    let scope = Scope()
    for (name, value) in Self.values(programs.training) {
      scope[name] = Tensor(value.elements(Float.self).map { -$0 }, shape: value.shape)
    }
    let before = scope.snapshot()
    let report = try WeightLoading(path).load(
      into: scope, program: programs.training, model: model, options: Self.options)
    return (before, scope.snapshot(), report)
  }

  /// Under the names of PyTorch and of this package; the rest begins afresh.
  @Test(arguments: [WeightNames.torch, .abn], [false, true])
  func classifiersWeights(names: WeightNames, isPlus: Bool) throws {
    let file = try Self.file(Self.classifier)
    let model =
      isPlus
      ? Self.backbone.deepLabV3Plus("plus", "", stride: 16) : Self.backbone.deepLabV3("plain", "")
    try withFolder { folder in
      let path = folder + "/w.safetensors"
      try file.exportWeights(to: path, names: names, folder: "")
      let (before, after, report) = try load(path, into: model)
      // All but the matrix and the bias of the classifier.
      let shared = file.parameters.filter { !$0.key.hasPrefix("fc") }
      #expect(report.backbone == "resnet50" && report.names == names.rawValue)
      #expect(report.matched.count == shared.count && shared.count == 5 * 53)
      #expect(report.missing.isEmpty && report.additional.count == 2)
      #expect(report.table.contains("behind the backbone resnet50"))
      for (name, value) in after {
        #expect(value == (shared[name] ?? before[name]), "\(name)")
      }
    }
  }

  /// A segmentation's own file is read as that, under torchvision's names too.
  @Test func ownWeights() throws {
    let model = Self.backbone.deepLabV3("deeplabv3-resnet50", "")
    let file = try Self.file(model)
    try withFolder { folder in
      for names in WeightNames.written {
        let path = folder + "/\(names.rawValue).safetensors"
        try file.exportWeights(to: path, names: names, folder: "")
        let (_, after, report) = try load(path, into: model)
        #expect(report.backbone == nil && report.matched.count == report.parameters)
        #expect(file.parameters.allSatisfy { after[$0.key] == $0.value })
      }
    }
  }

  /// By the documentation of torchvision's deeplabv3_resnet50, the auxiliary head among them.
  @Test func namesOfTorchvision() throws {
    let model = Model.deeplabv3resnet50
    let builder = ProgramBuilder(seed: 1)
    try builder.build {
      let images = try data("images", shape: [-1, 3, 64, 64])
      _ = try #require(model.auxiliaryHead).build(images, ModelOptions(classes: 21))
    }
    let weights = try NamedWeight.all(of: model, builder.main, .torch)
    #expect(weights.count == builder.main.parameters.count)
    let shapes = Dictionary(uniqueKeysWithValues: weights.map { ($0.name, $0.shape) })
    let wanted: [String: Shape] = [
      "backbone.conv1.weight": [64, 3, 7, 7], "backbone.layer4.2.bn3.running_var": [2048],
      "backbone.layer3.0.downsample.0.weight": [1024, 512, 1, 1],
      "classifier.0.convs.0.0.weight": [256, 2048, 1, 1],
      "classifier.0.convs.3.0.weight": [256, 2048, 3, 3],
      "classifier.0.convs.4.1.weight": [256, 2048, 1, 1],
      "classifier.0.convs.4.2.bias": [256], "classifier.0.project.0.weight": [256, 1280, 1, 1],
      "classifier.1.weight": [256, 256, 3, 3], "classifier.2.running_mean": [256],
      "classifier.4.weight": [21, 256, 1, 1], "classifier.4.bias": [21],
      "aux_classifier.0.weight": [256, 1024, 3, 3], "aux_classifier.1.weight": [256],
      "aux_classifier.4.weight": [21, 256, 1, 1], "aux_classifier.4.bias": [21],
    ]
    for (name, shape) in wanted { #expect(shapes[name] == shape, "\(name)") }
  }

  @Test func anotherClassifier() throws {
    var file = try Self.file(Self.classifier)
    let other = Self.network.model("resnet18", "")
    file = ModelFile(
      parameters: file.parameters, model: other, options: file.options, image: file.image,
      normalization: file.normalization, data: nil)
    try withFolder { folder in
      let path = folder + "/w.safetensors"
      try file.exportWeights(to: path, names: .abn, folder: "")
      let error = #expect(throws: ABNError.self) {
        try load(path, into: Self.backbone.deepLabV3("plain", ""))
      }
      for word in ["a resnet18", "a plain, or of a resnet50", path] {
        #expect(error?.description.contains(word) == true, "\(String(describing: error))")
      }
    }
  }

  /// Every backbone is a model, its layers are the first of the model's, and the two programs agree on
  /// them.
  @Test(arguments: Model.all.filter { $0.backbone != nil })
  func backbonesAreModels(_ model: Model) throws {
    let backbone = try #require(model.backbone)
    let classifier = try #require(backbone.model)
    func layers(_ model: Model) throws -> [[Shape]] {
      let builder = ProgramBuilder(seed: 1)
      try builder.build {
        let images = try data("images", shape: [-1, 3, 64, 64])
        _ = try model.build(images, ModelOptions(classes: 7))
      }
      return WeightNaming.layers(of: builder.main.parameters).map { $0.map(\.shape) }
    }
    let (own, other) = (try layers(model), try layers(classifier))
    #expect(other.count == backbone.layerCount + 1)
    #expect(own.prefix(backbone.layerCount) == other.prefix(backbone.layerCount))
  }
}
