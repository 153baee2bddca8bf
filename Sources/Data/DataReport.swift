import ABNImages
import ABNTensors
import Synchronization

/// What pictures are like: counts, sizes, what is broken, how even the classes are, mean and
/// deviation.
package struct DataReport: Sendable, Encodable {
  /// A part of the data.
  package struct Part: Sendable, Encodable {
    /// `train` or `test`.
    package let name: String
    /// The pictures that can be read.
    package let pictures: Int
    /// The pictures of each class, in the order of the classes; of those with masks, the pictures
    /// that a class is in.
    package let classCounts: [Int]
    /// The pixels of each class, and those that do not count; nil without masks.
    package let pixelCounts: [Int]?
    package let ignoredPixels: Int?
    /// The size of the picture with the fewest pixels, of the middle one, and of the one with the
    /// most.
    package let sizes: [PictureSize]
    /// The pictures of each kind: `JPEG`, `PNG`, or `array`.
    package let kinds: [String: Int]
    /// What cannot be read, and why.
    package let broken: [String]
  }

  package let data: String
  package let classNames: [String]
  package let parts: [Part]
  /// Of the pixels of the pictures to learn from that can be read, channel by channel, in units of
  /// bytes.
  package let mean: [Double]
  package let deviation: [Double]
  /// What was passed over.
  package let notes: [String]
  /// The number of pictures without masks, and masks without pictures; `notes` name them.
  package let unpaired: Int

  /// The number of pictures that cannot be read or have no mask, and of masks without a picture.
  package var brokenCount: Int { parts.reduce(unpaired) { $0 + $1.broken.count } }

  /// Reads the data and decodes every picture at its whole size.
  ///
  /// - Throws: as `DataSource.load`, but for broken pictures, which are counted.
  package init(_ source: DataSource, _ options: DataOptions) throws {
    var options = options
    (options.skipsBroken, options.looksThroughHeldOut) = (true, false)
    let dataset = try source.load(options)
    data = source.description
    classNames = dataset.classNames
    notes = dataset.notes
    unpaired = dataset.unpaired.count
    var parts: [Part] = []
    var sums: [ChannelSums] = []
    for (name, split) in [("train", dataset.train), ("test", dataset.test)] {
      let survey = Survey(split, threads: options.threads)
      parts.append(survey.part(name, split, classes: classNames.count))
      sums.append(survey.sums)
    }
    self.parts = parts
    mean = sums[0].mean
    deviation = sums[0].deviation
  }
}

/// Exact sums over the bytes of pictures, whatever the order in which they come.
private struct ChannelSums: Sendable {
  var pixels = 0
  var sums: [Int]
  var squares: [Int]

  init(channels: Int) {
    sums = [Int](repeating: 0, count: channels)
    squares = sums
  }

  init(_ picture: Picture) {
    self.init(channels: picture.channels)
    pixels = picture.width * picture.height
    picture.withPixels { bytes in
      for channel in 0..<picture.channels {
        var (sum, square) = (0, 0)
        for i in stride(from: channel, to: bytes.count, by: picture.channels) {
          let byte = Int(bytes[i])
          sum += byte
          square += byte * byte
        }
        (sums[channel], squares[channel]) = (sum, square)
      }
    }
  }

  mutating func add(_ other: ChannelSums) {
    pixels += other.pixels
    for i in sums.indices {
      sums[i] += other.sums[i]
      squares[i] += other.squares[i]
    }
  }

  var mean: [Double] { sums.map { Double($0) / Double(max(pixels, 1)) } }
  var deviation: [Double] {
    zip(mean, squares).map { mean, squares in
      max(0, Double(squares) / Double(max(pixels, 1)) - mean * mean).squareRoot()
    }
  }
}

/// A look at every picture of a split.
private struct Survey {
  let sizes: [PictureSize]
  let good: [Int]
  let sums: ChannelSums
  let broken: [ABNError]
  let kinds: [String: Int]
  /// Of masks; no class where there are none.
  let pixels: PixelCounts

  init(_ split: DataSplit, threads: Int) {
    struct Found {
      var sizes: [Int: PictureSize] = [:]
      var sums: ChannelSums
      var broken: [Int: ABNError] = [:]
      var kinds: [String: Int] = [:]
      var pixels: PixelCounts
    }
    let found = Mutex(
      Found(
        sums: ChannelSums(channels: split.source.channels),
        pixels: PixelCounts(classCount: split.masks?.classes.count ?? 0)))
    forEachPicture(split.count, threads: threads) { index in
      do {
        let (picture, kind) = try split.source.original(index)
        let sums = ChannelSums(picture)
        let mask = try split.masks?.mask(
          index, for: picture.size, of: split.source.name(of: index))
        found.withLock {
          if let mask { $0.pixels.add(mask) }
          $0.sizes[index] = picture.size
          $0.sums.add(sums)
          $0.kinds[kind, default: 0] += 1
        }
      } catch {
        let fault =
          error as? ABNError
          ?? ABNError(.data, split.source.name(of: index), got: "\(error)", wanted: "a picture")
        found.withLock { $0.broken[index] = fault }
      }
    }
    let all = found.withLock { $0 }
    good = all.sizes.keys.sorted()
    sizes = all.sizes.values.sorted {
      ($0.width * $0.height, $0.width) < ($1.width * $1.height, $1.width)
    }
    sums = all.sums
    kinds = all.kinds
    pixels = all.pixels
    broken = all.broken.sorted { $0.key < $1.key }.map(\.value)
  }

  func part(_ name: String, _ split: DataSplit, classes: Int) -> DataReport.Part {
    var counts = [Int](repeating: 0, count: classes)
    if split.masks == nil {
      for index in good { counts[Int(split.labels[index])] += 1 }
    } else {
      counts = pixels.pictures
    }
    return DataReport.Part(
      name: name, pictures: good.count, classCounts: counts,
      pixelCounts: split.masks.map { _ in pixels.counts },
      ignoredPixels: split.masks.map { _ in pixels.ignored },
      sizes: sizes.isEmpty ? [] : [sizes[0], sizes[sizes.count / 2], sizes[sizes.count - 1]],
      kinds: kinds, broken: broken.map(\.description))
  }
}
