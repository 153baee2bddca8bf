import ArgumentParser
import InPlaceABN

struct Weights: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Makes, exports and imports the weights of a network.",
    discussion: """
      A model is a folder with model.safetensors, as abn train makes it; abn eval and abn predict \
      read it. Export writes .safetensors or .npz, in float32, bit by bit.

      Import takes safetensors, the files of PyTorch (.pth, .pt, .th, also those of before 1.6), of \
      Paddle (.pdparams) and numpy's .npz, whatever they are called, and finds the names of \
      torchvision, timm, the original program, the CIFAR ResNets and this one, behind any prefix. \
      Numbers of 8 and 16 bits become the same in float32. Nothing in a file is executed.

      With export --names torch the tensors are called and laid out as in torchvision: conv1.weight, \
      layer1.0.bn1.running_mean, fc.weight.
      """,
    subcommands: [Init.self, Export.self, Import.self])

  struct Init: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Writes a model with the first values that training begins with.")

    @OptionGroup var network: BuiltNetwork

    @Option(
      parsing: .unconditional,
      help: ArgumentHelp("Decides the values: 0 or more.", valueName: "number"))
    var seed: UInt64 = 0

    @Option(help: ArgumentHelp("The model's folder; made if absent.", valueName: "folder"))
    var output: String

    @OptionGroup var existing: OverwriteOption

    func run() throws {
      try existing.requireFree(folder: output)
      let made = try network.made()
      try existing.write(
        ModelFile(
          firstValuesOf: made.model, options: made.options, image: made.image, seed: seed,
          normalization: made.dataset?.normalization, data: made.data, dataset: made.dataset,
          backend: CPUBackend()), toFolder: output)
    }
  }

  struct Export: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Writes the weights of a model to a file for other programs.")

    @Argument(help: "The model's folder.")
    var folder: String

    @Option(help: ArgumentHelp("The file, .safetensors or .npz.", valueName: "file"))
    var output: String

    @Option(help: ArgumentHelp("How the tensors are named: abn or torch.", valueName: "naming"))
    var names = "abn"

    func run() throws {
      let names = try WeightNames.toWrite(names)
      try requireResult(output, isNoneOf: [ModelFile.path(of: folder)])
      try ModelFile.read(folder: folder).exportWeights(to: output, names: names, folder: folder)
    }
  }

  struct Import: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Makes a model of a file of weights, and says what became of each tensor.")

    @Argument(help: "The file: safetensors, PyTorch's, .pdparams or .npz, by its contents.")
    var file: String

    @OptionGroup var network: BuiltNetwork

    @OptionGroup var loading: WeightOptions

    @Option(
      help: ArgumentHelp(
        "Whose names the tensors have: \(WeightNames.allCases.map(\.rawValue).joined(separator: ", ")); "
          + "default: those that fit.", valueName: "naming"))
    var names: String?

    @Flag(help: "Begin the last layer afresh where the file has another number of classes.")
    var replaceHead = false

    @OptionGroup var pixels: PixelOptions

    @Option(help: ArgumentHelp("The model's folder; made if absent.", valueName: "folder"))
    var output: String

    @Flag(help: "Print the report as JSON on standard output.")
    var json = false

    @OptionGroup var existing: OverwriteOption

    func run() throws {
      var weights = loading.loading(file)
      weights.names = try names.map(WeightNames.named)
      weights.replacesHead = replaceHead
      try existing.requireFree(folder: output)
      let target = output + "/" + ModelFile.name
      if let file = FileIdentity(file), file == FileIdentity(target) {
        throw ABNError(
          .file, "--output \(quoted(output))", got: "the folder of the file that is read",
          wanted: "another folder", fix: "Choose another name.")
      }
      let made = try network.made()
      let (model, report) = try ModelFile.imported(
        weights, model: made.model, options: made.options, image: made.image,
        normalization: pixels.normalization(
          channels: made.image[0], white: made.dataset?.white ?? 255),
        data: made.data, dataset: made.dataset,
        backend: replaceHead || loading.partial ? CPUBackend() : nil)
      try existing.write(model, toFolder: output)
      if json {
        try printJSON(report)
      } else {
        print(report.table, terminator: "")
      }
    }
  }
}

