import Foundation
import InPlaceABN
import Testing

@testable import ABNModelFiles
@testable import ABNModels

extension ModelFile {
  /// The same network with the weights of a file.
  func again(_ loading: WeightLoading) throws -> (file: ModelFile, report: WeightReport) {
    try ModelFile.imported(loading, model: model, options: options, image: image)
  }
}

/// Weights out of a model and into one, bit by bit, under the program's names and torchvision's.
@Suite struct WeightTests {
  private func withFolder<R>(_ body: (String) throws -> R) throws -> R {
    let path = FileManager.default.temporaryDirectory.path + "/abn-weights-\(UUID().uuidString)"
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: path) }
    return try body(path)
  }

  /// 50 layers and torchvision's names, an eighth of the width.
  static let narrow = ResNet(blocks: [3, 4, 6, 3], width: 8).model("narrow", "")
  static let image: Shape = [3, 32, 32]

  /// Random values, statistics too: first values would be 0 and 1 in many places.
  static func random(_ norm: NormStyle, _ model: Model = narrow, classes: Int = 7) throws
    -> ModelFile
  {
    let options = ModelOptions(classes: classes, norm: norm)
    let program = try ClassifierPrograms(model, options: options, image: image, seed: 0).evaluation
    let random = CounterRandom(seed: 4, stream: 1)
    var next: UInt64 = 0
    var parameters: [String: Tensor] = [:]
    for variable in program.parameters {
      let isConvolution = variable.shape.rank == 4
      let values = (0..<variable.shape.elementCount).map { _ -> Float in
        next += 1
        let value = Float(random.uniform(next))
        return isConvolution ? (value - 0.5) * 0.2 : 0.5 + value
      }
      parameters[variable.name] = Tensor(values, shape: variable.shape)
    }
    return ModelFile(
      parameters: parameters, model: model, options: options, image: image,
      normalization: try .identity(channels: 3), data: nil)
  }

  /// With the names told and not; of a file that says nothing of the activation, the names do.
  @Test(arguments: WeightNames.written, NormStyle.allCases)
  func roundTripIsExact(names: WeightNames, norm: NormStyle) throws {
    let file = try Self.random(norm)
    try withFolder { folder in
      for ending in ["safetensors", "npz"] {
        let path = "\(folder)/weights.\(ending)"
        try file.exportWeights(to: path, names: names, folder: "")
        var loading = WeightLoading(path)
        loading.allowsOtherActivation = ending == "npz"
        for told in [nil, names] {
          loading.names = told
          let (back, report) = try file.again(loading)
          #expect(back.parameters == file.parameters)
          #expect(report.matched.count == report.parameters && report.names == names.rawValue)
        }
      }
    }
  }

  /// The two styles are the same network: weights move between them, and the logits stay.
  @Test(arguments: [NormalizationStatistics.moving, .batch])
  func stylesExchangeWeights(statistics: NormalizationStatistics) throws {
    let inPlace = try Self.random(.inplace)
    let random = CounterRandom(seed: 8, stream: 2)
    let images = Tensor(
      (0..<4 * 3 * 32 * 32).map { Float(random.uniform(UInt64($0)) * 2 - 1) },
      shape: [4, 3, 32, 32])
    try withFolder { folder in
      let path = folder + "/weights.safetensors"
      try inPlace.exportWeights(to: path, names: .torch, folder: "")
      var options = inPlace.options
      options.norm = .standard
      let standard = try ModelFile.imported(
        WeightLoading(path), model: inPlace.model, options: options, image: Self.image
      ).file
      let before = inPlace.parameters
      let found = try [inPlace, standard].map {
        try $0.logits(of: images, statistics: statistics, folder: "").doubles
      }
      #expect(found[0].count == 4 * 7 && found[0].allSatisfy(\.isFinite))
      #expect(Set(found[0].map { ($0 * 1e3).rounded() }).count > 4, "images differ")
      let size = found[0].map(abs).max()!
      for (a, b) in zip(found[0], found[1]) { #expect(abs(a - b) <= 1e-4 * size, "\(a), \(b)") }
      #expect(inPlace.parameters == before)
    }
  }

  /// Names and shapes as in torchvision: 161 trained tensors and 2 statistics for 53 normalizations.
  @Test(arguments: NormStyle.allCases) func torchNamesOfResNet50(norm: NormStyle) throws {
    let program = try ClassifierPrograms(
      .resnet50, options: ModelOptions(classes: 1000, norm: norm), image: [3, 64, 64], seed: 0
    ).evaluation
    let weights = try NamedWeight.all(of: .resnet50, program, .torch)
    let shapes = Dictionary(uniqueKeysWithValues: weights.map { ($0.name, $0.shape) })
    #expect(weights.count == 161 + 2 * 53 && shapes.count == weights.count)
    #expect(weights.map(\.variable.id) == program.parameters.map(\.id))
    let some: [String: Shape] = [
      "conv1.weight": [64, 3, 7, 7], "bn1.running_mean": [64],
      "layer1.0.conv1.weight": [64, 64, 1, 1],
      "layer1.0.downsample.0.weight": [256, 64, 1, 1], "layer1.0.downsample.1.running_var": [256],
      "layer2.0.conv2.weight": [128, 128, 3, 3], "layer2.0.downsample.0.weight": [512, 256, 1, 1],
      "layer3.5.bn3.bias": [1024], "layer4.2.conv3.weight": [2048, 512, 1, 1],
      "fc.weight": [1000, 2048], "fc.bias": [1000],
    ]
    for (name, shape) in some { #expect(shapes[name] == shape, "\(name)") }
    #expect(shapes["layer1.1.downsample.0.weight"] == nil)
    // What reads a name is what the name says.
    for weight in weights where weight.name.contains("running") {
      #expect(weight.variable.parameterTraits?.trainable == false, "\(weight.name)")
    }
  }

  /// Blocks of two convolutions have a shortcut with weights only where the image is halved.
  @Test func torchNamesOfResNet18() throws {
    let names = try #require(Model.resnet18.torchNames)
    #expect(names.filter { $0.contains("downsample.0") }.count == 3)
    #expect(!names.contains("layer1.0.downsample.0") && !names.contains("layer1.0.conv3"))
    let program = try ClassifierPrograms(
      .resnet18, options: ModelOptions(classes: 1000), image: [3, 64, 64], seed: 0
    ).evaluation
    // 62 trained tensors, and two statistics of 20 normalizations.
    #expect(try NamedWeight.all(of: .resnet18, program, .torch).count == 62 + 40)
  }

  @Test func matricesAreTransposed() throws {
    let file = try Self.random(.inplace)
    try withFolder { folder in
      let path = folder + "/weights.safetensors"
      try file.exportWeights(to: path, names: .torch, folder: "")
      let matrix = try #require(try Safetensors.read(path: path).tensors["fc.weight"])
      let ours = try #require(file.parameters["fc_0.w_0"])
      #expect(ours.shape == [256, 7] && matrix.shape == [7, 256])
      let (a, b) = (ours.elements(Float.self), matrix.elements(Float.self))
      for (row, column) in [(0, 0), (3, 5), (255, 6), (17, 0)] {
        #expect(a[row * 7 + column] == b[column * 256 + row])
      }
    }
  }

  // MARK: Mistakes

  private func expectError(
    _ category: ABNError.Category, _ says: String..., change: (inout [String: Tensor]) -> Void
  ) throws {
    let file = try Self.random(.inplace)
    try withFolder { folder in
      let path = folder + "/weights.safetensors"
      try file.exportWeights(to: path, names: .torch, folder: "")
      var tensors = try Safetensors.read(path: path).tensors
      change(&tensors)
      try Safetensors.write(tensors, to: path)
      var loading = WeightLoading(path)
      loading.allowsOtherActivation = true
      loading.replacesHead = false
      let error = #expect(throws: ABNError.self) { try file.again(loading) }
      #expect(error?.category == category, "\(String(describing: error))")
      for word in says + [path] {
        #expect(error?.description.contains(word) == true, "\(String(describing: error))")
      }
    }
  }

  @Test func mistakes() throws {
    try expectError(.name, "no \"layer2.1.bn2.bias\"", "The file has \"layer2.1.bn2.bais\"") {
      $0["layer2.1.bn2.bais"] = $0.removeValue(forKey: "layer2.1.bn2.bias")
    }
    try expectError(.name, "\"layer9.0.weight\" and 99 more", "another network") {
      for i in 0..<100 { $0["layer9.\(i).weight"] = $0["fc.bias"] }
    }
    try expectError(.name, "no \"inplace_abn_0.w_0\" and 265 more", "--model") {
      $0 = ["conv2d_0.w_0": $0["conv1.weight"]!]
    }
    try expectError(.shape, "\"fc.weight\"", "[8, 256]", "[7, 256]", "--classes") {
      $0["fc.weight"] = Tensor(zeros: [8, 256], dtype: .float32)
    }
    try expectError(.shape, "\"conv1.weight\"", "[8, 3, 7, 7]") {
      $0["conv1.weight"] = Tensor(zeros: [8, 3, 7, 6], dtype: .float32)
    }
    try expectError(.dtype, "\"bn1.weight\"", "float64", "float32") {
      $0["bn1.weight"] = $0["bn1.weight"]!.cast(to: .float64)
    }
  }

  /// PyTorch counts steps in tensors of their own; they are no weights.
  @Test func countersAreLeftAlone() throws {
    let file = try Self.random(.standard)
    try withFolder { folder in
      let path = folder + "/weights.safetensors"
      try file.exportWeights(to: path, names: .torch, folder: "")
      var tensors = try Safetensors.read(path: path).tensors
      tensors["bn1.num_batches_tracked"] = Tensor(scalar: Int64(5))
      try Safetensors.write(tensors, to: path)
      var loading = WeightLoading(path)
      loading.allowsOtherActivation = true
      let (back, report) = try file.again(loading)
      #expect(back.parameters == file.parameters)
      #expect(report.leftAlone == 1 && report.additional.isEmpty)
    }
  }

  @Test func networksWithoutSuchNames() throws {
    func error(_ model: Model, _ activation: Activation) throws -> ABNError? {
      let program = try ClassifierPrograms(
        model, options: ModelOptions(classes: 10, activation: activation), image: model.image,
        seed: 0
      ).evaluation
      return #expect(throws: ABNError.self) { try NamedWeight.all(of: model, program, .torch) }
    }
    for (model, activation) in [(Model.lenet, Activation.relu), (.resnet18, .prelu)] {
      let found = try error(model, activation)
      #expect(found?.category == .unsupported)
      #expect(found?.description.contains("--names abn") == true)
    }
  }

  @Test func imagesThatDoNotFit() throws {
    let file = try Self.random(.inplace)
    func category(_ images: Tensor) -> ABNError.Category? {
      #expect(throws: ABNError.self) { try file.logits(of: images, folder: "") }?.category
    }
    #expect(category(Tensor(zeros: [2, 3, 32, 32], dtype: .float64)) == .dtype)
    #expect(category(Tensor(zeros: [2, 1, 32, 32], dtype: .float32)) == .shape)
    #expect(category(Tensor(zeros: [3, 32, 32], dtype: .float32)) == .shape)
    #expect(category(Tensor(zeros: [0, 3, 32, 32], dtype: .float32)) == .shape)
  }
}
