import ABNImages
import Foundation
import InPlaceABN
import Testing

@testable import ABNTraining

/// Which predictions a report shows: against sorting all of them.
@Suite struct PickTests {
  private let classes = 7

  private func logits(_ count: Int, seed: UInt64) -> (Tensor, [Int64]) {
    let random = CounterRandom(seed: seed, stream: 3)
    let values = (0..<count * classes).map { index -> Float in
      // Some logits are equal, some are no numbers.
      let value = Float((random.uniform(UInt64(index)) * 40).rounded()) / 4
      return random.uniform(UInt64(index + 1_000_000)) < 0.01 ? .nan : value
    }
    let labels = (0..<count).map {
      Int64(random.bits(UInt64($0 + 5_000_000)) % UInt32(classes))
    }
    return (Tensor(values, shape: [count, classes]), labels)
  }

  @Test func theSurestAreKept() throws {
    var metrics = ClassificationMetrics(classCount: classes)
    var all: [(sample: Int, isRight: Bool, probability: Double)] = []
    for part in 0..<6 {
      let count = 40
      let (logits, labels) = logits(count, seed: UInt64(part))
      let samples = (0..<count).map { part * count + $0 }
      let own = Tensor(labels, shape: [count, 1])
      try metrics.add(logits: logits, labels: own, meanLoss: 1, samples: samples)
      let values = logits.elements(Float.self)
      for row in 0..<count {
        let scores = values[row * classes..<(row + 1) * classes].map { Double($0) }
        let numbers = scores.filter { !$0.isNaN }
        guard let best = numbers.max() else { continue }
        let place = scores.firstIndex(of: best)!
        let sum = numbers.reduce(0) { $0 + exp($1 - best) }
        all.append((samples[row], place == Int(labels[row]), 1 / sum))
      }
    }
    for isRight in [true, false] {
      let wanted = all.filter { $0.isRight == isRight }
        .sorted { ($1.probability, $0.sample) < ($0.probability, $1.sample) }
        .prefix(PredictionPicks.most)
      let picks = isRight ? metrics.picks.right : metrics.picks.wrong
      #expect(picks.map(\.sample) == wanted.map(\.sample))
      for (pick, wanted) in zip(picks, wanted) {
        #expect(abs(pick.probability - wanted.probability) < 1e-12)
      }
      #expect(picks.count == PredictionPicks.most)
    }
    // Nobody wants to see pictures without a number.
    var silent = ClassificationMetrics(classCount: classes)
    let (logits, labels) = logits(5, seed: 1)
    try silent.add(logits: logits, labels: Tensor(labels, shape: [5]), meanLoss: 1)
    #expect(silent.picks == PredictionPicks())
  }

  private func classes(_ size: PictureSize, _ seed: UInt64, most: Int) -> Picture {
    let random = CounterRandom(seed: seed, stream: 4)
    return Picture(size: size, channels: 1) { to in
      for i in to.indices { to[i] = UInt8(random.bits(UInt64(i)) % UInt32(most)) }
    }
  }

  @Test func theBestAndTheWorstMasksAreKept() throws {
    let size = PictureSize(height: 4, width: 700)
    var picks = SegmentationPicks()
    var all: [(sample: Int, value: Double)] = []
    for sample in 0..<30 {
      let predicted = classes(size, UInt64(sample), most: 3)
      // Class 3 does not count.
      var mask = classes(size, 100 + UInt64(sample), most: 4)
      mask.withMutablePixels { to in
        predicted.withPixels { from in
          for i in to.indices where i < sample * 90 { to[i] = from[i] }
          for i in to.indices where to[i] == 3 { to[i] = 255 }
        }
      }
      picks.add(sample: sample, predicted: predicted, mask: mask, classCount: 3)
      let (own, found) = (mask.pixels, predicted.pixels)
      let counted = own.indices.filter { own[$0] != 255 }
      let shares = (0..<3).map { number in
        let both = counted.count { own[$0] == number && found[$0] == number }
        let either = counted.count { own[$0] == number || found[$0] == number }
        return Double(both) / Double(either)
      }
      all.append((sample, shares.reduce(0, +) / 3))
    }
    let sorted = all.sorted { ($0.value, $0.sample) < ($1.value, $1.sample) }
    let most = SegmentationPicks.most
    #expect(picks.worst.map(\.sample) == sorted.prefix(most).map(\.sample))
    #expect(picks.best.map(\.sample) == sorted.suffix(most).reversed().map(\.sample))
    for pick in picks.best + picks.worst {
      #expect(abs(pick.meanIoU - all[pick.sample].value) < 1e-12)
      #expect(pick.predicted.width == SegmentationPicks.longestSide)
    }
    // Nothing counts in this one.
    let none = Picture(size: size, colour: [255])
    let before = picks
    picks.add(sample: 99, predicted: classes(size, 1, most: 3), mask: none, classCount: 3)
    #expect(before == picks)
  }
}
