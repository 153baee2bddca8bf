// Shapes: K classes, H rows, W columns of a picture.

import ABNData
import ABNImages
import ABNTensors

/// The pictures whose pixels are predicted best and worst, with their predictions, while an
/// evaluation goes: bounded, however many pictures there are.
package struct SegmentationPicks: Sendable, Equatable {
  /// One picture.
  package struct Pick: Sendable, Equatable {
    /// Which picture of the split.
    package let sample: Int
    /// The mean over the classes that are there or predicted of intersection over union, of this
    /// picture's pixels alone.
    package let meanIoU: Double
    /// The predicted classes, made smaller.
    package let predicted: Picture
  }

  /// How many are kept of each.
  package static let most = 6
  /// Predictions are kept no larger than this: K x H x W of a photograph would be many megabytes.
  static let longestSide = 320

  /// The best first, and the worst first; of equal ones the picture with the lower number.
  package private(set) var best: [Pick] = []
  package private(set) var worst: [Pick] = []

  package init() {}

  /// Looks at a picture.
  ///
  /// - Parameters:
  ///   - predicted: the classes, [H, W].
  ///   - mask: the true ones; `PixelClasses.ignored` where a pixel does not count.
  package mutating func add(sample: Int, predicted: Picture, mask: Picture, classCount: Int) {
    guard let meanIoU = Self.meanIoU(predicted, mask, classCount) else { return }
    func isBefore(_ value: Double, _ other: Pick, _ isBest: Bool) -> Bool {
      value != other.meanIoU ? (value > other.meanIoU) == isBest : sample < other.sample
    }
    var pick: Pick?
    func insert(_ picks: inout [Pick], isBest: Bool) {
      if picks.count == Self.most, !isBefore(meanIoU, picks[Self.most - 1], isBest) { return }
      let new =
        pick
        ?? Pick(
          sample: sample, meanIoU: meanIoU,
          predicted: predicted.sampled(longestSide: Self.longestSide))
      pick = new
      let place = picks.firstIndex { isBefore(meanIoU, $0, isBest) } ?? picks.count
      picks.insert(new, at: place)
      if picks.count > Self.most { picks.removeLast() }
    }
    insert(&best, isBest: true)
    insert(&worst, isBest: false)
  }

  /// nil where no pixel counts.
  private static func meanIoU(_ predicted: Picture, _ mask: Picture, _ classCount: Int) -> Double? {
    var (own, found, right) = (
      [Int](repeating: 0, count: 256), [Int](repeating: 0, count: 256),
      [Int](repeating: 0, count: 256)
    )
    mask.withPixels { mask in
      predicted.withPixels { predicted in
        for i in 0..<min(mask.count, predicted.count) where Int(mask[i]) < classCount {
          own[Int(mask[i])] += 1
          found[Int(predicted[i])] += 1
          if mask[i] == predicted[i] { right[Int(mask[i])] += 1 }
        }
      }
    }
    let shares = (0..<classCount).compactMap { number -> Double? in
      let union = own[number] + found[number] - right[number]
      return union > 0 ? Double(right[number]) / Double(union) : nil
    }
    return shares.isEmpty ? nil : shares.reduce(0, +) / Double(shares.count)
  }

  /// The groups of a report: picture, prediction and truth side by side; a pair that cannot be read
  /// any more is left out.
  package func groups(of data: ShownData) -> [PredictionGroup] {
    guard let masks = data.split.masks else { return [] }
    func item(_ pick: Pick) throws -> PredictionGroup.Item {
      let pair = try data.split.readablePair(from: pick.sample, masks)
      let picture = pair.picture.fitted(to: Self.shownSide)
      func drawn(_ classes: Picture) -> Picture {
        masks.classes.overlay(classes.sampled(to: picture.size), upon: picture, share: 0.6)
      }
      return PredictionGroup.Item(
        name: data.split.source.name(of: pair.index), score: pick.meanIoU, scoreName: "mean IoU",
        pictures: [
          try .init("picture", picture, longestSide: Self.shownSide),
          try .init("prediction", drawn(pick.predicted), longestSide: Self.shownSide),
          try .init("truth", drawn(pair.mask), longestSide: Self.shownSide),
        ])
    }
    // Of few pictures the best are not shown once more as the worst.
    let known = Set(worst.map(\.sample))
    return [
      PredictionGroup(title: "Worst", isRight: false, items: worst.compactMap { try? item($0) }),
      PredictionGroup(
        title: "Best", isRight: true,
        items: best.filter { !known.contains($0.sample) }.compactMap { try? item($0) }),
    ]
  }

  private static let shownSide = 240
}

extension Picture {
  /// The nearest pixels: classes are not mixed.
  fileprivate func sampled(to size: PictureSize) -> Picture {
    guard size != self.size else { return self }
    return Picture(size: size, channels: channels) { to in
      withPixels { from in
        for row in 0..<size.height {
          let line = (2 * row + 1) * height / (2 * size.height)
          for column in 0..<size.width {
            let source = line * width + (2 * column + 1) * width / (2 * size.width)
            for channel in 0..<channels {
              to[(row * size.width + column) * channels + channel] =
                from[source * channels + channel]
            }
          }
        }
      }
    }
  }

  fileprivate func sampled(longestSide: Int) -> Picture {
    let longest = max(height, width)
    guard longest > longestSide else { return self }
    func part(_ side: Int) -> Int { max(1, (side * longestSide + longest / 2) / longest) }
    return sampled(to: PictureSize(height: part(height), width: part(width)))
  }
}
