import ABNFormats
import ABNImages
import ABNTensors
import Foundation
import Synchronization

/// Pictures and masks, in folders side by side.
enum PicturePairs {
  /// How the folders are laid out.
  enum Form {
    /// `train` and `trainannot`, `val` and `valannot`; or `images` and `masks`, divided into
    /// folders or not.
    case pairs
    /// Those of PASCAL VOC: `JPEGImages`, `SegmentationClass`, lists in `ImageSets/Segmentation`.
    case voc
    /// Those of Cityscapes: `leftImg8bit` and `gtFine`, each with `train` and `val`.
    case cityscapes
    /// Those of COCO's panoptic masks: see `COCOPanoptic`.
    case coco

    /// The classes where no file says otherwise.
    var classes: PixelClasses? {
      switch self {
      case .pairs: nil
      case .voc: .voc
      case .cityscapes: .cityscapes
      case .coco: nil
      }
    }
  }

  /// Reads the names of the files; pictures and masks are decoded when they are needed. Without a
  /// file of classes all masks are decoded once, to see which numbers they hold.
  ///
  /// - Throws: `ABNError(.file)` for folders and lists that cannot be read and a file of classes
  ///   that is none; `(.data)` for a picture without a mask, a mask without a picture, and folders
  ///   without pictures.
  static func load(_ form: Form, directory: String, _ options: DataOptions) throws -> Dataset {
    try checkDirectory(directory, what: "picture")
    var found = try Parts(form, directory, options)
    guard let first = found.train.first else {
      throw ABNError(
        .data, "folder \(quoted(directory))", got: "no pictures", wanted: "pictures to learn from")
    }
    let classes =
      try found.classes ?? classes(form, directory, found.all, options, &found.notes)
    let header = try Picture.readHeader(first.picture)
    let geometry =
      options.geometry ?? PictureGeometry(size: options.cropSize ?? usualCrop(of: header.size))
    let channels = header.storedChannels <= 2 ? 1 : 3
    let budget = CacheBudget(mostBytes: options.cacheBytes)
    func split(_ pairs: [Pair], _ segments: [[UInt32: UInt8]]?) -> DataSplit {
      DataSplit(
        source: PictureFiles(
          paths: pairs.map(\.picture), channels: channels, budget: budget,
          skipsBroken: options.skipsBroken),
        labels: [Int32](repeating: 0, count: pairs.count), geometry: geometry,
        masks: MaskFiles(pairs.map(\.mask), classes, segments: segments, budget: budget))
    }
    var train = split(found.train, found.coco?.train.segments)
    var test: DataSplit
    if let held = found.test {
      test = split(held, found.coco?.test.segments)
    } else {
      let parts = HeldOut.divide(train.labels, share: options.validationShare)
      (train, test) = (train.selecting(parts.train), train.selecting(parts.test))
    }
    if options.skipsBroken, options.looksThroughHeldOut {
      let whole = test.withoutBroken(threads: options.threads)
      found.notes += whole.broken.map { "left out: \($0)" }
      test = whole.split
    }
    var dataset = try Dataset(
      name: "\(form)", classNames: classes.names, train: train, test: test,
      normalization: .imageNet(channels: channels))
    dataset.notes = found.notes
    dataset.unpaired = found.unpaired
    return dataset
  }

  /// The part of a picture that is seen in training where nobody says how large it is: the size of
  /// the pictures, at most 512 pixels a side.
  private static func usualCrop(of size: PictureSize) -> PictureSize {
    PictureSize(height: min(size.height, 512), width: min(size.width, 512))
  }

  /// A picture and its mask.
  struct Pair: Sendable, Equatable {
    let picture, mask: String
  }
}

// MARK: Classes

extension PicturePairs {
  private static func classes(
    _ form: Form, _ directory: String, _ pairs: [Pair], _ options: DataOptions,
    _ notes: inout [String]
  ) throws -> PixelClasses {
    let ignoring = Set(options.ignoredValues)
    if options.classesFile == nil, ignoring.isEmpty, let known = options.pixelClasses {
      return known
    }
    let own = "\(directory)/\(PixelClasses.fileName)"
    if let path = options.classesFile ?? (FileManager.default.fileExists(atPath: own) ? own : nil) {
      return try .read(path, ignoring: ignoring)
    }
    if let classes = form.classes { return classes }
    let values = try values(in: pairs, threads: options.threads)
    let most = values.subtracting(ignoring).subtracting([PixelClasses.ignored]).max()
    guard let most else {
      throw ABNError(
        .data, "masks in \(quoted(directory))", got: "no pixel that counts",
        wanted: "numbers of classes")
    }
    notes.append(
      "the masks hold numbers up to \(most): \(PixelClasses.fileName) names the classes, "
        + "--ignore-index what does not count")
    do {
      return try PixelClasses(
        (0...most).filter { !ignoring.contains($0) }.map { .init($0, "\($0)") }, ignoring: ignoring)
    } catch {
      throw ABNError(
        .data, "masks in \(quoted(directory))", got: error.got, wanted: error.wanted)
    }
  }

