// Shapes: B pictures of a batch, C channels, H rows, W columns, K classes.

import ABNImages
import ABNTensors
import Synchronization

/// The memory of one batch, used again for a later one.
///
/// Between `begin` and `finish` several threads may fill different places of it.
final class BatchMemory: @unchecked Sendable {
  // Changed by `begin` and `finish` alone, which one thread calls.
  private var images = Tensor(uninitialized: [0], dtype: .float32)
  private var labels = Tensor(uninitialized: [0], dtype: .int64)
  private var samples: [Int] = []
  private var imageElements = UnsafeMutableBufferPointer<Float>(start: nil, count: 0)
  private var labelElements = UnsafeMutableBufferPointer<Int64>(start: nil, count: 0)

  private struct Events {
    var failure: ABNError?
    var failedPlace = Int.max
    var replaced: [Int: Int] = [:]
  }

  private let events = Mutex(Events())

  /// Makes room for these samples, in memory that no batch that was given away shares.
  ///
  /// - Parameter hasPixelLabels: whether each pixel has a label, else each picture.
  func begin(_ samples: [Int], imageShape: Shape, hasPixelLabels: Bool = false) {
    self.samples = samples
    let shape = Shape([samples.count] + imageShape.dimensions)
    if images.shape != shape {
      images = Tensor(uninitialized: shape, dtype: .float32)
      let map = hasPixelLabels ? Array(imageShape.dimensions.dropFirst()) : []
      labels = Tensor(uninitialized: Shape([samples.count, 1] + map), dtype: .int64)
    }
    images.leaveShared()
    labels.leaveShared()
    imageElements = images.withUnsafeMutableBytes { $0.bindMemory(to: Float.self) }
    labelElements = labels.withUnsafeMutableBytes { $0.bindMemory(to: Int64.self) }
    events.withLock { $0 = Events() }
  }

  /// The pictures of the batch; nothing where there is no memory for them.
  var sampleCount: Int { samples.count }

  /// Calls `body` for places of the batch with the picture that belongs there and where its numbers
  /// go; it gives the label and the picture that it has taken.
  func fill(
    _ places: Range<Int>,
    _ body: (Int, UnsafeMutableBufferPointer<Float>) throws -> (label: Int32, sample: Int)
  ) {
    fill(places) { sample, to, labels in
      let (label, used) = try body(sample, to)
      labels[0] = Int64(label)
      return used
    }
  }

  /// Calls `body` for places of the batch with the picture that belongs there, where its numbers
  /// go, and where its labels go; it gives the picture that it has taken.
  func fill(
    _ places: Range<Int>,
    _ body: (Int, UnsafeMutableBufferPointer<Float>, UnsafeMutableBufferPointer<Int64>) throws ->
      Int
  ) {
    guard !imageElements.isEmpty, !labelElements.isEmpty else { return }
    let size = imageElements.count / samples.count
    let labelSize = labelElements.count / samples.count
    for place in places {
      let to = UnsafeMutableBufferPointer(
        rebasing: imageElements[place * size..<(place + 1) * size])
      let labels = UnsafeMutableBufferPointer(
        rebasing: labelElements[place * labelSize..<(place + 1) * labelSize])
      do {
        let sample = try body(samples[place], to, labels)
        if sample != samples[place] { events.withLock { $0.replaced[place] = sample } }
      } catch {
        // Of several the first of the batch, whichever thread comes first.
        let failure =
          error as? ABNError
          ?? ABNError(.data, "batch", got: "\(error)", wanted: "pictures that can be read")
        labels.update(repeating: 0)
        events.withLock {
          if place < $0.failedPlace { ($0.failure, $0.failedPlace) = (failure, place) }
        }
      }
    }
  }

  /// The batch, when all places are filled.
  func finish(_ loader: BatchLoader, epoch: Int, index: Int) -> Batch {
    let failure = events.withLock { events in
      for (place, sample) in events.replaced { samples[place] = sample }
      return events.failure
    }
    if let failure = failure ?? images.failure ?? labels.failure {
      return Batch(
        images: Tensor(failure: failure, shape: images.shape, dtype: .float32), labels: labels,
        softLabels: nil, samples: samples, epoch: epoch, index: index)
    }
    var softLabels: Tensor?
    if let augmentation = loader.options.augmentation, augmentation.hasSoftLabels,
      let classes = loader.options.classCount
    {
      let mixing = loader.mixing(ofBatch: index, epoch: epoch)
      mixing?.mix(
        imageElements, count: samples.count, channels: images.shape[1],
        PictureSize(height: images.shape[2], width: images.shape[3]))
      softLabels = Tensor(
        augmentation.softLabels(labelElements.map(Int.init), classes: classes, mixing),
        shape: [samples.count, classes])
    }
    return Batch(
      images: images, labels: labels, softLabels: softLabels, samples: samples, epoch: epoch,
      index: index)
  }
}

extension BatchLoader {
  /// The samples of batch `index` of the epoch with this order.
  func samples(_ index: Int, _ order: [Int]) -> [Int] {
    let start = index * options.batchSize
    return Array(order[start..<min(start + options.batchSize, order.count)])
  }

  /// Batch `index` of the epoch with this order, made on the calling thread.
  func make(_ index: Int, epoch: Int, order: [Int], in memory: BatchMemory) -> Batch {
    begin(memory, samples(index, order))
    fill(memory, 0..<memory.sampleCount, epoch: epoch)
    return memory.finish(self, epoch: epoch, index: index)
  }

  /// Makes room for these samples.
  func begin(_ memory: BatchMemory, _ samples: [Int]) {
    memory.begin(samples, imageShape: split.imageShape, hasPixelLabels: split.masks != nil)
  }

  /// Fills places of a batch.
  func fill(_ memory: BatchMemory, _ places: Range<Int>, epoch: Int) {
    if let masks = split.masks { return fillPairs(memory, places, epoch: epoch, masks) }
    let random = changes(ofEpoch: epoch, others: false)
    guard let array = split.source as? PictureArray, seesArraysAsTheyAre else {
      let others = changes(ofEpoch: epoch, others: true)
      memory.fill(places) { sample, to in
        let (used, picture) = try split.source.readable(from: sample)
        var draws = Draws(others, place: sample)
        let changed = seen(picture, sample, random, &draws)
        writeNormalized(changed, values, to: to)
        options.augmentation?.erase(to, channels: changed.channels, changed.size, &draws)
        return (split.labels[used], used)
      }
      return
    }
    let size = split.imageShape.elementCount
    array.images.withUnsafeBytes { from in
      memory.fill(places) { sample, to in
        let from = UnsafeRawBufferPointer(rebasing: from[sample * size..<(sample + 1) * size])
        let window = window(of: sample, random)
        if let distortion = distortion(of: sample, window, random) {
          write(from, to: to, distortion)
        } else {
          write(from, to: to, window)
        }
        if let augmentation = options.augmentation, augmentation.erasing > 0 {
          var draws = Draws(changes(ofEpoch: epoch, others: true), place: sample)
          augmentation.erase(to, channels: split.source.channels, split.geometry.size, &draws)
        }
        return (split.labels[sample], sample)
      }
    }
  }

  /// Whether bytes in memory become numbers without a picture between them.
  private var seesArraysAsTheyAre: Bool {
    split.source.size == split.geometry.size
      && (split.geometry.resize == nil || split.geometry.resize == split.geometry.size.shorterSide)
      && options.augmentation?.changesPictures != true
  }
}