/// What is taken of a file of weights.
struct WeightOptions: ParsableArguments {
  @Flag(
    help:
      "Take weights of a network with another activation: its results differ until it is trained.")
  var adapt = false

  @Flag(help: "Take what fits, however many tensors are missing or additional.")
  var partial = false

  func loading(_ path: String) -> WeightLoading {
    var loading = WeightLoading(path)
    loading.allowsOtherActivation = adapt
    loading.allowsPartial = partial
    return loading
  }
}

/// What made pixels the numbers that the network was trained on.
struct PixelOptions: ParsableArguments {
  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      "Mean of each channel, of pixels in 0...1: 0.485,0.456,0.406. Default: what the file says, "
        + "else that of the data.",
      valueName: "numbers"))
  var mean: String?

  @Option(
    name: [.long, .customLong("deviation")], parsing: .unconditional,
    help: ArgumentHelp(
      "Deviation of each channel, of pixels in 0...1: 0.229,0.224,0.225.", valueName: "numbers"))
  var std: String?

  /// Nil where neither is given.
  ///
  /// - Parameter white: the stored byte that is 1 in these numbers.
  func normalization(channels: Int, white: Double) throws -> ChannelNormalization? {
    if mean == nil && std == nil { return nil }
    func numbers(_ text: String?, _ option: String, _ range: ClosedRange<Double>) throws -> [Double]
    {
      let words = (text ?? "").split(separator: ",", omittingEmptySubsequences: false)
      let values = words.compactMap { Double($0.trimmingPrefix(" ")) }
      guard values.count == channels, words.count == channels,
        values.allSatisfy(range.contains)
      else {
        throw ABNError(
          .attribute, option, got: text.map { quoted($0) } ?? "nothing",
          wanted: "\(channels) numbers for pixels in 0...1, with commas between them",
          fix: text == nil
            ? "--mean and --std go together." : "Divide numbers for bytes by 255.")
      }
      return values
    }
    // Of the stored bytes.
    return try ChannelNormalization(
      mean: numbers(mean, "--mean", -1...1).map { $0 * white },
      standardDeviation: numbers(std, "--std", 1e-6...1).map { $0 * white })
  }
}

/// A network as it is built: what a file of weights does not say.
struct BuiltNetwork: ParsableArguments {
  @OptionGroup var network: NetworkOptions

  @Option(help: ArgumentHelp("The activation after a normalization.", valueName: "name"))
  var activation = "leaky_relu"

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp("The number of classes; default: the model's.", valueName: "count"))
  var classes: Int?

  @Option(
    help: ArgumentHelp(
      "Take classes, images and the normalization of pixels from these data, and evaluate on "
        + "them: \(DataSource.forms.joined(separator: ", ")).", valueName: "source"))
  var data: String?

  /// The network with its images and, where data were named, what is theirs.
  func made() throws -> (
    model: Model, options: ModelOptions, image: Shape, dataset: Dataset?, data: String?
  ) {
    let model = try network.chosenModel()
    let source = try data.map(DataSource.parse)
    // Photographs in folders have no size of their own.
    var isFolder = false
    if case .folder? = source { isFolder = true }
    let hasSize = network.imageSize != nil && !isFolder || network.image != nil
    if source != nil, classes != nil || hasSize {
      throw ABNError(
        .attribute, "--data", got: "--classes, --image-size or --image beside it",
        wanted: "one or the other", fix: "The data say both.")
    }
    var reading = DataOptions()
    reading.geometry = network.imageSize.map { PictureGeometry(side: $0) }
    let loaded = try source?.load(reading)
    let dataset = loaded?.pixelClasses == nil ? loaded : try loaded?.padded(for: model.sizes)
    let count = dataset?.classCount ?? classes ?? model.classes
    guard (1...1 << 20).contains(count) else {
      throw ABNError(.attribute, "--classes", got: "\(count)", wanted: "1...\(1 << 20)")
    }
    if let size = network.imageSize, !(1...1 << 16).contains(size) {
      throw ABNError(.attribute, "--image-size", got: "\(size)", wanted: "1...\(1 << 16)")
    }
    let image = try network.image(for: model)
    let options = ModelOptions(
      classes: count, norm: try network.style(),
      activation: try ModelOptions.activation(named: activation))
    return (
      model, options, dataset?.imageShape ?? image, dataset,
      source?.absolute.description
    )
  }
}
