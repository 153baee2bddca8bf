import InPlaceABN
import Testing

/// Parameters, multiply-adds and output of every model, against what is published.
@Suite struct CountTests {
  struct Published: Sendable, CustomTestStringConvertible {
    let model: Model
    let parameters: Int
    /// In thousands of millions, to two decimals, as published.
    let multiplyAdds: Double
    var testDescription: String { model.name }

    init(_ model: Model, _ parameters: Int, _ multiplyAdds: Double) {
      (self.model, self.parameters, self.multiplyAdds) = (model, parameters, multiplyAdds)
    }

    init(_ model: Model, _ counted: Ledger) {
      self.init(model, counted.parameters, Double(counted.multiplyAdds) / 1e9)
    }
  }

  /// The network's forward program, for any batch, and its logits.
  static func build(
    _ model: Model, norm: NormStyle = .inplace, activation: Activation = .leakyReLU()
  ) throws -> (program: Program, logits: Variable) {
    let builder = ProgramBuilder(seed: 1)
    let logits = try builder.build {
      let images = try data("images", shape: Shape([Shape.unknown] + model.image.dimensions))
      return try model.build(
        images, ModelOptions(classes: model.classes, norm: norm, activation: activation))
    }
    return (builder.main, logits)
  }

  /// Numbers of networks that nobody has the machine for: Int.max for all that is more, no trap.
  @Test func countsEndAtTheLargestNumber() throws {
    func count(_ build: (Variable) throws -> Variable, _ shape: Shape) throws -> Int {
      let builder = ProgramBuilder()
      try builder.build {
        let x = try data("x", shape: shape, stopsGradient: false)
        let loss = try mean(build(x))
        let result = try builder.main.differentiated(loss)
        builder.replaceMain { $0 = result.program }
      }
      #expect(builder.main.trainedParameterCount > 0)
      return builder.main.multiplyAdds
    }
    let wide = 1 << 20
    // 2^60 for each product and each gradient but that of x: eight make 2^63.
    func layers(_ number: Int) throws -> Int {
      try count(
        { x in try (0..<number).reduce(x) { x, _ in try fc(x, size: wide) } }, [wide, wide])
    }
    #expect(try layers(2) == 5 << 60)
    #expect(try layers(3) == .max)
    #expect(try layers(5) == .max)
    // One operator alone.
    let image: Shape = [8, 1024, 1 << 15, 1 << 15]
    #expect(
      try count({ try conv2d($0, numFilters: 1024, filterSize: 32, padding: .same) }, image) == .max
    )
  }

  /// Both numbers as the documentation of torchvision's pretrained models has them (num_params,
  /// GFLOPS).
  static let published = [
    Published(.resnet18, 11_689_512, 1.81), Published(.resnet34, 21_797_672, 3.66),
    Published(.resnet50, 25_557_032, 4.09), Published(.resnet101, 44_549_160, 7.80),
    Published(.resnet152, 60_192_808, 11.51), Published(.resnext50, 25_028_904, 4.23),
    Published(.resnext101, 88_791_336, 16.41), Published(.vgg16, 138_365_992, 15.47),
    Published(.mobilenetv2, 3_504_872, 0.30), Published(.densenet121, 7_978_856, 2.83),
    // Less the auxiliary classifier: 3 x 3 from 1024 to 256 channels, normalized, and 1 x 1 to 21
    // classes, on 65 x 65 pixels.
    Published(
      .deeplabv3resnet50, 42_004_074 - (2_359_296 + 512 + 5_397),
      178.72 - 4225 * (2_359_296 + 5_376) * 1e-9),
    Published(
      .deeplabv3resnet101, 60_996_202 - (2_359_296 + 512 + 5_397),
      258.74 - 4225 * (2_359_296 + 5_376) * 1e-9),
  ]

  /// The parameters of a network of 6 n + 2 layers for CIFAR.
  private static func cifar(_ n: Int) -> Int {
    269_722 + (n - 3) * 2 * (9 * (16 * 16 + 32 * 32 + 64 * 64) + 2 * (16 + 32 + 64))
  }

  /// Counted by hand from the paper's table.
  static let derived = [
    // Against version 1: scale and shift of the projections less; the other normalizations move from
    // a block's end to the next one's beginning.
    Published(.resnet18v2, 11_689_512 - 2 * (128 + 256 + 512), 1.81),
    Published(.resnet34v2, 21_797_672 - 2 * (128 + 256 + 512), 3.66),
    Published(.resnet50v2, 25_557_032 - 2 * (256 + 512 + 1024 + 2048), 4.09),
    Published(.resnet101v2, 44_549_160 - 2 * (256 + 512 + 1024 + 2048), 7.80),
    Published(.resnet152v2, 60_192_808 - 2 * (256 + 512 + 1024 + 2048), 11.51),
    // ResNeXt-50 with 4 blocks more of conv3_x and 30 of conv4_x.
    Published(
      .resnext152, 25_028_904 + 4 * (280_576 + 2_048) + 30 * (1_122_304 + 4_096),
      4.2305 + (4 * 784 * 280_576 + 30 * 196 * 1_122_304) * 1e-9),
    // Section 4.2 with n = 3: 16 (27 + 32) of the first layer, 2 n convolutions of 3 x 3 a stage with
    // half the inputs in the first one of the second and third, and the last layer. Each block more
    // adds two convolutions a stage, of 2,359,296 multiply-adds in every stage.
    Published(.cifarResNet20, 269_722, 0.040551), Published(.cifarResNet32, cifar(5), 0.068863),
    Published(.cifarResNet44, cifar(7), 0.097174), Published(.cifarResNet56, cifar(9), 0.125486),
    Published(.cifarResNet110, cifar(18), 0.252888),
    Published(.densenet264, .denseNet([6, 12, 64, 48])), Published(.unet, .uNet(height: 512)),
    Published(.tresnetm, .tResNetM()),
    Published(
      .wideresnet38,
      {
        var sum = Ledger.wideResNet38(height: 224, halvings: 5)
        sum.classes(4096)
        return sum
      }()),
    Published(
      .deeplabv3wideresnet38,
      {
        var sum = Ledger.wideResNet38(height: 520, halvings: 3)
        sum.deepLabHead(4096, height: 65)
        return sum
      }()),
    Published(.unetSmall, .uNet(height: 512, width: 16)),
    Published(
      .swiftNetLight,
      .swiftNet(
        width: 32, up: 64, hasDeepStem: true, isFine: true,
        pixels: [180 * 240, 90 * 120, 45 * 60, 23 * 30, 12 * 15], cells: [8 * 10, 4 * 5, 2 * 3],
        classes: 11)),
    Published(
      .swiftNetResNet18,
      .swiftNet(
        width: 64, up: 128, hasDeepStem: false, isFine: false,
        pixels: (1...5).map { (512 >> $0) * (1024 >> $0) },
        cells: [8 * 16, 4 * 8, 2 * 4], classes: 19)),
  ]

  /// The same of DeepLabV3+ at 512 x 512.
  static let deepLabV3Plus = Model.deepLabV3Plus.map { model in
    let stride = model.name.hasSuffix("-os8") ? 8 : 16
    var sum: Ledger
    if model.name.contains("wide") {
      sum = .wideResNet38(height: 512, halvings: stride == 8 ? 3 : 4)
    } else {
      sum = .resNet(
        [3, 4, model.name.contains("101") ? 23 : 6, 3], height: 512, stride: stride)
    }
    sum.deepLabPlusHead(
      model.name.contains("wide") ? 4096 : 2048, height: 512 / stride, lowHeight: 128)
    return Published(model, sum)
  }

  @Test(arguments: published + derived + deepLabV3Plus) func counts(_ wanted: Published) throws {
    let (program, logits) = try Self.build(wanted.model)
    #expect(program.trainedParameterCount == wanted.parameters)
    #expect(abs(Double(program.multiplyAdds) / 1e9 - wanted.multiplyAdds) <= 0.005)
    #expect(logits.shape[0] == Shape.unknown)
    #expect(logits.shape[1] == wanted.model.classes)
    let isSegmentation = wanted.model.summary.hasPrefix("segmentation")
    let map = isSegmentation ? wanted.model.image.dimensions.dropFirst() : []
    #expect(logits.shape.dimensions.dropFirst(2) == map)
  }

  /// The counting by hand gives what is published.
  @Test func ledger() {
    let sum = Ledger.denseNet([6, 12, 24, 16])
    #expect(sum.parameters == 7_978_856)
    #expect(abs(Double(sum.multiplyAdds) / 1e9 - 2.83) <= 0.005)
    var residual = Ledger.resNet([3, 4, 6, 3], height: 224, stride: 32)
    residual.classes(2048)
    #expect(residual.parameters == 25_557_032)
    #expect(abs(Double(residual.multiplyAdds) / 1e9 - 4.09) <= 0.005)
  }

  @Test func everyModelIsCounted() {
    let small = ["mlp", "lenet", "resnet20"]
    let counted = (Self.published + Self.derived + Self.deepLabV3Plus).map(\.model.name)
    #expect(Set(counted + small) == Set(Model.all.map(\.name)))
    #expect(Set(Model.all.map(\.name)).count == Model.all.count)
  }

  /// The two styles are one network: same parameters in the same order under the layers' own names.
  @Test(arguments: [Model.resnet20, .resnet50, .resnet18v2, .densenet121, .unet, .tresnetm])
  func stylesHaveTheSameParameters(_ model: Model) throws {
    let shapes = try NormStyle.allCases.map { norm in
      try Self.build(model, norm: norm).program.parameters.map(\.shape)
    }
    #expect(shapes[0] == shapes[1])
  }

  /// Any activation, with what it learns, in both styles; and it stands where the default stood.
  @Test(arguments: Activation.all) func activations(_ activation: Activation) throws {
    let wanted = try Self.build(.resnet18).program
    for norm in NormStyle.allCases {
      let (program, logits) = try Self.build(.resnet18, norm: norm, activation: activation)
      #expect(logits.shape == [-1, 1000])
      // 9 normalizations and 8 sums are activated, with a slope each.
      let slopes = activation == .prelu ? 17 : 0
      #expect(program.trainedParameterCount == wanted.trainedParameterCount + slopes)
    }
  }

  /// Of a small program by hand: forward, and each gradient as many again.
  @Test func multiplyAdds() throws {
    let builder = ProgramBuilder(seed: 1)
    // 2 x 4 x 9 x 9 outputs of 2 taps; 2 x 6 x 5 x 5 of 2 x 3 x 3; 2 rows of 150 numbers to 7.
    let (first, second, product) = (648 * 2, 300 * 18, 2 * 150 * 7)
    try builder.build {
      let x = try data("x", shape: [2, 2, 9, 9])
      var y = try conv2d(x, numFilters: 4, filterSize: 1)
      y = try conv2d(y, numFilters: 6, filterSize: 3, stride: 2, padding: 1, groups: 2)
      y = try leakyReLU(y)
      let loss = try mean(fc(y, size: 7))
      #expect(ProgramBuilder.current.main.multiplyAdds == first + second + product)
      _ = try SGD(learningRate: 1).minimize(loss)
    }
    // Nobody asks for the gradient of x.
    #expect(builder.main.multiplyAdds == 2 * first + 3 * second + 3 * product)
    // Convolutions count as much with what was put into them.
    let evaluation = builder.main.cloned(forTest: true)
    let fused = try FuseConvolutions().rewrite(evaluation, fetches: []).program
    #expect(fused.operators.contains { $0.kind is Conv2DFusion })
    #expect(fused.multiplyAdds == first + second + product)
  }
}