  /// The numbers in masks.
  private static func values(in pairs: [Pair], threads: Int) throws -> Set<Int> {
    struct Found {
      var values: Set<Int> = []
      var faults: [Int: any Error] = [:]
    }
    let found = Mutex(Found())
    forEachPicture(pairs.count, threads: threads) { index in
      do {
        let mask = try StoredPicture.read(pairs[index].mask).picture
        guard mask.channels == 1 else {
          throw ABNError(
            .data, "mask \(quoted(pairs[index].mask))", got: "colours",
            wanted: "numbers of classes, in grey or of a palette",
            fix:
              "Or say which class each colour is: in \(PixelClasses.fileName), or with --class-file."
          )
        }
        var isThere = [Bool](repeating: false, count: 256)
        mask.withPixels { for byte in $0 { isThere[Int(byte)] = true } }
        let values = isThere.indices.filter { isThere[$0] }
        found.withLock { $0.values.formUnion(values) }
      } catch {
        found.withLock { $0.faults[index] = error }
      }
    }
    let all = found.withLock { $0 }
    if let first = all.faults.min(by: { $0.key < $1.key }) { throw first.value }
    return all.values
  }
}

// MARK: Files

extension PicturePairs {
  /// The pairs to learn from and, where they are divided, to be judged by.
  struct Parts {
    var train: [Pair] = []
    var test: [Pair]?
    var notes: [String] = []
    var unpaired: [ABNError] = []
    /// Of COCO's panoptic masks.
    var coco: COCOPanoptic?
    var classes: PixelClasses? { coco?.classes }
    var all: [Pair] { train + (test ?? []) }

    init(_ form: Form, _ directory: String, _ options: DataOptions) throws {
      switch form {
      case .pairs: try readPairs(directory, options)
      case .voc: try readVOC(directory)
      case .cityscapes: try readCityscapes(directory, options)
      case .coco: try readCOCO(directory, options)
      }
    }

    private static let heldOut = ["val", "valid", "validation", "test"]

    private mutating func readPairs(_ directory: String, _ options: DataOptions) throws {
      let top = try FolderListing(directory).folders
      func folder(_ names: [String], _ listing: [String]) -> String? {
        names.lazy.compactMap { name in listing.first { $0.lowercased() == name } }.first
      }
      if let train = folder(["train"], top), let masks = folder(["trainannot"], top) {
        self.train = try match("\(directory)/\(train)", "\(directory)/\(masks)", options)
        for name in Self.heldOut where test == nil {
          guard let own = folder([name], top), let masks = folder([name + "annot"], top) else {
            continue
          }
          test = try match("\(directory)/\(own)", "\(directory)/\(masks)", options)
        }
        return
      }
      guard let pictures = folder(["images"], top).map({ "\(directory)/\($0)" }),
        let masks = folder(["masks", "labels", "annotations"], top).map({ "\(directory)/\($0)" })
      else {
        throw ABNError(
          .data, "folder \(quoted(directory))",
          got: top.isEmpty ? "no folder" : "the folders \(top.prefix(8).joined(separator: ", "))",
          wanted: "train and trainannot, val and valannot; or images and masks")
      }
      let (inside, inMasks) = (
        try FolderListing(pictures).folders, try FolderListing(masks).folders
      )
      let training = ["train", "training"]
      guard let train = folder(training, inside), let own = folder(training, inMasks) else {
        self.train = try match(pictures, masks, options)
        return
      }
      self.train = try match("\(pictures)/\(train)", "\(masks)/\(own)", options)
      if let held = folder(Self.heldOut, inside), let own = folder(Self.heldOut, inMasks) {
        test = try match("\(pictures)/\(held)", "\(masks)/\(own)", options)
      }
    }

    /// Pictures and masks of the same names but for their endings, folder by folder.
    ///
    /// - Parameters:
    ///   - pictureEnd: what a picture's name has besides.
    ///   - maskEnd: what a mask's name has besides; files without it are no masks.
    private mutating func match(
      _ pictures: String, _ masks: String, _ options: DataOptions, pictureEnd: String = "",
      maskEnd: String = ""
    ) throws -> [Pair] {
      var others: [String] = []
      let all = try NamedFiles(pictures, PictureFolder.endings, end: pictureEnd, &others)
      let own = try NamedFiles(masks, ["png"], end: maskEnd, &others)
      if !others.isEmpty, maskEnd.isEmpty {
        notes.append(
          "passed over \(others.count) files that are neither pictures nor masks: "
            + others.prefix(5).map { quoted($0) }.joined(separator: ", ")
            + (others.count > 5 ? " and \(others.count - 5) more" : ""))
      }
      var pairs: [Pair] = []
      for stem in all.stems {
        if let mask = own.paths[stem] {
          pairs.append(Pair(picture: all.paths[stem]!, mask: mask))
          continue
        }
        try alone(
          ABNError(
            .data, "picture \(quoted(all.paths[stem]!))", got: "no mask",
            wanted: "its mask, \(quoted("\(masks)/\(stem)\(maskEnd).png"))",
            fix: didYouMean(stem, in: own.stems.filter { all.paths[$0] == nil })), options)
      }
      for stem in own.stems where all.paths[stem] == nil {
        try alone(
          ABNError(
            .data, "mask \(quoted(own.paths[stem]!))", got: "no picture",
            wanted: "its picture, \(quoted("\(pictures)/\(stem)\(pictureEnd)")) and an ending of "
              + PictureFolder.endings.joined(separator: ", ")), options)
      }
      guard !pairs.isEmpty else {
        throw ABNError(
          .data, "folder \(quoted(pictures))", got: "no pictures", wanted: "pictures with masks")
      }
      return pairs
    }

