import ABNTestSupport
import Foundation
import InPlaceABN
import Testing

@testable import ABNTraining

/// Metrics against counting by hand.
@Suite struct MetricTests {
  private struct Case {
    var classes = 1
    var logits: [[Float]] = []
    var labels: [Int] = []
    var losses: [Double] = []
    /// The batches' sizes.
    var batches: [Int] = []
  }

  /// Logits of few values, so that many are equal, some of them NaN or infinite.
  private func draw(_ seed: UInt64) -> Case {
    let random = CounterRandom(seed: seed, stream: 0x6d65)
    var number: UInt64 = 0
    func next(_ bound: Int) -> Int {
      number += 1
      return Int(random.bits(number) % UInt32(bound))
    }
    var drawn = Case()
    drawn.classes = 1 + next(next(4) == 0 ? 40 : 9)
    let values: [Float] = [-2, -1, 0, 0.5, 1, 2.5, .nan, .infinity, -.infinity]
    let kinds = [values.count, 6, 3][next(3)]
    for _ in 0..<1 + next(3) {
      let size = 1 + next(24)
      drawn.batches.append(size)
      for _ in 0..<size {
        drawn.logits.append((0..<drawn.classes).map { _ in values[next(kinds)] })
        drawn.labels.append(next(drawn.classes))
        drawn.losses.append(Double(next(1000)) / 250)
      }
    }
    return drawn
  }

  private func add(
    _ drawn: Case, _ rows: Range<Int>, _ dtype: DType, to metrics: inout ClassificationMetrics
  ) throws {
    let logits = Tensor(
      drawn.logits[rows].flatMap { $0 }, shape: [rows.count, drawn.classes])
    let labels = Tensor(drawn.labels[rows].map { Int64($0) }, shape: [rows.count, 1])
    try metrics.add(
      logits: logits.cast(to: dtype), labels: labels,
      meanLoss: drawn.losses[rows].reduce(0, +) / Double(rows.count))
  }

  /// The classes from the best to the worst: larger first, then the lower number, NaN last.
  private func order(_ row: [Float]) -> [Int] {
    let numbers = row.indices.filter { !row[$0].isNaN }
    return numbers.sorted { row[$0] != row[$1] ? row[$0] > row[$1] : $0 < $1 }
  }

  @Test func countsAsByHand() throws {
    for seed in soakSeed..<soakSeed + UInt64(200 * soakFactor) {
      let drawn = draw(seed)
      let dtype: DType = [.float32, .float64, .float16, .bfloat16][Int(seed % 4)]
      var whole = ClassificationMetrics(classCount: drawn.classes)
      var start = 0
      for size in drawn.batches {
        try add(drawn, start..<start + size, dtype, to: &whole)
        start += size
      }
      try check(whole, drawn, "seed \(seed)")
      let copy = try JSONDecoder().decode(
        ClassificationMetrics.self, from: JSONEncoder().encode(whole))
      #expect(copy == whole, "seed \(seed)")
    }
  }

  private func check(_ metrics: ClassificationMetrics, _ drawn: Case, _ what: String) throws {
    let orders = drawn.logits.map(order)
    let pairs = Array(zip(drawn.labels, orders))
    func share(_ part: Int, _ whole: Int) -> Double? {
      whole == 0 ? nil : Double(part) / Double(whole)
    }
    #expect(metrics.count == pairs.count, "\(what)")
    let top1 = pairs.count { $0 == $1.first }
    #expect(metrics.accuracy == share(top1, pairs.count), "\(what)")
    let top5 = pairs.count { $1.prefix(5).contains($0) }
    #expect(metrics.top5Accuracy == share(top5, pairs.count), "\(what)")
    let loss = drawn.losses.reduce(0, +) / Double(pairs.count)
    #expect(abs(metrics.meanLoss - loss) < 1e-12 * max(1, loss), "\(what)")
    for own in 0..<drawn.classes {
      let of = pairs.filter { $0.0 == own }
      var worst: (Int, Int)?
      for other in 0..<drawn.classes {
        let times = of.count { $0.1.first == other }
        #expect(metrics.confusion(of: own, predicted: other) == times, "\(what)")
        if other != own, times > (worst?.0 ?? 0) { worst = (times, other) }
      }
      let one = metrics.perClass[own]
      let predicted = pairs.count { $1.first == own }
      let right = of.count { $0.1.first == own }
      #expect(one.support == of.count && one.predicted == predicted, "\(what)")
      #expect(one.right == right && one.mistakenFor == worst?.1, "\(what)")
      let (precision, recall) = (share(right, predicted), share(right, of.count))
      #expect(one.precision == precision && one.recall == recall, "\(what)")
      guard let f1 = one.f1 else {
        #expect(precision == nil && recall == nil, "\(what)")
        continue
      }
      let (p, r) = (precision ?? 0, recall ?? 0)
      #expect(abs(f1 - (p + r > 0 ? 2 * p * r / (p + r) : 0)) < 1e-12, "\(what)")
    }
  }

