// Shapes: p [N, K, ...]; label int64 [N, 1, ...]; loss [1]; slope like p.

import ABNGraph
import ABNTensors

/// loss = the mean over the classes that are there of the Lovasz extension of the Jaccard loss,
/// from probabilities of the classes.
///
/// For class k the errors of the places that count are m_i = 1 - p_ik where the label is k, else
/// p_ik. In falling order, with F(r) and B(r) the number of the first r places inside and outside
/// of the class, J(r) = 1 - (F(n) - F(r)) / (F(n) + B(r)), and the class has the loss
/// sum over r of m_(r) (J(r) - J(r - 1)). A class that no counted place has is left out; without
/// any class the loss is 0.
///
/// The loss is linear between changes of that order, so that its slope is made with it:
/// slope_ik = dloss / dp_ik. Of equal errors, which may stand in any order, the earlier place comes
/// first. A label that is neither a class nor `ignoreIndex` ends the run with an error that names
/// the row; places with `ignoreIndex` have no loss and no slope. Labels get no gradient.
///
/// Source: Berman, Rannen Triki, Blaschko, "The Lovasz-Softmax loss" (CVPR 2018, arXiv 1705.08790),
/// equations 8, 9 and 13, over a batch as a whole and its present classes, as in the authors'
/// program.
package struct LovaszSoftmax: OperatorKind {
  package static let kindName = "lovasz_softmax"
  package static let formula = "loss = mean over classes of the Lovasz extension of 1 - Jaccard"

  /// The label of places that do not count.
  package let ignoreIndex: Int

  /// Inputs: p, label. Outputs: loss, slope.
  package init(ignoreIndex: Int = -100) { self.ignoreIndex = ignoreIndex }

  package var attributes: [(name: String, value: String)] { [("ignoreIndex", "\(ignoreIndex)")] }

  package var inputCounts: ClosedRange<Int> { 2...2 }
  package func inferTypes(_ inputs: [TensorType]) throws -> [TensorType] {
    try requireLabels(inputs[1], for: inputs[0])
    return [TensorType([1], inputs[0].dtype), inputs[0]]
  }

  /// Nothing flows through the slope, which is the same wherever the order is.
  package func gradients(_ c: inout GradientContext) throws -> [Variable?] {
    guard let dloss = c.outputGradients[0] else { return [nil, nil] }
    return [try c.append(Elementwise(.multiply), c.outputs[1], dloss), nil]
  }
}
