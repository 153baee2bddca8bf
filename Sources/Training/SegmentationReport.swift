import ABNFormats
import ABNTensors
import Foundation

/// Metrics of a segmentation with the names of the classes: a table for people, JSON for programs.
package struct SegmentationReport: Sendable {
  /// The numbers.
  package let metrics: SegmentationMetrics
  /// The names of the classes, as many as there are.
  package let names: [String]

  /// - Parameter names: of the classes; those without one are called by their number.
  package init(_ metrics: SegmentationMetrics, names: [String] = []) {
    self.metrics = metrics
    self.names = (0..<metrics.classCount).map { $0 < names.count ? names[$0] : "\($0)" }
  }

  /// Several lines, each with a line break, none longer than so many columns (40 at least): the
  /// totals, and a row a class.
  package func text(columns: Int = 80) -> String {
    let columns = max(40, columns)
    let boundaries = metrics.boundaries
    var lines = [
      "mean IoU \(Self.percent(metrics.meanIoU))  pixels \(Self.percent(metrics.pixelAccuracy))"
        + (boundaries.map { "  boundary F \(Self.percent($0.mean))" } ?? "")
        + String(format: "  loss %.4f", metrics.meanLoss) + "  on \(metrics.count) pictures",
      "",
    ]
    let heads = ["pixels", "IoU"] + (boundaries == nil ? [] : ["boundary F"])
    let widths = [12, 8, 10].prefix(heads.count)
    let room = columns - widths.reduce(0) { $0 + $1 + 2 }
    let longest = names.map { TerminalText.columns(of: $0) }.max() ?? 5
    let nameWidth = max(5, min(longest, room))
    func row(_ name: String, _ cells: [String]) -> String {
      ([TerminalText.fitted(name, to: nameWidth)]
        + zip(cells, widths).map { TerminalText.fitted($0, to: $1, isAlignedRight: true) })
        .joined(separator: "  ")
    }
    lines.append(row("class", heads))
    let (iou, support) = (metrics.iou, metrics.support)
    for number in 0..<metrics.classCount {
      let boundary = boundaries.map { [Self.percent($0.perClass[number])] } ?? []
      lines.append(
        row(names[number], ["\(support[number])", Self.percent(iou[number])] + boundary))
    }
    let absent = iou.count { $0 == nil }
    if absent > 0 {
      lines.append("(\(absent) neither there nor predicted: left out of the mean)")
    }
    return lines.map { TerminalText.prefix($0, columns: columns) + "\n" }.joined()
  }

  private static func percent(_ share: Double?) -> String {
    share.map { String(format: "%.2f %%", $0 * 100) } ?? "-"
  }
}

extension SegmentationReport: Encodable {
  private enum Key: String, CodingKey {
    case meanIoU, pixelAccuracy, boundaryF, loss, count, pixels, classes, confusion
  }

  private struct Class: Encodable {
    let name: String
    let pixels, predicted: Int
    let iou, boundaryF: Double?
  }

  /// `meanIoU`, `pixelAccuracy`, `boundaryF` where it was looked at, `loss`, `count` of the
  /// pictures, `pixels` that count; `classes` with `name`, `pixels`, `predicted`, `iou` and
  /// `boundaryF`, what is not defined left out; `confusion` with a row a class, in pixels.
  package func encode(to encoder: any Encoder) throws {
    var values = encoder.container(keyedBy: Key.self)
    try values.encode(metrics.meanIoU, forKey: .meanIoU)
    try values.encode(metrics.pixelAccuracy, forKey: .pixelAccuracy)
    try values.encodeIfPresent(metrics.boundaries?.mean, forKey: .boundaryF)
    try values.encode(metrics.meanLoss, forKey: .loss)
    try values.encode(metrics.count, forKey: .count)
    try values.encode(metrics.pixelCount, forKey: .pixels)
    let (iou, support, predicted) = (metrics.iou, metrics.support, metrics.predictionCounts)
    let boundary = metrics.boundaries?.perClass
    let all = 0..<metrics.classCount
    try values.encode(
      all.map {
        Class(
          name: names[$0], pixels: support[$0], predicted: predicted[$0], iou: iou[$0],
          boundaryF: boundary?[$0])
      }, forKey: .classes)
    try values.encode(
      all.map { own in all.map { metrics.confusion(of: own, predicted: $0) } }, forKey: .confusion)
  }
}
