import ABNImages
import Foundation
import InPlaceABN
import Testing

@testable import ABNTraining

/// Metrics of segmentations against counting by hand.
@Suite struct SegmentationMetricTests {
  private func picture(_ rows: [[UInt8]]) -> Picture {
    Picture(
      size: PictureSize(height: rows.count, width: rows[0].count), channels: 1,
      bytes: rows.flatMap { $0 })
  }

  private func scores(_ size: PictureSize, classes: Int, seed: UInt64) -> PixelScores {
    let random = CounterRandom(seed: seed, stream: 8)
    let plane = size.height * size.width
    var values = (0..<classes * plane).map { Float(random.uniform(UInt64($0)) + 0.01) }
    for i in 0..<plane {
      let sum = (0..<classes).reduce(Float(0)) { $0 + values[$1 * plane + i] }
      for k in 0..<classes { values[k * plane + i] /= sum }
    }
    return PixelScores(values, size: size, classCount: classes)
  }

  private func mask(_ size: PictureSize, classes: Int, seed: UInt64) -> Picture {
    let random = CounterRandom(seed: seed, stream: 9)
    return Picture(size: size, channels: 1) { to in
      for i in to.indices {
        let number = Int(random.bits(UInt64(i)) % UInt32(classes + 1))
        to[i] = number == classes ? 255 : UInt8(number)
      }
    }
  }

