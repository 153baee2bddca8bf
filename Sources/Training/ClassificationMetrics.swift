import ABNTensors

/// What a classifier's logits say of pictures whose class is known: counted batch by batch, read at
/// the end.
///
/// The predicted class is the one with the largest logit. Of equal logits the class with the lower
/// number comes first, for the five best as for the best; NaN comes after every number. A picture
/// whose logits are all NaN has no prediction: it is counted, and is a miss.
package struct ClassificationMetrics: Sendable, Codable, Equatable {
  /// The number of classes.
  package let classCount: Int
  /// The pictures counted.
  package private(set) var count = 0
  /// Those whose class is the predicted one.
  package private(set) var top1Count = 0
  /// Those whose class is among the five largest logits; of fewer classes, among all.
  package private(set) var top5Count = 0
  /// The pictures of each class, those without a prediction included.
  package private(set) var support: [Int]
  /// The sum of the pictures' losses.
  package private(set) var lossSum = 0.0
  /// How often a pair of class and prediction came up, by `class * classCount + prediction`. Most
  /// of the pairs of a thousand classes never do.
  private var pairs: [Int: Int] = [:]
  /// The surest predictions, right and wrong, of the pictures whose number was said.
  package private(set) var picks = PredictionPicks()

  /// Nothing counted yet.
  ///
  /// - Parameter classCount: at least 1.
  package init(classCount: Int) {
    precondition(classCount >= 1, "a classifier has a class")
    self.classCount = classCount
    support = Array(repeating: 0, count: classCount)
  }

  /// Counts a batch.
  ///
  /// - Parameters:
  ///   - logits: [B, classes], of a floating-point type.
  ///   - labels: the classes, int64 [B] or [B, 1].
  ///   - meanLoss: the mean of the losses of these B pictures.
  ///   - samples: which pictures of their data these are; nil: nobody wants to see them.
  /// - Throws: `ABNError(.shape)` or `.dtype` for tensors that are not such, `ABNError(.data)` for
  ///   a label that is no class; nothing is counted then.
  package mutating func add(
    logits: Tensor, labels: Tensor, meanLoss: Double, samples: [Int]? = nil
  ) throws {
    let rows = try rows(logits, labels)
    let classes = labels.elements(Int64.self)
    if let bad = classes.first(where: { $0 < 0 || $0 >= classCount }) {
      throw ABNError(
        .data, "label of a metric", got: "\(bad)", wanted: "a class in 0...\(classCount - 1)")
    }
    guard rows > 0 else { return }
    switch logits.dtype {
    case .float32:
      logits.withUnsafeBytes { count($0.bindMemory(to: Float.self), classes, samples) }
    default:
      // Exact for every floating-point type.
      logits.doubles.withUnsafeBufferPointer { count($0, classes, samples) }
    }
    lossSum += meanLoss * Double(rows)
  }

  private func rows(_ logits: Tensor, _ labels: Tensor) throws -> Int {
    guard logits.dtype.isFloatingPoint, labels.dtype == .int64 else {
      throw ABNError(
        .dtype, "metrics", got: "\(logits.dtype) logits and \(labels.dtype) labels",
        wanted: "floating-point logits and int64 labels")
    }
    let shape = try logits.checked().shape
    guard shape.rank == 2, shape[1] == classCount else {
      throw ABNError(
        .shape, "logits of a metric", got: "shape \(shape)",
        wanted: "[batch, \(classCount)]")
    }
    guard try labels.checked().elementCount == shape[0] else {
      throw ABNError(
        .shape, "labels of a metric", got: "shape \(labels.shape)",
        wanted: "\(shape[0]) labels, one a row of the logits")
    }
    return shape[0]
  }

  private mutating func count<T: BinaryFloatingPoint>(
    _ logits: UnsafeBufferPointer<T>, _ labels: [Int64], _ samples: [Int]?
  ) {
    for (row, label) in labels.enumerated() {
      let (own, start) = (Int(label), row * classCount)
      var best: Int?
      var before = 0
      let score = logits[start + own]
      for other in 0..<classCount {
        let value = logits[start + other]
        if value.isNaN { continue }
        if best.map({ value > logits[start + $0] }) ?? true { best = other }
        if value > score || (value == score && other < own) { before += 1 }
      }
      count += 1
      support[own] += 1
      guard let best else { continue }
      pairs[own * classCount + best, default: 0] += 1
      if best == own { top1Count += 1 }
      if before < 5, !score.isNaN { top5Count += 1 }
      guard let samples, row < samples.count else { continue }
      let scores = UnsafeBufferPointer(rebasing: logits[start..<start + classCount])
      if let doubt = PredictionPicks.doubt(scores, best: best) {
        picks.add(
          .init(sample: samples[row], own: Int(label), predicted: best, doubt: doubt))
      }
    }
  }
}