    private mutating func alone(_ error: ABNError, _ options: DataOptions) throws {
      guard options.skipsBroken else { throw error }
      notes.append("left out: \(error)")
      unpaired.append(error)
    }

    private mutating func readVOC(_ directory: String) throws {
      func pairs(_ list: String) throws -> [Pair] {
        let path = "\(directory)/ImageSets/Segmentation/\(list).txt"
        let source = try ByteSource(path: path, kind: "list")
        let text = try String.checked(source.bytes(at: 0, count: source.byteCount)) {
          source.fault(at: 0, got: $0, wanted: $1)
        }
        let names = text.split(whereSeparator: \.isWhitespace).map(String.init)
        guard !names.isEmpty else {
          throw ABNError(.data, "list \(quoted(path))", got: "no names", wanted: "a name a line")
        }
        return try names.map { name in
          let pair = Pair(
            picture: "\(directory)/JPEGImages/\(name).jpg",
            mask: "\(directory)/SegmentationClass/\(name).png")
          for (file, what) in [(pair.picture, "picture"), (pair.mask, "mask")]
          where !FileManager.default.fileExists(atPath: file) {
            throw ABNError(
              .data, "\(what) \(quoted(file))", got: "nothing there",
              wanted: "the \(what) of \(quoted(name)) in \(quoted(path))")
          }
          return pair
        }
      }
      (train, test) = (try pairs("train"), try pairs("val"))
    }

    private mutating func readCOCO(_ directory: String, _ options: DataOptions) throws {
      guard options.classesFile == nil, options.ignoredValues.isEmpty else {
        throw ABNError(
          .attribute, "data \(quoted("coco:\(directory)"))", got: "--class-file or --ignore-index",
          wanted: "the categories of its annotations", fix: "Leave it out.")
      }
      let found = try COCOPanoptic(directory)
      (coco, train, test) = (found, found.train.pairs, found.test.pairs)
    }

    private mutating func readCityscapes(_ directory: String, _ options: DataOptions) throws {
      func pairs(_ part: String) throws -> [Pair] {
        let folders = ["\(directory)/leftImg8bit/\(part)", "\(directory)/gtFine/\(part)"]
        for folder in folders { try checkDirectory(folder, what: "Cityscapes") }
        return try match(
          folders[0], folders[1], options, pictureEnd: "_leftImg8bit",
          maskEnd: "_gtFine_labelIds")
      }
      (train, test) = (try pairs("train"), try pairs("val"))
    }
  }
}

/// The files below a folder by their names without an ending, in natural order.
private struct NamedFiles {
  /// From the folder on: `aachen/000019`.
  var stems: [String] = []
  var paths: [String: String] = [:]

  /// - Parameters:
  ///   - endings: of the files that are meant, in small letters.
  ///   - end: what their names end in before the ending; it is no part of the stem.
  ///   - others: gets the paths of all other files.
  init(_ folder: String, _ endings: [String], end: String, _ others: inout [String]) throws {
    try collect(folder, "", endings, end, depth: 0, &others)
  }

  private mutating func collect(
    _ folder: String, _ prefix: String, _ endings: [String], _ end: String, depth: Int,
    _ others: inout [String]
  ) throws {
    let listing = try FolderListing(folder)
    if let name = listing.unreadableNames.first {
      throw ABNError(
        .file, "folder \(quoted(folder))", got: "the name \(quoted(name))",
        wanted: "names in UTF-8", fix: "Rename the file.")
    }
    for name in listing.files {
      let parts = name.split(separator: ".", omittingEmptySubsequences: false)
      let stem = parts.dropLast().joined(separator: ".")
      guard parts.count > 1, !stem.isEmpty, endings.contains(parts[parts.count - 1].lowercased()),
        stem.hasSuffix(end)
      else {
        others.append("\(folder)/\(name)")
        continue
      }
      let key = prefix + stem.dropLast(end.count)
      if let known = paths.updateValue("\(folder)/\(name)", forKey: key) {
        throw ABNError(
          .data, "file \(quoted("\(folder)/\(name)"))", got: "\(quoted(known)) beside it",
          wanted: "one file of this name")
      }
      stems.append(key)
    }
    // Links may lead in a circle.
    let deepest = 32
    guard depth < deepest else {
      throw ABNError(
        .data, "folder \(quoted(folder))", got: "more than \(deepest) folders in one another",
        wanted: "fewer", fix: "Is there a link that leads in a circle?")
    }
    for name in listing.folders {
      try collect("\(folder)/\(name)", "\(prefix)\(name)/", endings, end, depth: depth + 1, &others)
    }
  }
}
