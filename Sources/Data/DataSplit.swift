// Shapes: N pictures, C channels, H rows, W columns.

import ABNImages
import ABNTensors

/// Pictures with their classes: in memory, or in files that are decoded when they are needed.
public struct DataSplit: Sendable, Equatable {
  /// The pictures, one by one.
  package let source: any PictureSource
  /// What of them is seen, where nothing is random.
  package let geometry: PictureGeometry
  /// The class of each picture, N of them.
  public let labels: [Int32]
  /// The classes of the pixels, where these have one each; `labels` are 0 then.
  package let masks: MaskFiles?

  /// The pictures: uint8 [N, C, H, W]. Of pictures in files, which are not held in memory, it is a
  /// tensor with a `failure`.
  public var images: Tensor {
    if let array = source as? PictureArray { return array.images }
    return Tensor(
      failure: ABNError(
        .data, "data split: images", got: "pictures in files", wanted: "pictures in memory",
        fix: "Take them from the batches of a BatchLoader."),
      shape: Shape([count] + imageShape.dimensions), dtype: .uint8)
  }

  /// Pictures [N, C, H, W] with N classes.
  ///
  /// - Throws: the failure of a tensor that could not be made; `ABNError(.dtype)` where the
  ///   pictures are not uint8, `ABNError(.shape)` where they
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
    self.init(
      source: PictureArray(images: images), labels: labels,
      geometry: PictureGeometry(
        size: PictureSize(height: images.shape[2], width: images.shape[3])))
  }

  /// Pictures of a source with as many classes, and masks.
  init(
    source: any PictureSource, labels: [Int32], geometry: PictureGeometry, masks: MaskFiles? = nil
  ) {
    precondition(source.count == labels.count && masks?.paths.count ?? labels.count == labels.count)
    self.source = source
    self.masks = masks
    self.labels = labels
    self.geometry = geometry
  }

  /// The number of pictures.
  public var count: Int { labels.count }

  /// The shape of one picture as it is seen: [C, H, W].
  public var imageShape: Shape { [source.channels, geometry.size.height, geometry.size.width] }

  /// The pictures in a range, copied.
  ///
  /// - Precondition: as for a slice of an array, the range lies within `0...count`.
  public func slice(_ range: Range<Int>) -> DataSplit {
    precondition(
      range.lowerBound >= 0 && range.upperBound <= count, "slice \(range) of \(count) pictures")
    return selecting(Array(range))
  }

  /// These pictures in this order.
  package func selecting(_ indices: [Int]) -> DataSplit {
    DataSplit(
      source: source.selecting(indices), labels: indices.map { labels[$0] }, geometry: geometry,
      masks: masks?.selecting(indices))
  }

  /// The same pictures seen at another geometry.
  package func seen(at geometry: PictureGeometry) -> DataSplit {
    DataSplit(
      source: source.prepared(for: geometry), labels: labels, geometry: geometry, masks: masks)
  }

  /// What of the pictures could not be read so far and was left out or replaced.
  package var broken: [ABNError] { source.broken }

  /// The most bytes of decoded pictures that are kept.
  package var cacheBytes: Int {
    (source as? PictureFiles)?.cacheBytes ?? 0
  }

  /// Same pictures, classes and geometry.
  public static func == (a: DataSplit, b: DataSplit) -> Bool {
    a.labels == b.labels && a.geometry == b.geometry && a.source.isSame(as: b.source)
      && a.masks?.paths == b.masks?.paths && a.masks?.classes == b.masks?.classes
  }
}
