import ABNImages
import ABNTensors
import Foundation
import Testing

@testable import ABNData

/// What picture and mask have in common when both are changed.
@Suite struct JointChangeTests {
  private let size = PictureSize(height: 50, width: 70)

  /// A picture whose red tells the row, whose green the column, and a mask that is a function of the
  /// same: where pixels go can be seen in both.
  private func pair() -> (picture: Picture, mask: Picture) {
    let picture = Picture(size: size, channels: 3) { to in
      for i in 0..<size.height * size.width {
        to[3 * i] = UInt8(5 * (i / size.width))
        to[3 * i + 1] = UInt8(3 * (i % size.width))
        to[3 * i + 2] = 100
      }
    }
    let mask = Picture(size: size, channels: 1) { to in
      for i in to.indices { to[i] = UInt8(i / size.width / 10 * 7 + i % size.width / 10) }
    }
    return (picture, mask)
  }

  private func everyChange() -> Augmentation {
    var augmentation = Augmentation.scenes
    augmentation.rotation = 20
    return augmentation
  }

  private func draws(_ place: Int) -> Draws {
    Draws(CounterRandom(seed: 9, stream: 4), place: place)
  }

  /// Away from the edges of blocks the mask says of each pixel what its colours say.
  @Test(arguments: [(0.0, false), (20, false), (0, true)])
  func theMaskGoesWhereThePictureGoes(degrees: Double, isFine: Bool) {
    let (picture, mask) = pair()
    var augmentation = everyChange()
    augmentation.rotation = degrees
    if isFine { augmentation.scaling = 1...1 }
    var (compared, outside) = (0, 0)
    for place in 0..<24 {
      var random = draws(place)
      let change = JointChange(
        augmentation, of: size, seen: PictureSize(height: 32, width: 40), &random)
      let seen = change.seen(picture, outside: [1, 2, 250])
      let classes = change.seen(mask: mask)
      #expect(seen.size == PictureSize(height: 32, width: 40) && classes.size == seen.size)
      for row in 0..<32 {
        for column in 0..<40 {
          let colour = seen[row, column]
          let found = classes[row, column][0]
          if found == 255 {
            outside += 1
            continue
          }
          // What lies at the edge of the picture is mixed with what is beside it.
          guard abs(Int(colour[2]) - 100) <= 2 else { continue }
          let (y, x) = (Double(colour[0]) / 5, Double(colour[1]) / 3)
          func isClear(_ place: Double) -> Bool {
            (1.5...8.5).contains(place.truncatingRemainder(dividingBy: 10))
          }
          guard isClear(y), isClear(x) else { continue }
          compared += 1
          if Int(found) != Int(y) / 10 * 7 + Int(x) / 10 {
            Issue.record("\(place): row \(row), column \(column): \(found) at \(y), \(x)")
            return
          }
        }
      }
    }
    #expect(compared > 4000, "\(compared)")
    #expect((outside > 0) == !isFine, "\(outside)")
  }

  /// No class is made that was not there: nothing is interpolated.
  @Test func masksHaveTheirClassesOnly() {
    let mask = Picture(size: size, channels: 1) { to in
      for i in to.indices { to[i] = i % 3 == 0 ? 0 : 200 }
    }
    for place in 0..<12 {
      var random = draws(place)
      let change = JointChange(
        everyChange(), of: size, seen: PictureSize(height: 64, width: 64), &random)
      let found = Set(change.seen(mask: mask).pixels)
      #expect(found.isSubset(of: [0, 200, 255]) && found.count >= 2)
    }
  }

  /// What is outside is the mean of the data, and does not count.
  @Test func whatIsOutsideIsFilled() {
    let (picture, mask) = pair()
    let change = JointChange(middleOf: size, seen: PictureSize(height: 60, width: 60))
    let seen = change.seen(picture, outside: [9, 8, 7])
    let classes = change.seen(mask: mask)
    for (row, column) in [(0, 0), (4, 59), (55, 30), (59, 0)] {
      #expect(seen[row, column] == [9, 8, 7])
      #expect(classes[row, column] == [255])
    }
    // Five rows above, five columns cut off on the left.
    #expect(seen[5, 0] == picture[0, 5])
    #expect(classes[54, 59] == mask[49, 64])
  }

  @Test func scalesAndPartsAreThoseAskedFor() {
    var factors: [Double] = []
    var mirrored = 0
    for place in 0..<400 {
      var random = draws(place)
      let seen = PictureSize(height: 40, width: 40)
      let change = JointChange(everyChange(), of: size, seen: seen, &random)
      factors.append(Double(change.scaled.width) / 70)
      mirrored += change.isMirrored ? 1 : 0
      #expect(abs(change.degrees) <= 20)
      let region = change.region
      if change.scaled.width >= 40 {
        #expect(region.left >= 0 && region.left + 40 <= change.scaled.width)
      } else {
        #expect(region.left <= 0 && region.left + 40 >= change.scaled.width)
      }
    }
    #expect(factors.allSatisfy { (0.49...2.01).contains($0) })
    #expect(abs(factors.reduce(0, +) / 400 - 1.25) < 0.08, "\(factors.reduce(0, +) / 400)")
    #expect((140...260).contains(mirrored))
  }

