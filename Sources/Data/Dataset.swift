// Shapes: N pictures, C channels, H rows, W columns.

import ABNImages
import ABNTensors

/// Pictures to learn from, pictures to be judged by, and what the classes are called.
public struct Dataset: Sendable {
  /// What the data is called: `digits`.
  public let name: String
  /// The name of each class; label i is class i.
  public let classNames: [String]
  /// The pictures to learn from.
  public let train: DataSplit
  /// The pictures to be judged by. That none of them is in `train` is the caller's business.
  public let test: DataSplit
  /// What makes the bytes of pictures numbers that a network takes: mean and standard deviation of
  /// each channel of `train` or, of pictures in files, those of ImageNet.
  public let normalization: ChannelNormalization
  /// What white is in the units of the stored bytes: 255, and 16 for the built-in digits.
  package var white = 255.0
  /// What whoever trains on these data should know: files that were passed over.
  package var notes: [String] = []
  /// Pictures without masks, and masks without pictures, that were left out.
  package var unpaired: [ABNError] = []

  /// A data set.
  ///
  /// - Throws: `ABNError(.data)` where a split is empty or a label is outside of
  ///   `0..<classNames.count`, `ABNError(.shape)` where the two splits hold pictures of different
  ///   shapes.
  public init(name: String, classNames: [String], train: DataSplit, test: DataSplit) throws {
    try self.init(
      name: name, classNames: classNames, train: train, test: test,
      normalization: ChannelNormalization(of: train))
  }

  /// A data set with a normalization of one's own choice.
  package init(
    name: String, classNames: [String], train: DataSplit, test: DataSplit,
    normalization: ChannelNormalization
  ) throws {
    for (part, split) in [("train", train), ("test", test)] {
      guard split.count > 0 else {
        throw ABNError(
          .data, "data set \(quoted(name)): \(part)", got: "no pictures", wanted: "at least one")
      }
      if let place = split.labels.firstIndex(where: { !classNames.indices.contains(Int($0)) }) {
        throw ABNError(
          .data, "data set \(quoted(name)): \(part)", at: "picture \(place)",
          got: "label \(split.labels[place])", wanted: "0...\(classNames.count - 1)")
      }
    }
    guard train.imageShape == test.imageShape else {
      throw ABNError(
        .shape, "data set \(quoted(name))",
        got: "pictures \(train.imageShape) to learn from and \(test.imageShape) to be judged by",
        wanted: "one shape")
    }
    self.name = name
    self.classNames = classNames
    self.train = train
    self.test = test
    self.normalization = normalization
  }

  /// The classes of pixels, where these have one each; nil where pictures have.
  package var pixelClasses: PixelClasses? { train.masks?.classes }

  /// The number of classes.
  public var classCount: Int { classNames.count }

  /// The shape of one picture: [C, H, W].
  public var imageShape: Shape { train.imageShape }

  /// How a picture is prepared for a network that was trained on these data.
  package var rule: PictureRule {
    PictureRule(
      channels: imageShape[0], geometry: test.geometry, normalization: normalization, white: white)
  }

  /// The same data seen at another geometry.
  package func seen(at geometry: PictureGeometry) throws -> Dataset {
    try geometry.validate()
    return try replacing(train: train.seen(at: geometry), test: test.seen(at: geometry))
  }

  /// The same data with other pictures of the same classes, or another normalization.
  package func replacing(
    train: DataSplit? = nil, test: DataSplit? = nil, normalization: ChannelNormalization? = nil
  ) throws -> Dataset {
    var changed = try Dataset(
      name: name, classNames: classNames, train: train ?? self.train, test: test ?? self.test,
      normalization: normalization ?? self.normalization)
    (changed.white, changed.notes, changed.unpaired) = (white, notes, unpaired)
    return changed
  }
}

/// What makes the bytes of a picture numbers of mean 0 and deviation 1, channel by channel.
///
///     normalized = (byte - mean[channel]) / standardDeviation[channel]
///
/// Both are in units of the stored bytes, so that no scale (255, or 16 for the digits) matters.
public struct ChannelNormalization: Sendable, Hashable {
  /// The mean of each channel.
  public let mean: [Double]
  /// The standard deviation of each channel; all above 0.
  public let standardDeviation: [Double]

  /// Numbers of one's own choice.
  ///
  /// - Throws: `ABNError(.attribute)` where the counts differ, a number is not finite, or a
  ///   deviation is not above 0.
  public init(mean: [Double], standardDeviation: [Double]) throws {
    guard mean.count == standardDeviation.count, mean.allSatisfy(\.isFinite),
      standardDeviation.allSatisfy({ $0.isFinite && $0 > 0 })
    else {
      throw ABNError(
        .attribute, "channel normalization",
        got: "mean \(mean), standard deviation \(standardDeviation)",
        wanted: "as many finite means as finite deviations above 0")
    }
    self.mean = mean
    self.standardDeviation = standardDeviation
  }

  /// Mean and population deviation of the pictures, from exact integer sums.
  ///
  /// A channel whose bytes are all equal, and that of no pictures, gets deviation 1. Pictures in
  /// files, which would all have to be decoded, get the numbers of ImageNet.
  public init(of split: DataSplit) {
    guard split.source is PictureArray else {
      self = .imageNet(channels: split.source.channels)
      return
    }
    let (channels, plane) = (split.images.shape[1], split.images.shape[2] * split.images.shape[3])
    var means: [Double] = []
    var deviations: [Double] = []
    for channel in 0..<channels {
      let histogram = split.images.withUnsafeBytes { bytes in
        var counts = [Int](repeating: 0, count: 256)
        counts.withUnsafeMutableBufferPointer { counts in
          for picture in 0..<split.count {
            let start = (picture * channels + channel) * plane
            for byte in UnsafeRawBufferPointer(rebasing: bytes[start..<start + plane]) {
              counts[Int(byte)] += 1
            }
          }
        }
        return counts
      }
      // Below 2^63 for more than 10^14 bytes.
      let count = Double(max(1, split.count * plane))
      let sum = histogram.enumerated().reduce(0) { $0 + $1.offset * $1.element }
      let squares = histogram.enumerated().reduce(0) { $0 + $1.offset * $1.offset * $1.element }
      let mean = Double(sum) / count
      let isConstant = histogram.count { $0 > 0 } <= 1
      let variance = Double(squares) / count - mean * mean
      means.append(mean)
      deviations.append(isConstant ? 1 : variance.squareRoot())
    }
    mean = means
    standardDeviation = deviations
  }
}

extension ChannelNormalization {
  /// The numbers of ImageNet, with which most published weights were trained; for grey pictures
  /// their mean.
  ///
  /// Source: torchvision, `transforms.Normalize` of its models.
  package static func imageNet(channels: Int) -> ChannelNormalization {
    let (mean, deviation) = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    func bytes(_ shares: [Double]) -> [Double] {
      let bytes = shares.map { $0 * 255 }
      return channels == 3
        ? bytes : [Double](repeating: bytes.reduce(0, +) / 3, count: channels)
    }
    return ChannelNormalization(unchecked: bytes(mean), bytes(deviation))
  }

  private init(unchecked mean: [Double], _ standardDeviation: [Double]) {
    self.mean = mean
    self.standardDeviation = standardDeviation
  }
}
