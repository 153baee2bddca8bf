import ABNFormats
import ABNTensors
import Foundation

/// Metrics with the names of the classes: a table for people, JSON for programs.
package struct ClassificationReport: Sendable {
  /// The numbers.
  package let metrics: ClassificationMetrics
  /// The names of the classes, as many as there are.
  package let names: [String]

  /// More classes than so many are folded to the worst of them.
  package static let mostRows = 20
  /// How many of folded classes are shown.
  package static let worstRows = 10
  /// The most classes whose confusion matrix is printed, and is in JSON as rows.
  package static let mostPrintedClasses = 12
  package static let mostMatrixClasses = 200

  /// - Parameter names: of the classes; those without one are called by their number.
  package init(_ metrics: ClassificationMetrics, names: [String] = []) {
    self.metrics = metrics
    self.names = (0..<metrics.classCount).map { $0 < names.count ? names[$0] : "\($0)" }
  }

  /// Several lines, each with a line break, none longer than so many columns (40 at least): the
  /// totals, a row a class, and of few classes the confusion matrix. Of more than twenty classes
  /// the ten with the lowest F1 are shown.
  package func text(columns: Int = 80) -> String {
    let columns = max(40, columns)
    var lines = totals
    lines += [""] + table(columns: columns)
    if let matrix = matrix(columns: columns) { lines += [""] + matrix }
    return lines.map { line in
      var line = Substring(line)
      while line.hasSuffix(" ") { line.removeLast() }
      return TerminalText.prefix(line, columns: columns) + "\n"
    }.joined()
  }

  private var totals: [String] {
    let top5 = metrics.classCount > 5 ? "top-5 \(Self.percent(metrics.top5Accuracy))  " : ""
    return [
      "top-1 \(Self.percent(metrics.accuracy))  \(top5)"
        + String(format: "loss %.4f", metrics.meanLoss) + "  on \(metrics.count) pictures",
      "mean of the classes: precision \(Self.percent(metrics.macroMean(\.precision)))  "
        + "recall \(Self.percent(metrics.macroMean(\.recall)))  "
        + "F1 \(Self.percent(metrics.macroMean(\.f1)))",
    ]
  }

  private static func percent(_ share: Double?) -> String {
    share.map { String(format: "%.2f %%", $0 * 100) } ?? "-"
  }

  /// The classes that are shown, in order: all, or the worst first.
  private func shown(_ classes: [ClassificationMetrics.PerClass]) -> [Int] {
    guard classes.count > Self.mostRows else { return Array(classes.indices) }
    // What is neither there nor predicted has nothing to show.
    let known = classes.indices.filter { classes[$0].f1 != nil }
    let worst = known.sorted { (classes[$0].f1 ?? 0, $0) < (classes[$1].f1 ?? 0, $1) }
    return Array(worst.prefix(Self.worstRows))
  }

  private func table(columns: Int) -> [String] {
    let classes = metrics.perClass
    let shown = shown(classes)
    let heads = ["pictures", "precision", "recall", "F1"]
    let widths = [8, 9, 8, 8]
    let numbers = widths.reduce(0, +) + 2 * widths.count
    let longest = (shown.map { TerminalText.columns(of: names[$0]) } + [5]).max() ?? 5
    let nameWidth = max(5, min(longest, (columns - numbers - 2) / 2))
    let restWidth = columns - numbers - nameWidth - 2
    func row(_ name: String, _ cells: [String], _ last: String) -> String {
      let middle = zip(cells, widths).map {
        TerminalText.fitted($0, to: $1, isAlignedRight: true)
      }
      let tail = restWidth >= 12 ? [TerminalText.fitted(last, to: restWidth)] : []
      return ([TerminalText.fitted(name, to: nameWidth)] + middle + tail).joined(separator: "  ")
    }
    var lines = [row("class", heads, "most often taken for")]
    for number in shown {
      let one = classes[number]
      let other = one.mistakenFor.map {
        let times = " (\(metrics.confusion(of: number, predicted: $0)))"
        let room = restWidth - times.count
        let name =
          TerminalText.columns(of: names[$0]) > room
          ? TerminalText.fitted(names[$0], to: max(1, room)) : names[$0]
        return name + times
      }
      lines.append(
        row(
          names[number],
          ["\(one.support)"] + [one.precision, one.recall, one.f1].map(Self.percent),
          other ?? ""))
    }
    if shown.count < classes.count {
      lines.append("(the \(shown.count) of \(classes.count) classes with the lowest F1)")
    }
    return lines
  }

  /// A row for each class, a column for each prediction; nil where that has no room.
  private func matrix(columns: Int) -> [String]? {
    let count = metrics.classCount
    guard (2...Self.mostPrintedClasses).contains(count) else { return nil }
    let digits = (metrics.support + metrics.predictionCounts).map { "\($0)".count }.max() ?? 1
    let longest = names.map { TerminalText.columns(of: $0) }.max() ?? 1
    let nameWidth = max(5, min(longest, 16))
    let width = min((columns - nameWidth) / count - 1, max(longest, digits))
    guard width >= max(digits, 3) else { return nil }
    func row(_ name: String, _ cells: [String]) -> String {
      TerminalText.fitted(name, to: nameWidth)
        + cells.map { " " + TerminalText.fitted($0, to: width, isAlignedRight: true) }.joined()
    }
    return ["pictures of a class (rows) by what they were taken for (columns)", row("", names)]
      + (0..<count).map { own in
        row(
          names[own], (0..<count).map { "\(metrics.confusion(of: own, predicted: $0))" })
      }
  }
}

extension ClassificationReport: Encodable {
  private enum Key: String, CodingKey {
    case accuracy, top5, loss, count, precision, recall, f1, classes, confusion, mistakes
  }

  private struct Class: Encodable {
    let name: String
    let count, right, predicted: Int
    let precision, recall, f1: Double?
  }

  private struct Mistake: Encodable {
    let of, takenFor: String
    let count: Int
  }

  /// `accuracy`, `top5`, `loss`, `count`; `precision`, `recall`, `f1` (means of the classes);
  /// `classes` with the same of each, those that are not defined left out; `confusion` with a row a
  /// class, and of more than 200 classes `mistakes`, the pairs that came up, instead.
  package func encode(to encoder: any Encoder) throws {
    var values = encoder.container(keyedBy: Key.self)
    try values.encode(metrics.accuracy, forKey: .accuracy)
    try values.encode(metrics.top5Accuracy, forKey: .top5)
    try values.encode(metrics.meanLoss, forKey: .loss)
    try values.encode(metrics.count, forKey: .count)
    try values.encode(metrics.macroMean(\.precision), forKey: .precision)
    try values.encode(metrics.macroMean(\.recall), forKey: .recall)
    try values.encode(metrics.macroMean(\.f1), forKey: .f1)
    let classes = zip(names, metrics.perClass).map {
      Class(
        name: $0, count: $1.support, right: $1.right, predicted: $1.predicted,
        precision: $1.precision, recall: $1.recall, f1: $1.f1)
    }
    try values.encode(classes, forKey: .classes)
    let all = 0..<metrics.classCount
    if metrics.classCount <= Self.mostMatrixClasses {
      let rows = all.map { own in all.map { metrics.confusion(of: own, predicted: $0) } }
      try values.encode(rows, forKey: .confusion)
    } else {
      let mistakes = metrics.mistakes.map {
        Mistake(of: names[$0.of], takenFor: names[$0.takenFor], count: $0.count)
      }
      try values.encode(mistakes, forKey: .mistakes)
    }
  }
}
