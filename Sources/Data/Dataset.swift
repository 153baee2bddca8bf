// Shapes: N pictures, C channels, H rows, W columns.

import ABNTensors

/// Pictures with their classes.
public struct DataSplit: Sendable, Equatable {
  /// The pictures: uint8 [N, C, H, W].
  public let images: Tensor
  /// The class of each picture, N of them.
  public let labels: [Int32]

  /// Pictures [N, C, H, W] with N classes.
  ///
  /// - Throws: the failure of a tensor that could not be made; `ABNError(.dtype)` where the pictures are not
  ///   uint8, `ABNError(.shape)` where they
  ///   have not four dimensions, a dimension but N is 0, or N is not the number of classes.
  public init(images: Tensor, labels: [Int32]) throws {
    guard images.dtype == .uint8 else {
      throw ABNError(
        .dtype, "data split: images", got: images.dtype.rawValue, wanted: DType.uint8.rawValue)
    }
    _ = try images.checked()
    guard images.shape.rank == 4, images.shape.dimensions.dropFirst().allSatisfy({ $0 > 0 }) else {
      throw ABNError(
        .shape, "data split: images", got: "shape \(images.shape)", wanted: "[N, C, H, W]")
    }
    guard images.shape[0] == labels.count else {
      throw ABNError(
        .shape, "data split", got: "\(images.shape[0]) images and \(labels.count) labels",
        wanted: "as many labels as images")
    }
    self.images = images
    self.labels = labels
  }

  /// The number of pictures.
  public var count: Int { labels.count }

  /// The shape of one picture: [C, H, W].
  public var imageShape: Shape { Shape(Array(images.shape.dimensions.dropFirst())) }

  /// The pictures in a range, copied.
  ///
  /// - Precondition: as for a slice of an array, the range lies within `0...count`.
  public func slice(_ range: Range<Int>) -> DataSplit {
    precondition(
      range.lowerBound >= 0 && range.upperBound <= count, "slice \(range) of \(count) pictures")
    var shape = images.shape
    shape[0] = range.count
    var part = Tensor(uninitialized: shape, dtype: .uint8)
    let size = imageShape.elementCount
    part.withUnsafeMutableBytes { to in
      images.withUnsafeBytes { from in
        to.copyMemory(
          from: UnsafeRawBufferPointer(
            rebasing: from[range.lowerBound * size..<range.upperBound * size]))
      }
    }
    return DataSplit(checkedImages: part, labels: Array(labels[range]))
  }

  private init(checkedImages: Tensor, labels: [Int32]) {
    images = checkedImages
    self.labels = labels
  }
}

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
  /// Mean and standard deviation of each channel of `train`.
  public let normalization: ChannelNormalization

  /// A data set.
  ///
  /// - Throws: `ABNError(.data)` where a split is empty or a label is outside of
  ///   `0..<classNames.count`, `ABNError(.shape)` where the two splits hold pictures of different
  ///   shapes.
  public init(name: String, classNames: [String], train: DataSplit, test: DataSplit) throws {
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
    normalization = ChannelNormalization(of: train)
  }

  /// The number of classes.
  public var classCount: Int { classNames.count }

  /// The shape of one picture: [C, H, W].
  public var imageShape: Shape { train.imageShape }
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
  /// A channel whose bytes are all equal, and that of no pictures, gets deviation 1.
  public init(of split: DataSplit) {
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
