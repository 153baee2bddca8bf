import ABNTensors
import Foundation
import Testing

@testable import ABNData

@Suite("Batches")
struct BatchLoaderTests {
  let split: DataSplit
  let normalization: ChannelNormalization

  init() throws {
    split = try randomSplit([103, 3, 6, 5], seed: 3)
    normalization = ChannelNormalization(of: split)
  }

  func loader(
    _ batchSize: Int, seed: UInt64 = 1, isShuffled: Bool = true,
    lastBatch: BatchLoader.LastBatch = .dropped, augmentation: Augmentation? = nil,
    prefetchCount: Int = 2
  ) throws -> BatchLoader {
    try BatchLoader(
      split, normalization: normalization,
      options: .init(
        batchSize: batchSize, seed: seed, isShuffled: isShuffled, lastBatch: lastBatch,
        augmentation: augmentation, prefetchCount: prefetchCount))
  }

  /// A normalized value, computed anew.
  func value(_ byte: UInt8, _ channel: Int) -> Float {
    Float(
      (Double(byte) - normalization.mean[channel]) / normalization.standardDeviation[channel])
  }

  @Test func batchesAreTheNormalizedPictures() throws {
    let loader = try loader(10, lastBatch: .kept)
    let bytes = split.images.elements(UInt8.self)
    var seen: [Int] = []
    for batch in loader.epoch(4) {
      #expect(batch.images.dtype == .float32)
      #expect(batch.labels.dtype == .int64)
      #expect(batch.images.shape == [batch.count, 3, 6, 5])
      #expect(batch.labels.shape == [batch.count, 1])
      #expect(batch.count == (batch.index == 10 ? 3 : 10))
      #expect(batch.labels.elements(Int64.self) == batch.samples.map { Int64(split.labels[$0]) })
      let expected = batch.samples.flatMap { sample in
        (0..<90).map { value(bytes[sample * 90 + $0], $0 / 30) }
      }
      #expect(batch.images.elements(Float.self) == expected)
      seen += batch.samples
    }
    #expect(seen.sorted() == Array(0..<103))
    #expect(seen != Array(0..<103))
  }

  @Test func dropsOrKeepsTheRest() throws {
    #expect(try loader(10).batchesPerEpoch == 10)
    #expect(try loader(10, lastBatch: .kept).batchesPerEpoch == 11)
    #expect(try loader(103, lastBatch: .kept).batchesPerEpoch == 1)
    let dropped = try Array(loader(10).epoch(0))
    #expect(dropped.map(\.count) == [Int](repeating: 10, count: 10))
    #expect(Set(dropped.flatMap(\.samples)).count == 100)
    let kept = try Array(loader(10, isShuffled: false, lastBatch: .kept).epoch(0))
    #expect(kept.flatMap(\.samples) == Array(0..<103))
  }

