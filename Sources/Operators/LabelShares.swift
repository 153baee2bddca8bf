// Shapes: label int64, any shape; out: the same.

import ABNGraph
import ABNTensors

/// out_i = weight[label_i] / the sum over j of weight[label_j]: what each row counts in a mean over
/// rows.
///
/// A row whose label is `ignoreIndex` has 0 and takes no part in the sum; where the sum is 0, all
/// are 0. Any other label that is no class ends the run with an error that names the row. No
/// gradient.
package struct LabelShares: OperatorKind {
  package static let kindName = "label_shares"
  package static let formula = "out = weight[label] / sum(weight[label])"

  /// The weight of each class.
  package let weights: [Double]
  /// The label of rows that do not count.
  package let ignoreIndex: Int
  /// The element type of the result.
  package let dtype: DType

  /// Inputs: label.
  ///
  /// - Parameter weights: one for each class, equal ones for a plain mean.
  /// - Throws: `ABNError(.attribute)` for no class, or a weight that is no finite number of at
  ///   least 0; `.dtype` for a result that is not of a floating-point type.
  package init(weights: [Double], ignoreIndex: Int = -100, dtype: DType = .float32) throws {
    guard !weights.isEmpty else {
      throw ABNError(.attribute, "class weights", got: "none", wanted: "one for each class")
    }
    if let bad = weights.firstIndex(where: { !($0 >= 0 && $0.isFinite) }) {
      throw ABNError(
        .attribute, "class weights", got: "\(weights[bad]) for class \(bad)",
        wanted: "finite numbers of at least 0")
    }
    try requireFloatingPoint(TensorType([1], dtype), "result")
    self.weights = weights
    self.ignoreIndex = ignoreIndex
    self.dtype = dtype
  }

  package var attributes: [(name: String, value: String)] {
    let isPlain = weights.allSatisfy { $0 == 1 }
    return [
      ("classes", "\(weights.count)"), ("ignoreIndex", "\(ignoreIndex)"), ("dtype", "\(dtype)"),
    ] + (isPlain ? [] : [("weights", "\(weights)")])
  }

  package var inputCounts: ClosedRange<Int> { 1...1 }
  package func inferTypes(_ inputs: [TensorType]) throws -> [TensorType] {
    try requireLabels(inputs[0])
    return [TensorType(inputs[0].shape, dtype)]
  }

  /// None: a label jumps.
  package func gradients(_ c: inout GradientContext) throws -> [Variable?] { [nil] }
}

/// Throws unless the type is that of class numbers.
func requireLabels(_ type: TensorType) throws {
  guard type.dtype == .int64 else {
    throw ABNError(
      .dtype, "label", got: "\(type.dtype)", wanted: "int64 class numbers",
      fix: "Convert it with cast.")
  }
}

/// Throws unless the types are those of probabilities [N, K, ...] and of a class for each place,
/// int64 [N, 1, ...].
func requireLabels(_ label: TensorType, for probabilities: TensorType) throws {
  try requireFloatingPoint(probabilities, "probabilities")
  try requireRank(probabilities, 2...6, "probabilities")
  try requireLabels(label)
  var wanted = probabilities.shape
  wanted[1] = 1
  guard label.shape.rank == wanted.rank,
    zip(label.shape.dimensions, wanted.dimensions).allSatisfy(agrees)
  else {
    throw ABNError(
      .shape, "label", got: "shape \(label.shape)",
      wanted: "\(wanted) for probabilities \(probabilities.shape)")
  }
}