  @Test func batchesAreTheSameForAnyNumberOfWorkers() throws {
    let folder = try TemporaryFolder()
    try folder.writePairs()
    let data = try folder.loadPairs()
    var options = BatchLoader.Options(batchSize: 2, seed: 3, augmentation: everyChange())
    options.augmentation?.jitter = ColourJitter(brightness: 0.3, contrast: 0.3, saturation: 0.3)
    options.augmentation?.erasing = 0.5
    func batches(_ epoch: Int, workers: Int, cache: Int = 0) throws -> [Batch] {
      let data = try folder.loadPairs { $0.cacheBytes = cache }
      options.workers = workers
      options.prefetchCount = workers == 1 ? 0 : 3
      let loader = try BatchLoader(
        data.train, normalization: data.normalization, options: options)
      return Array(loader.epoch(epoch))
    }
    let first = try batches(0, workers: 1)
    #expect(first.count == 2)
    for batch in first {
      #expect(batch.images.shape == [2, 3, 16, 24] && batch.labels.shape == [2, 1, 16, 24])
      #expect(Set(batch.labels.elements(Int64.self)).isSubset(of: [0, 1, 2, 3, 255]))
    }
    for (workers, cache) in [(2, 0), (5, 1 << 20), (1, 2000)] {
      let again = try batches(0, workers: workers, cache: cache)
      #expect(again.map(\.images) == first.map(\.images))
      #expect(again.map(\.labels) == first.map(\.labels))
    }
    let next = try batches(1, workers: 2)
    #expect(next.map(\.labels) != first.map(\.labels))
    // Without changes: the middle, in the order of the data.
    options = BatchLoader.Options(batchSize: 1, isShuffled: false)
    let plain = try BatchLoader(data.train, normalization: data.normalization, options: options)
      .batch(0, ofEpoch: 0)
    let mask = scene(30, 40, classes: 4, seed: 101)
    let middle = mask.cut(
      PictureRegion(top: 7, left: 8, size: PictureSize(height: 16, width: 24)))
    #expect(plain.labels.elements(Int64.self) == middle.pixels.map(Int64.init))
  }

  @Test func brokenPairsInBatches() throws {
    let folder = try TemporaryFolder()
    try folder.writePairs()
    try folder.write(PixelClasses.fileName, Array("a\nb\nc\nd\n".utf8))
    try folder.write("trainannot/x1.png", Array("no picture".utf8))
    let options = BatchLoader.Options(batchSize: 4, augmentation: .scenes, prefetchCount: 0)
    let data = try folder.loadPairs()
    let batch = try BatchLoader(data.train, normalization: data.normalization, options: options)
      .batch(0, ofEpoch: 0)
    #expect(batch.images.failure?.description.contains("trainannot/x1.png") == true)
    let skipping = try folder.loadPairs { $0.skipsBroken = true }
    let whole = try BatchLoader(
      skipping.train, normalization: data.normalization, options: options
    ).batch(0, ofEpoch: 0)
    #expect(whole.images.failure == nil && !whole.samples.contains(1))
    #expect(skipping.train.broken.count == 1)
  }

  @Test func changesOfThePictureAloneAreRefused() throws {
    let folder = try TemporaryFolder()
    try folder.writePairs()
    let data = try folder.loadPairs()
    func refuse(_ change: (inout Augmentation) -> Void) {
      var options = BatchLoader.Options(batchSize: 2, augmentation: .scenes)
      options.classCount = 4
      change(&options.augmentation!)
      expectError(.attribute) {
        _ = try BatchLoader(data.train, normalization: data.normalization, options: options)
      }
    }
    refuse { $0.mixup = 0.2 }
    refuse { $0.labelSmoothing = 0.1 }
    refuse { $0.policy = .trivial }
    refuse { $0.cropPadding = 2 }
    refuse { $0.scaling = 0.001...2 }
    refuse { $0.rotation = -1 }
    refuse { $0.rotation = .nan }
  }

  @Test func weightsByFrequency() throws {
    var pixels = PixelCounts(classCount: 4)
    func mask(_ numbers: [UInt8]) -> Picture {
      Picture(size: PictureSize(height: 1, width: numbers.count), channels: 1, bytes: numbers)
    }
    pixels.add(mask([0, 0, 0, 1, 255, 255]))
    pixels.add(mask([0, 0, 2, 2]))
    #expect(pixels.counts == [5, 1, 2, 0] && pixels.inMasks == [8, 4, 4, 0])
    #expect(pixels.ignored == 2 && pixels.pictures == [2, 1, 1, 0])
    #expect(ClassWeighting.none.weights(pixels) == nil)
    #expect(ClassWeighting.frequency.weights(pixels) == [0.4, 2, 1, 0])
    // Frequencies 5/8, 1/4, 1/2: the median is 1/2.
    #expect(ClassWeighting.medianFrequency.weights(pixels) == [0.8, 2, 1, 0])
    let folder = try TemporaryFolder()
    try folder.writePairs()
    let data = try folder.loadPairs()
    let one = try ClassWeighting.frequency.weights(of: data.train, threads: 1)
    #expect(one?.count == 4)
    #expect(try ClassWeighting.frequency.weights(of: data.train, threads: 3) == one)
    let counts = try PixelCounts(data.train, #require(data.train.masks), threads: 2)
    let sizes = [30 * 40, 32 * 39, 34 * 38, 36 * 37]
    #expect(counts.counts.reduce(counts.ignored, +) == sizes.reduce(0, +))
  }
}