extension ClassificationMetrics {
  /// The share of the pictures that are predicted right, 0...1; 0 of no picture.
  package var accuracy: Double { Double(top1Count) / Double(max(count, 1)) }
  /// The share whose class is among the five largest logits.
  package var top5Accuracy: Double { Double(top5Count) / Double(max(count, 1)) }
  /// The mean loss of a picture; 0 of no picture.
  package var meanLoss: Double { lossSum / Double(max(count, 1)) }

  /// How many pictures of one class were predicted as another.
  package func confusion(of own: Int, predicted: Int) -> Int {
    pairs[own * classCount + predicted] ?? 0
  }

  /// How often each class was predicted.
  package var predictionCounts: [Int] {
    var counts = Array(repeating: 0, count: classCount)
    for (pair, times) in pairs { counts[pair % classCount] += times }
    return counts
  }

  /// The pairs of a class and another that it was predicted as, in their order.
  package var mistakes: [(of: Int, takenFor: Int, count: Int)] {
    pairs.filter { $0.key / classCount != $0.key % classCount }.sorted { $0.key < $1.key }
      .map { ($0.key / classCount, $0.key % classCount, $0.value) }
  }

  /// What there is to say of one class.
  package struct PerClass: Sendable, Equatable {
    /// The pictures of the class.
    package let support: Int
    /// Those that were predicted as it, and how often it was predicted at all.
    package let right, predicted: Int
    /// The other class that its pictures were most often predicted as, the lower number of equal
    /// ones; nil where there is none.
    package let mistakenFor: Int?
    /// Of the predictions of this class the share that is right; nil where it was never predicted.
    package var precision: Double? { share(right, predicted) }
    /// Of the pictures of this class the share that is predicted right; nil where there are none.
    package var recall: Double? { share(right, support) }
    /// The harmonic mean of the two, 2 right / (support + predicted); nil where both are nil.
    package var f1: Double? { share(2 * right, support + predicted) }

    private func share(_ part: Int, _ whole: Int) -> Double? {
      whole > 0 ? Double(part) / Double(whole) : nil
    }
  }

  /// All classes, in their order.
  package var perClass: [PerClass] {
    let predicted = predictionCounts
    var worst: [Int: (times: Int, other: Int)] = [:]
    for (pair, times) in pairs {
      let (own, other) = (pair / classCount, pair % classCount)
      guard own != other else { continue }
      let known = worst[own] ?? (0, classCount)
      if (times, known.other) > (known.times, other) { worst[own] = (times, other) }
    }
    return (0..<classCount).map {
      PerClass(
        support: support[$0], right: confusion(of: $0, predicted: $0), predicted: predicted[$0],
        mistakenFor: worst[$0]?.other)
    }
  }

  /// The mean of a number over the classes that have pictures or predictions; where it is nil it
  /// counts as 0, as scikit-learn has it.
  package func macroMean(_ number: (PerClass) -> Double?) -> Double {
    let seen = perClass.filter { $0.f1 != nil }
    return seen.reduce(0) { $0 + (number($1) ?? 0) } / Double(max(seen.count, 1))
  }
}
