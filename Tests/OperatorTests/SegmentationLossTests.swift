import ABNGraph
import ABNLayers
import ABNTensors
import ABNTestSupport
import Foundation
import Testing

/// The losses of segmentations against the formulas, computed plainly, and their gradients.
@Suite struct SegmentationLossTests {
  private static let ignored: Int64 = 255
  private static let shape: Shape = [2, 4, 5, 7]
  /// No pixel of class 2, and every ninth ignored.
  private static let labels = (0..<70).map { place -> Int64 in
    place % 9 == 4 ? ignored : [0, 1, 3, 1, 0][place * 7 % 5]
  }
  private static let weights = [0.5, 2, 3, 0.75]

  /// The softmax by pixel and class, and the labels, of the pixels that count.
  private static func counted(_ x: [Tensor]) -> (rows: [[Double]], labels: [Int]) {
    let logits = x[0].doubles
    var (rows, own): ([[Double]], [Int]) = ([], [])
    for place in 0..<70 where labels[place] != ignored {
      let (image, pixel) = place.quotientAndRemainder(dividingBy: 35)
      let exponentials = (0..<4).map { Foundation.exp(logits[(image * 4 + $0) * 35 + pixel]) }
      let sum = exponentials.reduce(0, +)
      rows.append(exponentials.map { $0 / sum })
      own.append(Int(labels[place]))
    }
    return (rows, own)
  }

  private static func crossEntropy(_ x: [Tensor], _ weights: [Double]) -> Double {
    let (rows, own) = counted(x)
    let terms = zip(rows, own).map { -weights[$1] * Foundation.log($0[$1]) }
    return terms.reduce(0, +) / own.reduce(0) { $0 + weights[$1] }
  }

  private static func dice(_ x: [Tensor]) -> Double {
    let (rows, own) = counted(x)
    let shares = (0..<4).map { k -> Double in
      let overlap = zip(rows, own).reduce(0) { $0 + ($1.1 == k ? $1.0[k] : 0) }
      let mass = rows.reduce(0) { $0 + $1[k] }
      return (2 * overlap + 1) / (mass + Double(own.count { $0 == k }) + 1)
    }
    return 1 - shares.reduce(0, +) / 4
  }

  /// By the definition: each Jaccard index from the sets.
  private static func lovasz(_ x: [Tensor]) -> Double {
    let (rows, own) = counted(x)
    let losses = (0..<4).compactMap { k -> Double? in
      guard own.contains(k) else { return nil }
      let errors = zip(rows, own).map { $1 == k ? 1 - $0[k] : $0[k] }
      let order = errors.indices.sorted { errors[$0] > errors[$1] }
      let size = own.count { $0 == k }
      func jaccard(_ count: Int) -> Double {
        let wrong = order.prefix(count)
        let inside = wrong.count { own[$0] == k }
        return 1 - Double(size - inside) / Double(size + wrong.count - inside)
      }
      return order.indices.reduce(0) { sum, r in
        sum + errors[order[r]] * (jaccard(r + 1) - jaccard(r))
      }
    }
    return losses.reduce(0, +) / Double(losses.count)
  }

  static func lossCase(
    _ kind: SegmentationLossKind, weights: [Double]? = nil, tolerance16: Double? = 8,
    _ reference: @escaping @Sendable ([Tensor]) -> Double
  ) -> OperatorCase {
    OperatorCase(
      kind.name + (weights == nil ? "" : ", weighted"),
      [.random(shape, -3, 3), .fixed(Tensor(labels, shape: [2, 1, 5, 7]))],
      tolerance16: tolerance16, reference: { [[reference($0)]] }
    ) {
      [
        try segmentationLoss(
          logits: $0[0], labels: $0[1], kind: kind, ignoreIndex: Int(ignored),
          classWeights: weights)
      ]
    }
  }

  static let cases = [
    lossCase(.crossEntropy) { crossEntropy($0, [1, 1, 1, 1]) },
    lossCase(.crossEntropy, weights: weights) { crossEntropy($0, weights) },
    lossCase(.dice) { dice($0) },
    // The order of the errors is another one after rounding to 16 bits.
    lossCase(.lovasz, tolerance16: nil) { lovasz($0) },
    lossCase(.crossEntropy + .dice, weights: weights) { crossEntropy($0, weights) + dice($0) },
    lossCase(.lovasz + .crossEntropy, tolerance16: nil) {
      lovasz($0) + crossEntropy($0, [1, 1, 1, 1])
    },
  ]

  @Test(arguments: cases) func op(_ test: OperatorCase) throws { try test.check() }

  /// Loss and gradient of logits [1, 3, 2, 3].
  private func lossAndGradient(
    _ labels: [Int64], _ kind: SegmentationLossKind, weights: [Double]? = nil,
    _ dtype: DType = .float32
  ) throws -> (loss: Double, gradient: [Double]) {
    let random = CounterRandom(seed: 4, stream: 1)
    let logits = Tensor((0..<18).map { 6 * random.uniform($0) - 3 }, shape: [1, 3, 2, 3])
    let builder = ProgramBuilder()
    let (x, loss) = try builder.build {
      let x = try data("x", shape: logits.shape, dtype: dtype, stopsGradient: false)
      let y = try data("y", shape: [1, 1, 2, 3], dtype: .int64)
      return (
        x,
        try segmentationLoss(
          logits: x, labels: y, kind: kind, ignoreIndex: -1, classWeights: weights)
      )
    }
    let got = try run(
      builder, feed: ["x": logits.cast(to: dtype), "y": Tensor(labels, shape: [1, 1, 2, 3])],
      loss: loss, of: x, fetch: [loss])
    #expect(got.fetched[0].shape == [1] && got.fetched[0].dtype == dtype.accumulation)
    return (got.fetched[0].doubles[0], got.gradient.doubles)
  }