  /// The numbers come from another implementation of Philox and of the shuffle, in Python.
  @Test func orderIsTheStatedFunctionOfTheSeed() throws {
    func order(_ count: Int, seed: UInt64, epoch: Int) throws -> [Int] {
      try BatchLoader(
        randomSplit([count, 1, 1, 1], seed: 1),
        normalization: ChannelNormalization(mean: [0], standardDeviation: [1]),
        options: .init(batchSize: 1, seed: seed)
      ).order(ofEpoch: epoch)
    }
    #expect(try order(12, seed: 7, epoch: 0) == [6, 3, 9, 7, 1, 0, 8, 5, 10, 11, 4, 2])
    #expect(try order(12, seed: 7, epoch: 1) == [0, 4, 8, 11, 7, 5, 1, 10, 2, 6, 9, 3])
    #expect(
      try order(12, seed: 1 << 63 | 5, epoch: 3) == [8, 10, 4, 5, 0, 11, 7, 3, 2, 9, 6, 1])
    #expect(
      try order(1437, seed: 42, epoch: 2).prefix(8) == [615, 784, 124, 367, 1363, 120, 728, 702])
  }

  /// Each picture comes to each place about equally often.
  @Test func ordersAreUniform() throws {
    let loader = try BatchLoader(
      randomSplit([5, 1, 1, 1], seed: 1),
      normalization: ChannelNormalization(mean: [0], standardDeviation: [1]),
      options: .init(batchSize: 1, seed: 11))
    var counts = [Int](repeating: 0, count: 25)
    let epochs = 4000
    for epoch in 0..<epochs {
      for (place, sample) in loader.order(ofEpoch: epoch).enumerated() {
        counts[place * 5 + sample] += 1
      }
    }
    // 800 expected, deviation 25.3: six of them.
    #expect(counts.allSatisfy { abs($0 - epochs / 5) < 152 }, "\(counts)")
  }

  @Test func sameSeedSameBits() throws {
    let augmentation = Augmentation(cropPadding: 2, flipsHorizontally: true)
    func bits(_ loader: BatchLoader, _ epoch: Int) -> [Tensor] {
      Array(loader.epoch(epoch)).flatMap { [$0.images, $0.labels] }
    }
    let distorted = Augmentation(cropPadding: 1, flipsHorizontally: true, distortion: 0.2)
    for augmentation in [nil, augmentation, distorted] {
      let a = try loader(16, seed: 5, lastBatch: .kept, augmentation: augmentation)
      let direct = try loader(
        16, seed: 5, lastBatch: .kept, augmentation: augmentation, prefetchCount: 0)
      let first = bits(a, 3)
      #expect(bits(a, 3) == first)
      #expect(bits(direct, 3) == first)
      let single = (0..<a.batchesPerEpoch).reversed().map { a.batch($0, ofEpoch: 3) }
      #expect(single.reversed().flatMap { [$0.images, $0.labels] } == first)
      let rest = Array(a.epoch(3, startingAt: 4))
      #expect(rest.map(\.index) == [4, 5, 6])
      #expect(rest.flatMap { [$0.images, $0.labels] } == Array(first[8...]))
      #expect(Array(a.epoch(3, startingAt: 7)).isEmpty)
      #expect(bits(a, 2) != first)
      #expect(
        try bits(loader(16, seed: 6, lastBatch: .kept, augmentation: augmentation), 3) != first)
    }
  }

  /// A picture is changed alike in whatever batch it comes.
  @Test func augmentationDependsOnThePictureOnly() throws {
    func pictures(_ batchSize: Int) throws -> [Int: [Float]] {
      let loader = try loader(batchSize, lastBatch: .kept, augmentation: .cifar)
      var result: [Int: [Float]] = [:]
      for batch in loader.epoch(9) {
        let values = batch.images.elements(Float.self)
        for (place, sample) in batch.samples.enumerated() {
          result[sample] = Array(values[place * 90..<place * 90 + 90])
        }
      }
      return result
    }
    let one = try pictures(1)
    #expect(one.count == 103)
    #expect(try pictures(7) == one)
    #expect(try pictures(103) == one)
  }

  /// Padded, cut and mirrored here by the definition; which cut it was is looked up.
  @Test func augmentationIsThatOfTheDefinition() throws {
    let padding = 2
    let bytes = split.images.elements(UInt8.self)
    func changed(_ sample: Int, _ top: Int, _ left: Int, _ mirrored: Bool) -> [Float] {
      var result: [Float] = []
      for channel in 0..<3 {
        for y in 0..<6 {
          for x in 0..<5 {
            let row = y + top - padding
            let column = (mirrored ? 4 - x : x) + left - padding
            let isInside = (0..<6).contains(row) && (0..<5).contains(column)
            let byte = isInside ? bytes[((sample * 3 + channel) * 6 + row) * 5 + column] : 0
            result.append(value(byte, channel))
          }
        }
      }
      return result
    }
    let loader = try loader(
      103, augmentation: Augmentation(cropPadding: padding, flipsHorizontally: true))
    var counts: [String: Int] = [:]
    for epoch in 0..<6 {
      let batch = loader.batch(0, ofEpoch: epoch)
      let values = batch.images.elements(Float.self)
      for (place, sample) in batch.samples.enumerated() {
        let picture = Array(values[place * 90..<place * 90 + 90])
        var matches = 0
        for (top, left) in (0..<25).map({ ($0 / 5, $0 % 5) }) {
          for mirrored in [false, true]
          where changed(sample, top, left, mirrored) == picture {
            matches += 1
            counts["\(top), \(left), \(mirrored)", default: 0] += 1
          }
        }
        #expect(matches == 1, "picture \(sample) of epoch \(epoch)")
      }
    }
    // 618 pictures over 50 cuts: none would be missed by chance once in 5000 times.
    #expect(counts.count == 50, "\(counts)")
    #expect(counts.values.allSatisfy { $0 < 40 }, "\(counts)")
    // 309 expected to be mirrored, deviation 12.4: six of them.
    let mirrored = counts.filter { $0.key.hasSuffix("true") }.values.reduce(0, +)
    #expect(abs(mirrored - 309) < 75)
  }

  /// The numbers come from another implementation of Philox, in Python.
  @Test func cutsAreTheStatedFunctionOfTheSeed() throws {
    let loader = try BatchLoader(
      randomSplit([4, 1, 9, 9], seed: 1),
      normalization: ChannelNormalization(mean: [0], standardDeviation: [1]),
      options: .init(
        batchSize: 4, seed: 7, isShuffled: false, augmentation: .cifar))
    let values = loader.batch(0, ofEpoch: 3).images.elements(Float.self)
    let bytes = loader.split.images.elements(UInt8.self)
    let cuts = [(-2, -3, false), (2, 1, false), (1, -4, false), (3, 1, true)]
    for (picture, cut) in cuts.enumerated() {
      // The middle of the picture is inside of every cut.
      let column = (cut.2 ? 8 - 4 : 4) + cut.1
      #expect(values[picture * 81 + 40] == Float(bytes[picture * 81 + (4 + cut.0) * 9 + column]))
    }
  }

  @Test func refusesWhatDoesNotFit() throws {
    for size in [104, 0, -1, Int.max] {
      let error = expectError(.attribute) { _ = try loader(size) }
      #expect(error?.wanted.hasPrefix("1...103") == true)
    }
    expectError(.attribute) {
      _ = try loader(1, augmentation: Augmentation(cropPadding: -1, flipsHorizontally: false))
    }
    expectError(.attribute) { _ = try loader(1, prefetchCount: -1) }
    expectError(.attribute) {
      _ = try BatchLoader(
        split.slice(0..<0), normalization: normalization, options: .init(batchSize: 1))
    }
    expectError(.shape) {
      _ = try BatchLoader(
        split, normalization: ChannelNormalization(mean: [1], standardDeviation: [1]),
        options: .init(batchSize: 1))
    }
  }

  @Test func keptBatchesStayAsTheyWere() throws {
    let loader = try loader(4, prefetchCount: 1)
    var kept: [Batch] = []
    for batch in loader.epoch(0) { kept.append(batch) }
    for (index, batch) in kept.enumerated() {
      #expect(batch.images == loader.batch(index, ofEpoch: 0).images)
    }
  }

  @Test(arguments: [0, 1, 2])
  func memoryIsUsedAgain(prefetchCount: Int) throws {
    let loader = try loader(5, prefetchCount: prefetchCount)
    var places: Set<Int> = []
    for batch in loader.epoch(0) {
      places.insert(batch.images.withUnsafeBytes { Int(bitPattern: $0.baseAddress) })
    }
    #expect(places.count <= prefetchCount + 2)
  }

  /// Iterators that are left before their end take their threads with them.
  @Test func threadsEndWithTheirIterators() throws {
    func threads() throws -> Int {
      try FileManager.default.contentsOfDirectory(atPath: "/proc/self/task").count
    }
    let before = try threads()
    let loader = try loader(1)
    for epoch in 0..<300 {
      for batch in loader.epoch(epoch) where batch.index == epoch % 5 { break }
    }
    for _ in 0..<500 where try threads() > before + 50 { usleep(10_000) }
    #expect(try threads() <= before + 50)
  }

  @Test func manyLoadersAtOnce() async throws {
    let loader = try loader(8, augmentation: .cifar)
    let expected = (0..<8).map { epoch in Array(loader.epoch(epoch)).map(\.images) }
    await withTaskGroup(of: (Int, [Tensor]).self) { group in
      for epoch in 0..<8 {
        group.addTask { (epoch, Array(loader.epoch(epoch)).map(\.images)) }
      }
      for await (epoch, images) in group { #expect(images == expected[epoch]) }
    }
  }
}
