import ABNTensors

/// Where a data set comes from, as it is written on the command line.
public enum DataSource: Sendable, Hashable, CustomStringConvertible {
  /// The 1,797 digits of 8 x 8 pixels that come with the package.
  case digits
  /// The MNIST files in a folder (see `MNIST.load(directory:)`).
  case mnist(directory: String)
  /// The CIFAR-10 files in a folder (see `CIFAR10.load(directory:)`).
  case cifar10(directory: String)
  /// The CIFAR-100 files in a folder (see `CIFAR100.load(directory:)`).
  case cifar100(directory: String)
  /// Any pictures and labels in IDX files of a folder (see `IDXFolder.load`).
  case idx(directory: String)
  /// Pictures and labels in numpy's files: a folder of them, or two files with a comma between (see
  /// `NPYPictures.load`).
  case npy(paths: String)
  /// JPEG and PNG pictures in a folder for each class (see `PictureFolder.load`).
  case folder(directory: String)
  /// Pictures and masks in folders side by side (see `PicturePairs`).
  case pairs(directory: String)
  /// The folders of PASCAL VOC.
  case voc(directory: String)
  /// The folders of Cityscapes.
  case cityscapes(directory: String)
  /// The panoptic masks of COCO.
  case coco(directory: String)

  /// How the sources are written.
  public static let forms = [
    "digits", "mnist:DIR", "cifar10:DIR", "cifar100:DIR", "idx:DIR", "npy:DIR", "folder:DIR",
    "pairs:DIR", "voc:DIR", "cityscapes:DIR", "coco:DIR",
  ]

  /// The source that a text names, written as one of `forms`.
  ///
  /// - Throws: `ABNError(.name)` that lists the valid forms and, where one is near, what was
  ///   probably meant.
  public static func parse(_ text: String) throws -> DataSource {
    let colon = text.firstIndex(of: ":")
    let kind = String(text[..<(colon ?? text.endIndex)])
    let directory = colon.map { String(text[text.index(after: $0)...]) }
    func error(_ fix: String) -> ABNError {
      ABNError(
        .name, "data source", got: quoted(text),
        wanted: forms.joined(separator: ", "), fix: fix)
    }
    if kind == "digits" {
      if directory == nil { return .digits }
      throw error("The digits are built in and take no folder.")
    }
    guard let make = Self.kinds[kind] else {
      let near = nearestMatch(to: kind, in: ["digits"] + Self.kinds.keys.sorted())
        .flatMap { near in forms.first { $0.prefix { $0 != ":" } == near } }
      throw error(near.map { didYouMean($0, in: [$0]) } ?? "")
    }
    guard let directory, !directory.isEmpty else {
      throw error("Name the folder: \(kind):DIR.")
    }
    return make(directory)
  }

  private static let kinds: [String: @Sendable (String) -> DataSource] = [
    "mnist": { .mnist(directory: $0) }, "cifar10": { .cifar10(directory: $0) },
    "cifar100": { .cifar100(directory: $0) }, "idx": { .idx(directory: $0) },
    "npy": { .npy(paths: $0) }, "folder": { .folder(directory: $0) },
    "pairs": { .pairs(directory: $0) }, "voc": { .voc(directory: $0) },
    "cityscapes": { .cityscapes(directory: $0) }, "coco": { .coco(directory: $0) },
  ]

  /// Reads the data.
  ///
  /// - Throws: what the reader of the source throws: `ABNError(.file)`, `.shape`, `.data`.
  public func load() throws -> Dataset { try load(DataOptions()) }

  /// Reads the data, with these options.
  ///
  /// - Throws: as `load()`, and `ABNError(.attribute)` for an option outside its range.
  package func load(_ options: DataOptions) throws -> Dataset {
    try options.validate()
    let dataset =
      switch self {
      case .digits: Digits.dataset
      case .mnist(let directory): try MNIST.load(directory: directory)
      case .cifar10(let directory): try CIFAR10.load(directory: directory)
      case .cifar100(let directory): try CIFAR100.load(directory: directory)
      case .idx(let directory): try IDXFolder.load(directory: directory, options)
      case .npy(let paths): try NPYPictures.load(paths, options)
      case .folder(let directory): try PictureFolder.load(directory: directory, options)
      case .pairs(let directory): try PicturePairs.load(.pairs, directory: directory, options)
      case .voc(let directory): try PicturePairs.load(.voc, directory: directory, options)
      case .cityscapes(let directory):
        try PicturePairs.load(.cityscapes, directory: directory, options)
      case .coco(let directory): try PicturePairs.load(.coco, directory: directory, options)
      }
    guard let geometry = options.geometry, geometry != dataset.train.geometry else {
      return dataset
    }
    return try dataset.seen(at: geometry)
  }

  /// Checks that a folder may be written to without becoming part of the data.
  ///
  /// - Throws: `ABNError(.file)` where it would be taken for a class.
  package func requireOutside(_ output: String) throws {
    if case .folder(let directory) = self {
      try PictureFolder.requireOutside(output, of: directory)
    }
  }

  /// The same data with the folder from the root on, for a record that is read from another folder.
  /// It stays as it is where the name of the current folder is no text in UTF-8.
  package var absolute: DataSource {
    if case .npy(let paths) = self {
      return .npy(paths: NPYPictures.files(paths).map(absolutePath).joined(separator: ","))
    }
    guard let directory, let make = Self.kinds[name] else { return self }
    return make(absolutePath(directory))
  }

  /// The folder, or the files; nil for data that is built in.
  public var directory: String? {
    switch self {
    case .digits: nil
    case .mnist(let directory), .cifar10(let directory), .cifar100(let directory),
      .idx(let directory), .npy(let directory), .folder(let directory), .pairs(let directory),
      .voc(let directory), .cityscapes(let directory), .coco(let directory):
      directory
    }
  }

  /// What stands before the colon: `digits`, `mnist`, `folder`.
  public var name: String {
    switch self {
    case .digits: "digits"
    case .mnist: "mnist"
    case .cifar10: "cifar10"
    case .cifar100: "cifar100"
    case .idx: "idx"
    case .npy: "npy"
    case .folder: "folder"
    case .pairs: "pairs"
    case .voc: "voc"
    case .cityscapes: "cityscapes"
    case .coco: "coco"
    }
  }

  /// The text that `parse` makes this source of.
  public var description: String { directory.map { "\(name):\($0)" } ?? name }

  /// How pictures of this source are changed where nothing else is said.
  ///
  /// Photographs are shifted and mirrored; digits are only shifted, a mirrored digit being another
  /// one. The few of 8 x 8 pixels are distorted too, as other hands would write them: without that,
  /// up to eleven of the 360 held-out ones are missed, with it eight (seeds 0 to 39).
  package var usualAugmentation: Augmentation {
    switch self {
    case .digits: Augmentation(cropPadding: 1, flipsHorizontally: false, distortion: 0.15)
    case .mnist, .idx: Augmentation(cropPadding: 2, flipsHorizontally: false)
    case .cifar10, .cifar100: .cifar
    case .npy: .none
    case .folder: .photographs
    case .pairs, .voc, .cityscapes, .coco: .scenes
    }
  }

  /// Whether the data have a class for each pixel.
  package var hasMasks: Bool {
    switch self {
    case .pairs, .voc, .cityscapes, .coco: true
    default: false
    }
  }
}