  /// Several pictures of different sizes: one matrix over all of them.
  @Test func countsAsByHand() throws {
    let classes = 5
    var metrics = SegmentationMetrics(classCount: classes)
    var matrix = [[Int]](repeating: [Int](repeating: 0, count: classes), count: classes)
    var (loss, pixels) = (0.0, 0)
    for (seed, size) in [(6, 7), (11, 3), (1, 20)].enumerated() {
      let size = PictureSize(height: size.0, width: size.1)
      let plane = size.height * size.width
      let scores = scores(size, classes: classes, seed: UInt64(seed))
      let mask = mask(size, classes: classes - (seed == 0 ? 1 : 0), seed: UInt64(seed))
      let predicted = try metrics.add(scores, mask: mask)
      for i in 0..<plane {
        let row = (0..<classes).map { scores.values[$0 * plane + i] }
        let best = row.firstIndex(of: row.max()!)!
        #expect(Int(predicted.pixels[i]) == best)
        guard mask.pixels[i] != 255 else { continue }
        matrix[Int(mask.pixels[i])][best] += 1
        loss -= log(Double(row[Int(mask.pixels[i])]))
        pixels += 1
      }
    }
    for own in 0..<classes {
      for other in 0..<classes {
        #expect(metrics.confusion(of: own, predicted: other) == matrix[own][other])
      }
    }
    #expect(metrics.count == 3 && metrics.pixelCount == pixels)
    #expect(abs(metrics.meanLoss - loss / Double(pixels)) < 1e-9)
    let iou = (0..<classes).map { k -> Double in
      let union = matrix[k].reduce(0, +) + matrix.reduce(0) { $0 + $1[k] } - matrix[k][k]
      return Double(matrix[k][k]) / Double(union)
    }
    for k in 0..<classes { #expect(abs(metrics.iou[k]! - iou[k]) < 1e-12) }
    #expect(abs(metrics.meanIoU - iou.reduce(0, +) / Double(classes)) < 1e-12)
    let right = (0..<classes).reduce(0) { $0 + matrix[$1][$1] }
    #expect(metrics.pixelAccuracy == Double(right) / Double(pixels))
    #expect(metrics.evaluation.accuracy == metrics.meanIoU && metrics.evaluation.count == 3)
    #expect(metrics.values.map(\.name) == ["loss", "meanIoU", "pixelAccuracy"])
  }

  /// A class that is neither there nor predicted is left out of the mean, one that is only predicted
  /// counts 0.
  @Test func classesThatAreAbsent() throws {
    var metrics = SegmentationMetrics(classCount: 4)
    #expect(metrics.meanIoU == 0 && metrics.pixelAccuracy == 0 && metrics.meanLoss == 0)
    try metrics.add(picture([[0, 0, 0, 2]]), mask: picture([[0, 0, 1, 255]]))
    #expect(metrics.iou == [2.0 / 3, 0, nil, nil] && metrics.meanIoU == 1.0 / 3)
    try metrics.add(picture([[3]]), mask: picture([[0]]))
    #expect(metrics.iou == [0.5, 0, nil, 0] && abs(metrics.meanIoU - 0.5 / 3) < 1e-15)
    try metrics.add(picture([[2, 2]]), mask: picture([[2, 255]]))
    #expect(metrics.iou[2] == 1 && metrics.count == 3 && metrics.pixelCount == 5)
  }

  @Test func whatDoesNotFit() throws {
    var metrics = SegmentationMetrics(classCount: 3)
    let size = PictureSize(height: 2, width: 2)
    let good = scores(size, classes: 3, seed: 1)
    for (scores, mask) in [
      (good, picture([[0, 1]])), (scores(size, classes: 2, seed: 1), picture([[0, 1], [0, 1]])),
      (good, picture([[0, 1], [0, 3]])),
      (
        PixelScores([Float](repeating: .nan, count: 12), size: size, classCount: 3),
        picture([[0, 1], [0, 1]])
      ),
    ] {
      #expect(throws: ABNError.self) { try metrics.add(scores, mask: mask) }
      #expect(metrics.count == 0 && metrics.pixelCount == 0)
    }
  }

  /// A line that is moved by n pixels fits while n is within 0.75 % of the diagonal.
  @Test func boundariesThatAreMoved() throws {
    // The diagonal is 500: 3.75 pixels.
    let (height, width) = (300, 400)
    func halves(_ edge: Int) -> Picture {
      Picture(size: PictureSize(height: height, width: width), channels: 1) { to in
        for i in to.indices { to[i] = i % width < edge ? 0 : 1 }
      }
    }
    for (moved, expected) in [(0, 1.0), (3, 1), (4, 0), (60, 0)] {
      var metrics = SegmentationMetrics(classCount: 3, looksAtBoundaries: true)
      try metrics.add(halves(200 + moved), mask: halves(200))
      #expect(metrics.boundaries?.perClass == [expected, expected, nil], "\(moved)")
      #expect(metrics.boundaries?.mean == expected)
    }
  }

  /// By hand: a square of class 1 in a field of class 0, of which the prediction misses a part.
  @Test func boundariesByHand() throws {
    // 40 x 30 pixels: the diagonal is 50, the tolerance one pixel.
    func field(_ rows: Range<Int>, _ columns: Range<Int>, hole: Bool = false) -> Picture {
      Picture(size: PictureSize(height: 30, width: 40), channels: 1) { to in
        for i in to.indices {
          to[i] = rows.contains(i / 40) && columns.contains(i % 40) ? 1 : 0
          if hole, i / 40 > 20, i % 40 > 30 { to[i] = 255 }
        }
      }
    }
    var metrics = SegmentationMetrics(classCount: 2, looksAtBoundaries: true)
    // The boundary of the square: 8 x 8 less 6 x 6. Predicted 8 x 4, rows 5...12, columns 5...8.
    try metrics.add(field(5..<13, 5..<9), mask: field(5..<13, 5..<13))
    let found = try #require(metrics.boundaries?.perClass[1])
    // The mask's boundary within one pixel of the predicted one: columns 5...9 of both rows, column 5
    // of the six between. The predicted one within one of the mask's: columns 5...8 of both rows,
    // column 5 of the six, and of column 8 the two beside the rows.
    let (p, r) = ((8.0 + 6 + 2) / 20, (10.0 + 6) / 28)
    #expect(abs(found - 2 * p * r / (p + r)) < 1e-12, "\(found)")
    // What does not count takes no part on either side.
    var some = SegmentationMetrics(classCount: 2, looksAtBoundaries: true)
    try some.add(field(5..<13, 5..<9), mask: field(5..<13, 5..<13, hole: true))
    #expect(some.boundaries?.perClass[1] == metrics.boundaries?.perClass[1])
    // One alone has a boundary.
    var none = SegmentationMetrics(classCount: 2, looksAtBoundaries: true)
    try none.add(field(0..<0, 0..<0), mask: field(5..<13, 5..<13))
    #expect(none.boundaries?.perClass == [0, 0])
    try none.add(field(5..<13, 5..<9), mask: field(5..<13, 5..<13))
    #expect(none.boundaries?.perClass[1] == found / 2)
  }

  @Test func reports() throws {
    var metrics = SegmentationMetrics(classCount: 3, looksAtBoundaries: true)
    try metrics.add(
      picture([[0, 0, 1, 1], [0, 0, 1, 1]]), mask: picture([[0, 0, 1, 0], [0, 0, 1, 255]]))
    let report = SegmentationReport(metrics, names: ["road", "a very long name of a class indeed"])
    for columns in [40, 60, 200] {
      let lines = report.text(columns: columns).split(
        separator: "\n", omittingEmptySubsequences: false)
      #expect(lines.allSatisfy { $0.count <= columns } && lines.count == 8)
    }
    let text = report.text()
    #expect(text.contains("mean IoU 73.33 %") && text.contains("pixels 85.71 %"))
    #expect(text.contains("road") && text.contains("1 neither there nor predicted"))
    let json = try metrics.report(names: ["road", "tree"])
    let found = try #require(
      JSONSerialization.jsonObject(with: Data(json.utf8)) as? [String: Any])
    #expect(found["confusion"] as? [[Int]] == [[4, 1, 0], [0, 2, 0], [0, 0, 0]])
    let classes = try #require(found["classes"] as? [[String: Any]])
    #expect(classes.map { $0["name"] as? String } == ["road", "tree", "2"])
    #expect(classes[0]["iou"] as? Double == 0.8 && classes[2]["iou"] == nil)
    #expect(found["pixels"] as? Int == 7 && found["count"] as? Int == 1)
    #expect(abs((found["meanIoU"] as? Double ?? 0) - (0.8 + 2.0 / 3) / 2) < 1e-12)
  }
}