  @Test func mistakesAreRefused() throws {
    var metrics = ClassificationMetrics(classCount: 3)
    let logits = Tensor([Float](repeating: 0.5, count: 6), shape: [2, 3])
    func error(_ logits: Tensor, _ labels: Tensor) -> ABNError? {
      let found = #expect(throws: ABNError.self) {
        try metrics.add(logits: logits, labels: labels, meanLoss: 1)
      }
      return found
    }
    #expect(error(logits, Tensor([Int64(0), 3]))?.category == .data)
    #expect(error(logits, Tensor([Int64(0), -1]))?.category == .data)
    #expect(error(logits, Tensor([Int64(0)]))?.category == .shape)
    #expect(error(logits, Tensor([Int32(0), 1]))?.category == .dtype)
    #expect(error(logits.reshaped([3, 2]), Tensor([Int64(0), 1, 1]))?.category == .shape)
    #expect(error(logits.cast(to: .int32), Tensor([Int64(0), 1]))?.category == .dtype)
    #expect(metrics == ClassificationMetrics(classCount: 3))
  }

  /// The table at every width, and what is in it.
  @Test func theTableFits() throws {
    for classes in [1, 2, 3, 10, 12, 13, 20, 21, 300] {
      var drawn = draw(UInt64(classes))
      drawn.classes = classes
      let random = CounterRandom(seed: 3, stream: UInt64(classes))
      drawn.labels = (0..<400).map { $0 % classes }
      drawn.logits = drawn.labels.enumerated().map { number, label in
        (0..<classes).map {
          Float(random.bits(UInt64(number * classes + $0)) % 100) + ($0 == label ? 80 : 0)
        }
      }
      drawn.losses = drawn.labels.map { Double($0 % 7) }
      var metrics = ClassificationMetrics(classCount: classes)
      try add(drawn, 0..<400, .float32, to: &metrics)
      let names = (0..<classes).map {
        ["cat", "Schäferhund, langhaarig \($0)", "猫と犬の写真\($0)"][$0 % 3]
      }
      let report = ClassificationReport(metrics, names: names)
      for columns in [20, 40, 60, 80, 120, 200] {
        let text = report.text(columns: columns)
        for line in text.split(separator: "\n") {
          #expect(TerminalText.columns(of: line) <= max(40, columns), "\(columns): \(line)")
        }
        #expect(text.contains(String(format: "top-1 %.2f %%", metrics.accuracy * 100)))
        let rows = text.split(separator: "\n").count { $0.contains("%") } - 2
        #expect(rows == (classes > 20 ? 10 : classes), "\(classes) at \(columns)\n\(text)")
      }
      #expect(report.text().contains("pictures of a class") == (2...12).contains(classes))
    }
  }

  @Test func jsonHasEverything() throws {
    var metrics = ClassificationMetrics(classCount: 3)
    let logits = Tensor([Float]([3, 1, 2, 0, 5, 1, 0, 9, 1, 0, 1, 7]), shape: [4, 3])
    try metrics.add(logits: logits, labels: Tensor([Int64(0), 1, 0, 2]), meanLoss: 0.5)
    let text = try JSON(encoding: ClassificationReport(metrics, names: ["a", "b", "c"])).line
    let one = { (name: String, count: Int, predicted: Int, p: String, r: String, f: String) in
      #"{"count":\#(count),"f1":\#(f),"name":"\#(name)","precision":\#(p),"predicted":\#(predicted),"recall":\#(r),"right":1}"#
    }
    let third = 2.0 / 3
    let classes = [
      one("a", 2, 1, "1", "0.5", "\(third)"), one("b", 1, 2, "0.5", "1", "\(third)"),
      one("c", 1, 1, "1", "1", "1"),
    ]
    #expect(
      text
        == #"{"accuracy":0.75,"classes":[\#(classes.joined(separator: ","))],"confusion":[[1,1,0],[0,1,0],[0,0,1]],"count":4,"f1":\#((third + third + 1) / 3),"loss":0.5,"precision":\#(2.5 / 3),"recall":\#(2.5 / 3),"top5":1}"#
    )
  }
}
