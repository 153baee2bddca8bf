// Shapes: p [N, K, ...]; label int64 [N, 1, ...]; overlap, mass and count [K].

import ABNGraph
import ABNTensors

/// For each class k, over the places i whose label is not `ignoreIndex`:
/// overlap_k = the sum of p_ik where the label is k, mass_k = the sum of p_ik, count_k = the number
/// of labels k. What losses on regions, the soft Dice say, are made of.
///
/// The sums are in float32 where p has 16 bits. A label that is neither a class nor `ignoreIndex`
/// ends the run with an error that names the row. Labels get no gradient.
package struct ClassSums: OperatorKind {
  package static let kindName = "class_sums"
  package static let formula = "overlap_k = sum(p_k [label = k]), mass_k = sum(p_k), count_k"

  /// The label of places that do not count.
  package let ignoreIndex: Int

  /// Inputs: p, label. Outputs: overlap, mass, count.
  package init(ignoreIndex: Int = -100) { self.ignoreIndex = ignoreIndex }

  package var attributes: [(name: String, value: String)] { [("ignoreIndex", "\(ignoreIndex)")] }

  package var inputCounts: ClosedRange<Int> { 2...2 }
  package func inferTypes(_ inputs: [TensorType]) throws -> [TensorType] {
    try requireLabels(inputs[1], for: inputs[0])
    let sums = TensorType([inputs[0].shape[1]], inputs[0].dtype.accumulation)
    return [sums, sums, sums]
  }

  package func gradients(_ c: inout GradientContext) throws -> [Variable?] {
    guard c.outputGradients[0] != nil || c.outputGradients[1] != nil else { return [nil, nil] }
    let parts = try (0...1).map { index in
      try c.outputGradients[index] ?? c.append(ZerosLike(), c.outputs[index])
    }
    return [try c.append(ClassSumsGradient(of: self), [c.inputs[0], c.inputs[1]] + parts)[0], nil]
  }
}

/// dp_ik = doverlap_k [label_i = k] + dmass_k, 0 where the label is `ignoreIndex`; p is read for
/// its shape only.
package struct ClassSumsGradient: OperatorKind {
  package static let kindName = "class_sums_grad"
  package static let formula = "dp_k = doverlap_k [label = k] + dmass_k"

  /// The operator whose gradient this is.
  package let forward: ClassSums

  /// The gradient of `forward`. Inputs: p, label, doverlap, dmass.
  package init(of forward: ClassSums) { self.forward = forward }

  package var attributes: [(name: String, value: String)] { forward.attributes }
  package var inputCounts: ClosedRange<Int> { 4...4 }
  package func inferTypes(_ inputs: [TensorType]) throws -> [TensorType] {
    let made = try forward.outputTypes(for: [inputs[0], inputs[1]])
    try requireType(inputs[2], made[0], "doverlap")
    try requireType(inputs[3], made[1], "dmass")
    return [inputs[0]]
  }
  package var readsTypeOnly: Set<Int> { [0] }
}
