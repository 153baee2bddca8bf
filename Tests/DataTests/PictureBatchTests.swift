import ABNImages
import ABNTensors
import Testing

@testable import ABNData

@Suite struct PictureBatchTests {
  let folder: TemporaryFolder

  init() throws {
    folder = try TemporaryFolder()
    try folder.writeClasses()
  }

  private func loader(
    _ split: DataSplit, _ augmentation: Augmentation?, batchSize: Int = 4, workers: Int = 1,
    prefetch: Int = 2, seed: UInt64 = 7
  ) throws -> BatchLoader {
    var options = BatchLoader.Options(
      batchSize: batchSize, seed: seed, lastBatch: .kept, augmentation: augmentation,
      prefetchCount: prefetch)
    options.workers = workers
    options.classCount = 2
    return try BatchLoader(
      split, normalization: .imageNet(channels: split.source.channels), options: options)
  }

  private func expectSame(_ a: [Batch], _ b: [Batch], _ what: String) {
    #expect(a.count == b.count)
    for (x, y) in zip(a, b) {
      #expect(x.images == y.images && x.labels == y.labels && x.samples == y.samples, "\(what)")
      #expect(x.softLabels == y.softLabels, "\(what)")
    }
  }

  /// The same bits on any number of threads, with and without the cache, from any batch on.
  @Test(arguments: [AugmentationPolicy.trivial, .random(changes: 3, magnitude: 12)])
  func bitsHangOnSeedEpochAndPictureAlone(policy: AugmentationPolicy) throws {
    let data = try folder.load()
    let plain = try loader(data.train, everyChange(policy), prefetch: 0)
    let cached = try folder.load { $0.cacheBytes = 1 << 20 }
    let partly = try folder.load { $0.cacheBytes = 8000 }
    for epoch in 0..<3 {
      let wanted = Array(plain.epoch(epoch))
      #expect(wanted.map(\.count) == [4, 4, 1])
      for workers in [1, 2, 5] {
        for prefetch in [1, 3] {
          let other = try loader(
            data.train, everyChange(policy), workers: workers, prefetch: prefetch)
          expectSame(Array(other.epoch(epoch)), wanted, "\(workers) workers")
          expectSame(
            Array(other.epoch(epoch, startingAt: 1)), Array(wanted.dropFirst()), "from the second")
        }
      }
      for set in [cached, partly] {
        let other = try loader(set.train, everyChange(policy), workers: 2)
        expectSame(Array(other.epoch(epoch)), wanted, "cache")
      }
      expectSame([plain.batch(2, ofEpoch: epoch)], [wanted[2]], "alone")
    }
    let epochs = (0..<2).map { plain.batch(0, ofEpoch: $0).images }
    #expect(epochs[0] != epochs[1])
    #expect(
      try loader(data.train, everyChange(policy), seed: 8).batch(0, ofEpoch: 0).images != epochs[0])
  }

  /// Without randomness a picture is what the rule of the data prepares.
  @Test func heldOutPicturesAreWhatTheRuleSays() throws {
    let data = try folder.load()
    var options = BatchLoader.Options(batchSize: 5, isShuffled: false)
    options.workers = 2
    let batch = try BatchLoader(data.test, normalization: data.normalization, options: options)
      .batch(0, ofEpoch: 0)
    for i in 0..<5 {
      let wanted = try data.rule.prepare(path: data.test.source.name(of: i)).elements(Float.self)
      let found = batch.images.elements(Float.self)[i * 768..<(i + 1) * 768]
      #expect(found.elementsEqual(wanted))
    }
    #expect(batch.labels.elements(Int64.self) == [0, 0, 0, 1, 1] && batch.softLabels == nil)
  }

  /// Every sample of a rule: Resize, CenterCrop and Normalize as torchvision has them.
  @Test func theRuleIsResizedAndCentred() throws {
    let picture = photograph(30, 50, seed: 4)
    let rule = PictureRule(
      channels: 3, geometry: PictureGeometry(size: PictureSize(side: 16), resize: 20),
      normalization: .imageNet(channels: 3))
    let found = try rule.prepare(picture)
    #expect(found.shape == [1, 3, 16, 16])
    // 20 x 33.3 rounded down; 2 above, (33 - 16) / 2 = 8.5, to the even number 8, at the left.
    let whole = picture.resized(to: PictureSize(height: 20, width: 33))
    let values = found.elements(Float.self)
    for (c, y, x) in [(0, 0, 0), (1, 7, 3), (2, 15, 15)] {
      let byte = Double(whole[y + 2, x + 8][c])
      let wanted = (byte - rule.mean[c]) / rule.deviation[c]
      #expect(abs(Double(values[(c * 16 + y) * 16 + x]) - wanted) < 1e-5)
    }
    let grey = PictureRule(
      channels: 1, geometry: PictureGeometry(size: PictureSize(side: 8)),
      normalization: try ChannelNormalization(mean: [8], standardDeviation: [4]), white: 16)
    let white = try grey.prepare(
      Picture(size: PictureSize(height: 40, width: 20), colour: [255, 255, 255]))
    #expect(white.shape == [1, 1, 8, 8] && white.elements(Float.self).allSatisfy { $0 == 2 })
  }

  /// An array seen through pictures has the bits that it has without them.
  @Test func arraysAsPicturesAreTheSame() throws {
    let split = try randomSplit([12, 3, 9, 7], seed: 5)
    var crop = Augmentation.cifar
    let plain = try loader(split, crop)
    crop.jitter = ColourJitter()
    let pictures = try loader(split, crop)
    expectSame(Array(plain.epoch(1)), Array(pictures.epoch(1)), "pictures")
  }

  @Test func brokenPicturesAreErrorsOrReplaced() throws {
    try folder.write("train/class2/2.jpg", Array("no picture".utf8))
    let whole = try photograph(30, 30, seed: 3).encodedJPEG()
    try folder.write("val/class2/0.jpg", Array(whole.dropLast(whole.count / 2)))
    let strict = try folder.load()
    let batches = Array(try loader(strict.train, .photographs, workers: 2).epoch(0))
    let failures = batches.compactMap(\.images.failure)
    #expect(failures.count == 1 && failures[0].description.contains("train/class2/2.jpg"))
    #expect(throws: ABNError.self) { try batches.forEach { _ = try $0.images.checked() } }
    // Left out where it is judged by, replaced by the next one where it is learned from.
    let data = try folder.load { $0.skipsBroken = true }
    #expect(data.test.count == 4 && data.notes.count == 1)
    #expect(data.notes[0].contains("val/class2/0.jpg"))
    let kept = Array(try loader(data.train, nil, workers: 2).epoch(0))
    #expect(kept.allSatisfy { $0.images.failure == nil })
    let samples = kept.flatMap(\.samples)
    #expect(samples.sorted() == [0, 1, 3, 3, 4, 5, 6, 7, 8])
    let labels = kept.flatMap { $0.labels.elements(Int64.self) }
    #expect(labels.map { Int32($0) } == samples.map { data.train.labels[$0] })
    #expect(data.train.broken.count == 1)
  }

  @Test func timeWaitedIsMeasured() throws {
    let iterator = try loader(folder.load().train, .photographs, prefetch: 0).epoch(0)
      .makeIterator()
    while iterator.next() != nil {}
    #expect(iterator.waitedSeconds > 0 && iterator.waitedShare > 0 && iterator.waitedShare <= 1)
  }

  @Test func optionsOutOfRangeAreErrors() throws {
    let split = try randomSplit([4, 2, 8, 8], seed: 1)
    func expectRefused(_ change: (inout Augmentation) -> Void) {
      var augmentation = Augmentation.photographs
      change(&augmentation)
      #expect(throws: ABNError.self) { try loader(split, augmentation) }
    }
    expectRefused { $0.erasing = 1.5 }
    expectRefused { $0.mixup = -1 }
    expectRefused { $0.labelSmoothing = 1 }
    expectRefused { $0.resizedCrop = ResizedCrop(leastArea: 0) }
    expectRefused { $0.resizedCrop = ResizedCrop(leastRatio: 2, mostRatio: 1) }
    expectRefused { $0.jitter = ColourJitter(hue: 0.6) }
    // Two channels have no colours.
    expectRefused { $0.policy = .trivial }
    var options = BatchLoader.Options(batchSize: 2, augmentation: .photographs)
    options.augmentation?.labelSmoothing = 0.1
    #expect(throws: ABNError.self) {
      try BatchLoader(split, normalization: .imageNet(channels: 2), options: options)
    }
  }
}
