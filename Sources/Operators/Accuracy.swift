// Shapes: scores [N, C]; label int64 [N, 1]; out float32 [1].

import ABNGraph
import ABNTensors

/// out = the share of rows whose label is among the k classes with the largest scores.
///
/// Of equal scores the class with the lower number comes first. A label whose score is NaN is a
/// miss, and so is `noClass`; any other label that is no class ends the run with an error that
/// names its row. No gradient.
package struct Accuracy: OperatorKind {
  package static let kindName = "accuracy"
  package static let formula = "out = share of rows whose label is among the k largest scores"

  /// The label of a row without a class: by default the one that the loss leaves out.
  package static let noClass = -100

  /// How many classes count as hits.
  package let k: Int

  /// A hit within the first `k`.
  ///
  /// - Throws: `ABNError(.attribute)` for a k below 1.
  package init(k: Int = 1) throws {
    guard k >= 1 else {
      throw ABNError(.attribute, "k", got: "\(k)", wanted: "at least 1")
    }
    self.k = k
  }

  package var attributes: [(name: String, value: String)] { [("k", "\(k)")] }

  package var inputCounts: ClosedRange<Int> { 2...2 }
  package func inferTypes(_ inputs: [TensorType]) throws -> [TensorType] {
    let (scores, label) = (inputs[0], inputs[1])
    try requireFloatingPoint(scores, "input")
    try requireRank(scores, 2...2, "input")
    guard label.dtype == .int64 else {
      throw ABNError(
        .dtype, "label", got: "\(label.dtype)", wanted: "int64", fix: "Convert it with cast.")
    }
    guard label.shape.rank == 2, agrees(label.shape[0], scores.shape[0]), agrees(label.shape[1], 1)
    else {
      throw ABNError(
        .shape, "label", got: "shape \(label.shape)",
        wanted: "\(Shape([scores.shape[0], 1])) for an input \(scores.shape)")
    }
    guard scores.shape[1] < 0 || k <= scores.shape[1] else {
      throw ABNError(
        .attribute, "k", got: "\(k)", wanted: "at most the \(scores.shape[1]) classes")
    }
    return [TensorType([1], .float32)]
  }

  /// None: a share of rows jumps.
  package func gradients(_ c: inout GradientContext) throws -> [Variable?] { [nil, nil] }
}
