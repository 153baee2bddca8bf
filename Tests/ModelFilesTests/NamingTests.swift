import ABNTestSupport
import Foundation
import InPlaceABN
import Testing

@testable import ABNModelFiles
@testable import ABNModels

/// Names, prefixes, heads and formats that are found in a file of weights.
@Suite struct NamingTests {
  private func withFolder<R>(_ body: (String) throws -> R) throws -> R {
    let path = FileManager.default.temporaryDirectory.path + "/abn-names-\(UUID().uuidString)"
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: path) }
    return try body(path)
  }

  /// The tensors of a model under a naming, as a file has them.
  private func tensors(_ file: ModelFile, _ names: WeightNames, head: String? = nil) throws
    -> [String: Tensor]
  {
    let program = try ClassifierPrograms(
      file.model, options: file.options, image: file.image, seed: 0
    ).evaluation
    let naming = try #require(
      WeightNaming.all(of: file.model, file.options, only: names).first)
    let last = naming.layers?.last ?? ""
    return try #require(naming.weights(of: program)).reduce(into: [:]) { found, weight in
      let value = file.parameters[weight.variable.name]!
      var name = weight.name
      if let head, name.hasPrefix(last + ".") { name = head + name.dropFirst(last.count) }
      found[name] = weight.isTransposed ? value.transposed : value
    }
  }

  static let small: Model = CIFARResNet(blocks: 2, width: 4).model("cifar-small")
  static let narrow = ResNet(blocks: [1, 1, 1, 1], isBottleneck: false, width: 8).model(
    "resnet18", "")
  static let mobile = Model.narrowMobileNetV2

  static func relu(_ model: Model, _ activation: Activation = .relu) throws -> ModelFile {
    let options = ModelOptions(classes: 7, norm: .standard, activation: activation)
    var file = try WeightTests.random(.standard, model)
    file.options = options
    return file
  }

  /// Every format, prefix and nesting that holds a state dictionary gives the same network.
  @Test func formatsAndPrefixes() throws {
    let file = try Self.relu(Self.small)
    let state = try tensors(file, .torch)
    try withFolder { folder in
      let path = folder + "/weights"
      func check(_ format: String, _ prefix: String, _ bytes: [UInt8]) throws {
        try Data(bytes).write(to: URL(filePath: path))
        let (back, report) = try file.again(WeightLoading(path))
        #expect(back.parameters == file.parameters, "\(format) \(prefix)")
        #expect(report.format == format && report.prefix == prefix && report.names == "torch")
        #expect(report.matched.count == state.count && report.missing.isEmpty)
        #expect(report.additional.isEmpty)
        #expect(report.table.contains("matched"))
      }
      for prefix in ["", "module.", "model.", "_orig_mod.module."] {
        let value = TorchFile.state(state, prefix: prefix)
        try check("torch", prefix, TorchFile.zip(value))
        try check("torch-legacy", prefix, TorchFile.legacy(value))
        let nested = TorchFile.Value.dictionary([
          ("epoch", .integer(3)), ("state_dict", value),
          (
            "optimizer",
            .dictionary([("state", TorchFile.state(["x": Tensor(scalar: 1 as Float)]))])
          ),
        ])
        try check("torch", "state_dict." + prefix, TorchFile.zip(nested))
        try check("torch-legacy", "state_dict." + prefix, TorchFile.legacy(nested))
        let renamed = Dictionary(uniqueKeysWithValues: state.map { (prefix + $0.key, $0.value) })
        try Safetensors.write(renamed, to: path)
        try check("safetensors", prefix, Array(Data(contentsOf: URL(filePath: path))))
        try NPZ.write(renamed, to: path)
        try check("npz", prefix, Array(Data(contentsOf: URL(filePath: path))))
      }
    }
  }

  /// The names of other programs, and the last layer's other names.
  @Test(arguments: [
    (small, WeightNames.torch, nil as String?, Activation.relu), (small, .torch, "fc", .relu),
    (small, .cifar, nil, .relu), (small, .paddle, nil, .relu), (narrow, .torch, "head.fc", .relu),
    (narrow, .original, nil, .leakyReLU(slope: 0.01)),
    (narrow, .original, "fc", .leakyReLU(slope: 0.01)),
    (narrow, .paddle, nil, .relu), (mobile, .torch, nil, .relu6), (mobile, .timm, nil, .relu6),
  ])
  func otherPrograms(
    model: Model, names: WeightNames, head: String?, activation: Activation
  ) throws {
    let file = try Self.relu(model, activation)
    try withFolder { folder in
      let path = folder + "/w.safetensors"
      try Safetensors.write(tensors(file, names, head: head), to: path)
      let (back, report) = try file.again(WeightLoading(path))
      #expect(back.parameters == file.parameters)
      #expect(report.names == names.rawValue && report.matched.count == report.parameters)
    }
  }

  /// The program's own names, of a network built with the other style.
  @Test(arguments: NormStyle.allCases) func otherStyle(norm: NormStyle) throws {
    let file = try WeightTests.random(norm, Self.small)
    var other = file
    other.options.norm = norm == .inplace ? .standard : .inplace
    try withFolder { folder in
      try file.exportWeights(to: folder + "/w.npz", names: .abn, folder: "")
      let (back, report) = try other.again(WeightLoading(folder + "/w.npz"))
      #expect(report.matched.count == report.parameters && report.names == "abn")
      #expect(back.parameters.count == file.parameters.count)
      #expect(
        back.parameters.values.map { $0.doubles.reduce(0, +) }.sorted()
          == file.parameters.values.map { $0.doubles.reduce(0, +) }.sorted())
    }
  }

  /// The original's in-place layers scale by |w| + 1e-5.
  @Test func originalScales() throws {
    var file = try WeightTests.random(.inplace, Self.narrow)
    let name = "inplace_abn_0.w_0"
    let scale = (0..<8).map { Float($0) - 3.5 }
    file.parameters[name] = Tensor(scale)
    try withFolder { folder in
      let path = folder + "/w.safetensors"
      try Safetensors.write(tensors(file, .original), to: path)
      let (back, _) = try file.again(WeightLoading(path))
      #expect(back.parameters[name]?.elements(Float.self) == scale.map { abs($0) + 1e-5 })
    }
  }

  /// Weights that other architectures have under these names: torchvision's own, by its documentation.
  @Test func namesOfTorchvision() throws {
    func names(_ model: Model) throws -> Set<String> {
      let program = try ClassifierPrograms(
        model, options: ModelOptions(classes: 1000, norm: .standard), image: [3, 64, 64], seed: 0
      ).evaluation
      let weights = try NamedWeight.all(of: model, program, .torch)
      #expect(weights.count == program.parameters.count)
      return Set(weights.map(\.name))
    }
    let vgg = try names(.vgg16)
    for name in [
      "features.0.bias", "features.41.running_var", "features.14.weight", "classifier.6.bias",
    ] {
      #expect(vgg.contains(name), "\(name)")
    }
    let mobile = try names(.mobilenetv2)
    for name in [
      "features.0.0.weight", "features.1.conv.1.weight", "features.1.conv.2.running_mean",
      "features.2.conv.1.0.weight", "features.17.conv.3.bias", "features.18.1.weight",
      "classifier.1.weight",
    ] {
      #expect(mobile.contains(name), "\(name)")
    }
    let dense = try names(.densenet121)
    for name in [
      "features.conv0.weight", "features.denseblock4.denselayer16.norm2.running_var",
      "features.transition3.conv.weight", "features.norm5.bias", "classifier.weight",
    ] {
      #expect(dense.contains(name), "\(name)")
    }
    let wide = WideResNet38().originalNames
    for name in [
      "mod2.block1.proj_conv", "mod5.block3.convs.bn2", "mod7.block1.convs.conv3", "bn_out",
    ] {
      #expect(wide.contains(name), "\(name)")
    }
    #expect(!wide.contains("mod2.block2.proj_conv") && Set(wide).count == wide.count)
  }

  @Test func anotherActivation() throws {
    let file = try Self.relu(Self.small)
    var leaky = file
    leaky.options = ModelOptions(classes: 7)
    try withFolder { folder in
      let path = folder + "/w.safetensors"
      // What the names say, and what the metadata of this package say.
      for write in [
        { try Safetensors.write(try tensors(file, .torch), to: path) },
        { try file.exportWeights(to: path, names: .torch, folder: "") },
        { try file.exportWeights(to: path, names: .abn, folder: "") },
      ] {
        try write()
        let error = #expect(throws: ABNError.self) { try leaky.again(WeightLoading(path)) }
        #expect(error?.category == .attribute)
        for word in ["relu", "leaky_relu with alpha 0.01", "--activation relu", "--adapt", path] {
          #expect(error?.description.contains(word) == true, "\(String(describing: error))")
        }
        var loading = WeightLoading(path)
        loading.allowsOtherActivation = true
        let (back, report) = try leaky.again(loading)
        #expect(report.adaptedFrom == "relu" && report.table.contains("relu"))
        #expect(back.parameters["conv2d_0.w_0"] == file.parameters["conv2d_0.w_0"])
      }
      // The same activation in the other style is the same network.
      leaky.options = ModelOptions(classes: 7, norm: .inplace, activation: .relu)
      #expect(try leaky.again(WeightLoading(path)).report.adaptedFrom == nil)
    }
  }

  @Test func anotherHead() throws {
    let file = try Self.relu(Self.small)
    var other = file
    other.options.classes = 3
    try withFolder { folder in
      let path = folder + "/w.safetensors"
      try Safetensors.write(tensors(file, .torch), to: path)
      let (image, model) = (file.image, file.model)
      let programs = try ClassifierPrograms(model, options: other.options, image: image, seed: 5)
      let scope = Scope()
      try Executor(backend: CPUBackend()).run(programs.startup, scope: scope)
      let fresh = scope.snapshot()
      let report = try WeightLoading(path).load(
        into: scope, program: programs.training, model: model, options: other.options)
      #expect(report.replacedHead.map(\.name) == ["linear.weight", "linear.bias"])
      #expect(report.replacedHead.map(\.wanted) == [[3, 16], [3]])
      #expect(report.table.contains("linear.weight [7, 16] by [3, 16]"))
      #expect(report.matched.count == report.parameters - 2)
      for parameter in programs.training.parameters {
        let isHead = parameter.name.hasPrefix("fc_0")
        #expect(
          scope[parameter.name] == (isHead ? fresh : file.parameters)[parameter.name],
          "\(parameter.name)")
      }
      // Not where the last layer is to stay, and not where more than the classes differs.
      var strict = WeightLoading(path)
      strict.replacesHead = false
      let error = #expect(throws: ABNError.self) { try other.again(strict) }
      #expect(error?.category == .shape)
      var tensors = try tensors(file, .torch)
      tensors["linear.weight"] = Tensor(zeros: [7, 17], dtype: .float32)
      try Safetensors.write(tensors, to: path)
      #expect(throws: ABNError.self) { try other.again(WeightLoading(path)) }
      // A new model draws the values that are absent.
      try Safetensors.write(self.tensors(file, .torch), to: path)
      let made = try ModelFile.imported(
        WeightLoading(path), model: model, options: other.options, image: image,
        backend: CPUBackend()
      ).file
      #expect(made.parameters["fc_0.w_0"]?.shape == [16, 3])
      #expect(throws: ABNError.self) { try other.again(WeightLoading(path)) }
    }
  }

  /// Missing, additional and unreadable tensors: some are reported, many are another network's.
  @Test func missingAndAdditional() throws {
    let file = try Self.relu(Self.small)
    let all = try tensors(file, .torch)
    try withFolder { folder in
      let path = folder + "/w.safetensors"
      var some = all
      some["bn1.bias"] = nil
      some["aux.weight"] = Tensor(zeros: [2], dtype: .float32)
      some["bn1.num_batches_tracked"] = Tensor(scalar: 3 as Int64)
      try Safetensors.write(some, to: path)
      let error = #expect(throws: ABNError.self) { try file.again(WeightLoading(path)) }
      #expect(error?.category == .name && error?.got.contains("bn1.bias") == true)
      let (made, report) = try ModelFile.imported(
        WeightLoading(path), model: file.model, options: file.options, image: file.image,
        backend: CPUBackend())
      #expect(report.missing == ["bn1.bias"] && report.additional == ["aux.weight"])
      #expect(report.leftAlone == 1)
      #expect(made.parameters["batch_norm_0.b_0"] == Tensor(zeros: [4], dtype: .float32))
      // Half of the network.
      try Safetensors.write(all.filter { !$0.key.hasPrefix("layer3") }, to: path)
      var loading = WeightLoading(path)
      let half = #expect(throws: ABNError.self) {
        try ModelFile.imported(
          loading, model: file.model, options: file.options, image: file.image,
          backend: CPUBackend())
      }
      #expect(half?.category == .name)
      loading.allowsPartial = true
      #expect(
        try ModelFile.imported(
          loading, model: file.model, options: file.options, image: file.image,
          backend: CPUBackend()
        ).report.missing.count == 20)
      // A deeper network's file.
      let deep = try Self.relu(CIFARResNet(blocks: 4, width: 4).model("cifar-deep"))
      try Safetensors.write(tensors(deep, .torch), to: path)
      loading.allowsPartial = false
      let deeper = #expect(throws: ABNError.self) { try file.again(loading) }
      #expect(deeper?.category == .name && deeper?.description.contains("another network") == true)
    }
  }

  /// A model of this package says which network it is.
  @Test func anotherModel() throws {
    let file = try WeightTests.random(.inplace, Self.small)
    try withFolder { folder in
      var resnet = file
      resnet.model = .resnet20
      try resnet.write(toFolder: folder)
      let error = #expect(throws: ABNError.self) {
        try file.again(WeightLoading(folder + "/model.safetensors"))
      }
      #expect(error?.category == .file && error?.description.contains("resnet20") == true)
    }
  }
}
