import ABNImages
import ABNTensors
import Testing

@testable import ABNData

@Suite struct MixingTests {
  private let split: DataSplit

  init() throws {
    let labels = (0..<12).map { Int32($0 % 3) }
    split = try DataSplit(
      images: Tensor(randomBytes(12 * 3 * 64, seed: 2), shape: [12, 3, 8, 8]), labels: labels)
  }

  private func batch(_ change: (inout Augmentation) -> Void, epoch: Int = 0) throws -> Batch {
    var augmentation = Augmentation.none
    change(&augmentation)
    var options = BatchLoader.Options(batchSize: 6, augmentation: augmentation)
    options.classCount = 3
    return try BatchLoader(
      split, normalization: ChannelNormalization(of: split), options: options
    ).batch(0, ofEpoch: epoch)
  }

  private func rows(_ batch: Batch) throws -> [[Float]] {
    let shares = try #require(batch.softLabels).elements(Float.self)
    return (0..<6).map { Array(shares[3 * $0..<3 * $0 + 3]) }
  }

  @Test func smoothing() throws {
    let found = try batch { $0.labelSmoothing = 0.3 }
    for (row, label) in zip(try rows(found), found.labels.elements(Int64.self)) {
      for k in 0..<3 { #expect(abs(row[k] - (k == Int(label) ? 0.8 : 0.1)) < 1e-6) }
    }
    #expect(try found.images == batch { _ in }.images)
  }

  /// Pictures and labels by one share: each with the one before it.
  @Test func mixup() throws {
    let plain = try batch { _ in }
    var shares: Set<Float> = []
    for epoch in 0..<8 {
      let plain = epoch == 0 ? plain : try batch({ _ in }, epoch: epoch)
      let found = try batch({ $0.mixup = 0.5 }, epoch: epoch)
      let (x, y) = (plain.images.elements(Float.self), found.images.elements(Float.self))
      let labels = plain.labels.elements(Int64.self).map(Int.init)
      let rows = try rows(found)
      // The share, from a pair of different classes.
      let place = try #require((0..<6).first { labels[$0] != labels[($0 + 5) % 6] })
      let share = rows[place][labels[place]]
      shares.insert(share)
      for i in 0..<6 {
        let other = (i + 5) % 6
        for k in 0..<3 {
          let wanted = share * (labels[i] == k ? 1 : 0) + (1 - share) * (labels[other] == k ? 1 : 0)
          #expect(abs(rows[i][k] - wanted) < 1e-6)
        }
        for j in 0..<192 {
          let wanted = share * x[i * 192 + j] + (1 - share) * x[other * 192 + j]
          #expect(abs(y[i * 192 + j] - wanted) < 1e-5)
        }
      }
    }
    #expect(shares.count == 8)
  }

  /// Every pixel is of one of both, and the share of the label is that of the pixels.
  @Test func cutmix() throws {
    var cut = 0
    for epoch in 0..<12 {
      let plain = try batch({ _ in }, epoch: epoch)
      let found = try batch({ $0.cutmix = 1 }, epoch: epoch)
      let (x, y) = (plain.images.elements(Float.self), found.images.elements(Float.self))
      let labels = plain.labels.elements(Int64.self).map(Int.init)
      let rows = try rows(found)
      for i in 0..<6 {
        let other = (i + 5) % 6
        let own = (0..<192).count { y[i * 192 + $0] == x[i * 192 + $0] }
        let theirs = (0..<192).count { y[i * 192 + $0] == x[other * 192 + $0] }
        #expect(
          (0..<192).allSatisfy { [x[i * 192 + $0], x[other * 192 + $0]].contains(y[i * 192 + $0]) })
        cut += own < 192 ? 1 : 0
        if labels[i] != labels[other] {
          let share = rows[i][labels[i]]
          // Bytes that are equal in both count for both.
          #expect(Float(own) / 192 >= share - 1e-6 && Float(theirs) / 192 >= 1 - share - 1e-6)
        }
      }
    }
    #expect(cut > 30)
  }

  @Test func oneOfBothForEachBatch() throws {
    var kinds: Set<String> = []
    for index in 0..<20 {
      var draws = Draws(CounterRandom(seed: 1, stream: 2), place: index)
      var both = Augmentation.none
      (both.mixup, both.cutmix) = (1, 1)
      switch try #require(Mixing(both, &draws, size: PictureSize(side: 8))) {
      case .added: kinds.insert("added")
      case .cut: kinds.insert("cut")
      }
    }
    #expect(kinds.count == 2)
  }

  @Test func draws() {
    var draws = Draws(CounterRandom(seed: 5, stream: 6), place: 3)
    for alpha in [0.2, 1, 4] {
      let values = (0..<2000).map { _ in draws.beta(alpha) }
      let mean = values.reduce(0, +) / 2000
      let variance = values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / 2000
      // Beta(a, a) has the mean 1/2 and the variance 1 / (4 (2 a + 1)).
      #expect(abs(mean - 0.5) < 0.05)
      #expect(abs(variance * 4 * (2 * alpha + 1) - 1) < 0.15, "\(alpha): \(variance)")
      #expect(values.allSatisfy { (0...1).contains($0) })
    }
    let below = (0..<3000).map { _ in draws.below(3) }
    #expect((0..<3).allSatisfy { k in (900...1100).contains(below.count { $0 == k }) })
  }

  @Test func erasing() throws {
    let plain = try batch { _ in }.images.elements(Float.self)
    let erased = try batch { $0.erasing = 1 }.images.elements(Float.self)
    for i in 0..<6 {
      let changed = (0..<64).filter { p in
        (0..<3).contains { plain[i * 192 + $0 * 64 + p] != erased[i * 192 + $0 * 64 + p] }
      }
      #expect(changed.allSatisfy { p in (0..<3).allSatisfy { erased[i * 192 + $0 * 64 + p] == 0 } })
      let (rows, columns) = (changed.map { $0 / 8 }, changed.map { $0 % 8 })
      if let top = rows.min(), let bottom = rows.max(), let left = columns.min(),
        let right = columns.max()
      {
        #expect(changed.count == (bottom - top + 1) * (right - left + 1), "a rectangle")
      }
    }
    #expect(plain != erased)
  }

  /// The random part lies inside, and its area and ratio are as they are asked for.
  @Test func randomParts() {
    let size = PictureSize(height: 343, width: 500)
    let crop = ResizedCrop(leastArea: 0.2, mostArea: 0.9)
    var areas: [Double] = []
    for sample in 0..<500 {
      var draws = Draws(CounterRandom(seed: 9, stream: 1), place: sample)
      let part = crop.region(of: size, &draws)
      #expect(part.top >= 0 && part.left >= 0)
      #expect(part.top + part.size.height <= 343 && part.left + part.size.width <= 500)
      let ratio = Double(part.size.width) / Double(part.size.height)
      #expect(ratio > 0.73 && ratio < 1.36)
      areas.append(Double(part.size.width * part.size.height) / (343 * 500))
    }
    #expect(areas.allSatisfy { $0 > 0.19 && $0 < 0.91 })
    #expect(areas.min()! < 0.25 && areas.max()! > 0.8)
    // A line has no part of these ratios: its middle, as far as it goes.
    var draws = Draws(CounterRandom(seed: 9, stream: 2), place: 0)
    let line = ResizedCrop(leastArea: 1).region(of: PictureSize(height: 3, width: 99), &draws)
    #expect(line == PictureRegion(top: 0, left: 47, size: PictureSize(height: 3, width: 4)))
  }
}
