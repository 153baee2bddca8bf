// Shapes: K classes, H rows, W columns of a picture.

import ABNData
import ABNFormats
import ABNImages
import ABNModelFiles
import ABNTensors
import Foundation

/// How the classes of pixels that a network gives compare with those of masks: one confusion matrix
/// over all pictures, each at its full size, and losses.
///
/// Pixels that do not count in the masks take no part.
package struct SegmentationMetrics: Sendable, Codable, Equatable {
  /// K.
  package let classCount: Int
  /// The pictures counted.
  package private(set) var count = 0
  /// How often a pixel of a class was taken for another: [K, K], a row for each class.
  private var confusion: [Int]
  /// The sum of the pixels' losses, -log of the probability of the pixel's class.
  package private(set) var lossSum = 0.0
  /// How well boundaries fit; nil where that was not looked at.
  package private(set) var boundaries: BoundaryScores?
  /// The pictures that are predicted best and worst, of those whose number was said.
  package private(set) var picks = SegmentationPicks()

  // Numbers alone: pictures are for whoever looks on.
  private enum CodingKeys: String, CodingKey {
    case classCount, count, confusion, lossSum, boundaries
  }

  /// Nothing counted yet.
  ///
  /// - Parameter looksAtBoundaries: whether boundaries are compared too.
  package init(classCount: Int, looksAtBoundaries: Bool = false) {
    precondition(classCount >= 1, "a segmentation has a class")
    self.classCount = classCount
    confusion = Array(repeating: 0, count: classCount * classCount)
    boundaries = looksAtBoundaries ? BoundaryScores(classCount: classCount) : nil
  }

  /// Counts a picture.
  ///
  /// - Parameters:
  ///   - scores: what the network gives.
  ///   - mask: the classes, of the same size; `PixelClasses.ignored` where a pixel does not count.
  ///   - sample: which picture of its data it is; nil: nobody wants to see it.
  /// - Returns: the classes that it was taken for.
  /// - Throws: `ABNError(.shape)` for other sizes, `.data` for scores that are no numbers and for
  ///   a class that is none.
  @discardableResult
  package mutating func add(
    _ scores: PixelScores, mask: Picture, sample: Int? = nil
  ) throws -> Picture {
    guard scores.size == mask.size, scores.classCount == classCount, mask.channels == 1 else {
      throw ABNError(
        .shape, "metrics of a segmentation",
        got: "scores of \(scores.classCount) classes for \(scores.size) pixels",
        wanted: "\(classCount) classes for \(mask.size)")
    }
    let predicted = try scores.classes()
    try add(predicted, mask: mask)
    if let sample {
      picks.add(sample: sample, predicted: predicted, mask: mask, classCount: classCount)
    }
    let plane = mask.width * mask.height
    lossSum += mask.withPixels { own in
      scores.values.withUnsafeBufferPointer { values in
        var sum = 0.0
        for i in 0..<plane where own[i] != UInt8(PixelClasses.ignored) {
          // A probability that float32 rounds to 0 counts as the smallest above it.
          sum -= log(Double(max(values[Int(own[i]) * plane + i], .leastNonzeroMagnitude)))
        }
        return sum
      }
    }
    return predicted
  }

  /// Counts classes alone, without a loss.
  mutating func add(_ predicted: Picture, mask: Picture) throws {
    let (ignored, classes) = (PixelClasses.ignored, classCount)
    let bad = confusion.withUnsafeMutableBufferPointer { counts in
      mask.withPixels { own -> UInt8? in
        predicted.withPixels { predicted in
          if let bad = own.first(where: { Int($0) >= classes && Int($0) != ignored }) { return bad }
          for i in 0..<own.count where Int(own[i]) != ignored {
            counts[Int(own[i]) * classes + Int(predicted[i])] += 1
          }
          return nil
        }
      }
    }
    if let bad {
      throw ABNError(
        .data, "mask of a metric", got: "class \(bad)", wanted: "0...\(classCount - 1)")
    }
    boundaries?.add(predicted, mask: mask)
    count += 1
  }
}

extension SegmentationMetrics {
  /// How many pixels of one class were taken for another.
  package func confusion(of own: Int, predicted: Int) -> Int {
    confusion[own * classCount + predicted]
  }

  /// The pixels that count.
  package var pixelCount: Int { confusion.reduce(0, +) }
  /// The pixels of each class.
  package var support: [Int] {
    (0..<classCount).map { own in
      confusion[own * classCount..<(own + 1) * classCount].reduce(0, +)
    }
  }
  /// How often each class was predicted.
  package var predictionCounts: [Int] {
    (0..<classCount).map { number in
      (0..<classCount).reduce(0) { $0 + confusion(of: $1, predicted: number) }
    }
  }

  /// The mean loss of a pixel; 0 of none.
  package var meanLoss: Double { lossSum / Double(max(pixelCount, 1)) }
  /// The share of the pixels that are predicted right, 0...1.
  package var pixelAccuracy: Double {
    let right = (0..<classCount).reduce(0) { $0 + confusion(of: $1, predicted: $1) }
    return Double(right) / Double(max(pixelCount, 1))
  }

  /// Intersection over union of each class, over the pixels of all pictures together: those that
  /// are and are predicted of the class, over those that are or are predicted; nil of a class that
  /// is neither.
  package var iou: [Double?] {
    let (support, predicted) = (support, predictionCounts)
    return (0..<classCount).map { number in
      let right = confusion(of: number, predicted: number)
      let union = support[number] + predicted[number] - right
      return union > 0 ? Double(right) / Double(union) : nil
    }
  }

  /// The mean of `iou` over the classes that have it; 0 where none has.
  package var meanIoU: Double {
    let known = iou.compactMap { $0 }
    return known.reduce(0, +) / Double(max(known.count, 1))
  }
}

extension SegmentationMetrics: TaskMetrics {
  package func predictions(of data: ShownData) -> [PredictionGroup] { picks.groups(of: data) }

  package var evaluation: Evaluation {
    Evaluation(accuracy: meanIoU, loss: meanLoss, count: count)
  }

  /// What the number is that a run is judged by.
  package static let name = "meanIoU"

  package var values: [NamedValue] {
    [
      NamedValue("loss", meanLoss), NamedValue(Self.name, meanIoU),
      NamedValue("pixelAccuracy", pixelAccuracy),
    ]
  }

  package func report(names: [String]) throws -> String {
    try JSON(encoding: SegmentationReport(self, names: names)).lines
  }
}
