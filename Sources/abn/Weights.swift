import ArgumentParser
import InPlaceABN

struct Weights: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Makes, exports and imports the weights of a network.",
    discussion: """
      A model is a folder with model.safetensors, as abn train makes it; abn eval and abn predict \
      read it. Files of weights are .safetensors or .npz, in float32, bit by bit; import takes \
      those in 8 and 16 bits too.

      With --names torch the tensors are called and laid out as in torchvision: conv1.weight, \
      layer1.0.bn1.running_mean, fc.weight. The ResNets and ResNeXts have such names.
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
          normalization: made.normalization, data: made.data), toFolder: output)
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
      let names = try WeightNames.named(names)
      try requireResult(output, isNoneOf: [folder + "/" + ModelFile.name])
      try ModelFile.read(folder: folder).exportWeights(to: output, names: names, folder: folder)
    }
  }

  struct Import: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Makes a model of a file of weights.")

    @Argument(help: "The file, .safetensors or .npz.")
    var file: String

    @OptionGroup var network: BuiltNetwork

    @Option(help: ArgumentHelp("How the tensors are named: abn or torch.", valueName: "naming"))
    var names = "abn"

    @Option(help: ArgumentHelp("The model's folder; made if absent.", valueName: "folder"))
    var output: String

    @OptionGroup var existing: OverwriteOption

    func run() throws {
      let names = try WeightNames.named(names)
      try existing.requireFree(folder: output)
      let target = output + "/" + ModelFile.name
      if let file = FileIdentity(file), file == FileIdentity(target) {
        throw ABNError(
          .file, "--output \(quoted(output))", got: "the folder of the file that is read",
          wanted: "another folder", fix: "Choose another name.")
      }
      let made = try network.made()
      try existing.write(
        ModelFile(
          weights: file, names: names, model: made.model, options: made.options, image: made.image,
          normalization: made.normalization, data: made.data), toFolder: output)
    }
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
    model: Model, options: ModelOptions, image: Shape, normalization: ChannelNormalization?,
    data: String?
  ) {
    let model = try network.chosenModel()
    let source = try data.map(DataSource.parse)
    if source != nil, classes != nil || network.imageSize != nil {
      throw ABNError(
        .attribute, "--data", got: "--classes or --image-size beside it",
        wanted: "one or the other", fix: "The data say both.")
    }
    let dataset = try source?.load()
    let count = dataset?.classCount ?? classes ?? model.classes
    guard (1...1 << 20).contains(count) else {
      throw ABNError(.attribute, "--classes", got: "\(count)", wanted: "1...\(1 << 20)")
    }
    let size = network.size(for: model)
    guard (1...1 << 16).contains(size) else {
      throw ABNError(.attribute, "--image-size", got: "\(size)", wanted: "1...\(1 << 16)")
    }
    let options = ModelOptions(
      classes: count, norm: try network.style(),
      activation: try ModelOptions.activation(named: activation))
    return (
      model, options, dataset?.imageShape ?? [model.image[0], size, size], dataset?.normalization,
      source?.absolute.description
    )
  }
}