  /// Where no pixel counts, loss and gradient are 0 and not 0 / 0.
  @Test(
    arguments: [
      SegmentationLossKind.crossEntropy, .dice, .lovasz, .crossEntropy + .dice + .lovasz,
    ], [DType.float32, .float16])
  func nothingCounts(_ kind: SegmentationLossKind, _ dtype: DType) throws {
    let got = try lossAndGradient(Array(repeating: -1, count: 6), kind, dtype)
    #expect(got.loss == 0 && got.gradient.allSatisfy { $0 == 0 })
  }

  /// The same where the classes that are there have a weight of 0.
  @Test func noWeightCounts() throws {
    let got = try lossAndGradient([0, 0, 2, -1, 0, 2], .crossEntropy, weights: [0, 1, 0])
    #expect(got.loss == 0 && got.gradient.allSatisfy { $0 == 0 })
  }

  /// Ignored pixels have no gradient, the others have, and a label of the ignored number may be that
  /// of a class.
  @Test(arguments: [SegmentationLossKind.crossEntropy, .dice, .lovasz])
  func ignoredPixelsHaveNoGradient(_ kind: SegmentationLossKind) throws {
    let got = try lossAndGradient([0, -1, 1, 2, 1, -1], kind)
    #expect(got.loss > 0)
    for (index, value) in got.gradient.enumerated() {
      let isIgnored = [1, 5].contains(index % 6)
      // Behind the last pixel of a class in the order of errors the Lovasz loss is flat.
      #expect(
        (value == 0) == isIgnored || (kind == .lovasz && !isIgnored),
        "\(kind.name) at \(index): \(value)")
    }
    #expect(got.gradient.contains { $0 != 0 })
    expectError(.data, ["row 1", "got 3", "0..<3", "-1", "SegmentationLossTests.swift:"]) {
      try lossAndGradient([0, 3, 1, 2, 1, 0], kind)
    }
  }

  /// A logit that is no number makes the loss none, but not where its pixel does not count.
  @Test(
    arguments: [SegmentationLossKind.crossEntropy, .dice, .lovasz], [Double.nan, .infinity])
  func noNumbers(_ kind: SegmentationLossKind, _ value: Double) throws {
    for (place, isCounted) in [(4, true), (1, false)] {
      var logits = (0..<18).map { Double($0 * 7 % 5) - 2 }
      for k in 0..<3 { logits[6 * k + place] = value }
      let labels = Tensor([0, -1, 1, 2, 1, -1] as [Int64], shape: [1, 1, 2, 3])
      for dtype in [DType.float32, .float64] {
        let loss = try evaluate([Tensor(logits, shape: [1, 3, 2, 3]).cast(to: dtype), labels]) {
          [try segmentationLoss(logits: $0[0], labels: $0[1], kind: kind, ignoreIndex: -1)]
        }[0].doubles[0]
        #expect(loss.isNaN == isCounted && (isCounted || loss.isFinite), "\(loss)")
      }
    }
  }

  @Test func errorsSayWhatDoesNotFit() throws {
    try ProgramBuilder().build {
      let x = try data("x", shape: [-1, 3, 8, 8])
      let y = try data("y", shape: [-1, 1, 8, 8], dtype: .int64)
      let flat = try data("flat", shape: [-1, 8, 8], dtype: .int64)
      func loss(
        _ labels: Variable, _ kind: SegmentationLossKind, weights: [Double]? = nil
      ) throws -> Variable {
        try segmentationLoss(logits: x, labels: labels, kind: kind, classWeights: weights)
      }
      let place = "SegmentationLossTests.swift:"
      expectError(.shape, ["label", "[?, 8, 8]", "[?, 1, 8, 8]", place]) {
        try loss(flat, .dice)
      }
      expectError(.shape, ["label", "[?, 8, 8]", place]) { try loss(flat, .lovasz) }
      expectError(.dtype, ["label", "float32", "int64", place]) { try loss(x, .crossEntropy) }
      expectError(.attribute, ["class weights", "got 2", "3 classes", place]) {
        try loss(y, .crossEntropy, weights: [1, 2])
      }
      expectError(.attribute, ["-1.0 for class 1", "at least 0"]) {
        try loss(y, .crossEntropy, weights: [1, -1, 2])
      }
      expectError(.attribute, ["weights for dice", "cross_entropy"]) {
        try loss(y, .dice, weights: [1, 1, 1])
      }
    }
  }

  @Test func names() throws {
    func message(_ name: String) -> String {
      do { return try SegmentationLossKind(named: name).name } catch { return "\(error)" }
    }
    #expect(message("dise").contains("\"dise\"") && message("dise").contains("\"dice\""))
    #expect(message("dice+").contains("\"\"") && message("dice+").contains("cross_entropy"))
    let sum = try SegmentationLossKind(named: "lovasz+dice+lovasz")
    #expect(sum == .lovasz + .dice && sum.name == "lovasz+dice")
  }
}
