import ABNGraph
import ABNTensors

/// What a segmentation minimizes.
package struct SegmentationLossKind: Sendable, Hashable {
  package enum Term: String, Sendable, CaseIterable {
    case crossEntropy = "cross_entropy"
  }

  package let terms: [Term]
  package static let crossEntropy = SegmentationLossKind(terms: [.crossEntropy])

  private init(terms: [Term]) { self.terms = terms }

  /// - Throws: `ABNError(.name)` that names the nearest.
  package init(named name: String) throws {
    self.init(terms: [try Term.named(name, as: "loss of a segmentation")])
  }

  package var name: String { terms.map(\.rawValue).joined(separator: "+") }
}

/// The mean cross entropy of the pixels that count, [1]: the sum of w_(y_i) times the loss of pixel
/// i over the sum of w_(y_i), w the class weights, 1 unless given; 0 where no pixel counts.
///
/// Shapes: logits [N, K, H, W], labels int64 [N, 1, H, W].
package func segmentationLoss(
  logits: Variable, labels: Variable, kind: SegmentationLossKind = .crossEntropy,
  ignoreIndex: Int = -100, classWeights: [Double]? = nil
) throws -> Variable {
  let losses = try softmaxWithCrossEntropy(logits, labels, ignoreIndex: ignoreIndex, axis: 1)
  let numbers = try cast(labels, to: logits.dtype)
  /// 1 where the label is this number, else 0.
  func isLabel(_ number: Int) throws -> Variable {
    try relu(1 - abs(numbers - Double(number)))
  }
  guard let classWeights else {
    let count = try reduceSum(1 - isLabel(ignoreIndex))
    return try reduceSum(losses) / (relu(count - 1) + 1)
  }
  let parts = try classWeights.enumerated().map { try isLabel($0.offset) * $0.element }
  let weights = try sums(parts)
  let least = classWeights.filter { $0 > 0 }.min() ?? 1
  return try reduceSum(losses * weights) / (relu(reduceSum(weights) - least) + least)
}
