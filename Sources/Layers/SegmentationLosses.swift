import ABNGraph
import ABNOperators
import ABNTensors

/// What a segmentation minimizes: one loss, or the sum of several: `.crossEntropy + .dice`.
///
/// With p_ik the softmax of the logits of pixel i, y_i its label, and i running over the pixels of
/// the batch whose label is not the ignored one:
///
/// | name | loss |
/// |---|---|
/// | `cross_entropy` | -(the sum of w_(y_i) log p_(i, y_i)) / (the sum of w_(y_i)), w the class weights, 1 unless given |
/// | `dice` | 1 - the mean over all classes k of (2 I_k + 1) / (P_k + Y_k + 1); I_k: the sum of p_ik where y_i is k; P_k: the sum of p_ik; Y_k: the number of pixels of class k |
/// | `lovasz` | the mean over the classes that are there of the Lovasz extension of 1 - Jaccard: `LovaszSoftmax` |
///
/// Sources: for `dice` Milletari, Navab, Ahmadi, "V-Net" (3DV 2016, arXiv 1606.04797), with sums of
/// probabilities in the place of their squares as in Sudre et al., "Generalised Dice overlap"
/// (2017, arXiv 1707.03237), over all pixels of a batch; the 1 in both, in pixels, keeps a class
/// that is neither there nor predicted at no loss. For `lovasz` Berman et al. (CVPR 2018, arXiv
/// 1705.08790).
package struct SegmentationLossKind: Sendable, Hashable {
  /// One of the summed losses.
  package enum Term: String, Sendable, CaseIterable {
    case crossEntropy = "cross_entropy"
    case dice, lovasz
  }

  /// The losses that are added, each once.
  package let terms: [Term]

  package static let crossEntropy = SegmentationLossKind(terms: [.crossEntropy])
  package static let dice = SegmentationLossKind(terms: [.dice])
  package static let lovasz = SegmentationLossKind(terms: [.lovasz])

  private init(terms: [Term]) { self.terms = terms }

  /// The sum; what stands on both sides counts once.
  package static func + (a: Self, b: Self) -> Self {
    Self(terms: a.terms + b.terms.filter { !a.terms.contains($0) })
  }

  /// The losses of a name: `dice`, or names joined by plus signs: `cross_entropy+lovasz`.
  ///
  /// - Throws: `ABNError(.name)` that names the nearest.
  package init(named name: String) throws {
    let parts = name.split(separator: "+", omittingEmptySubsequences: false)
    self = try parts.map { part -> Self in
      guard let term = Term(rawValue: String(part)) else {
        throw ABNError(
          unknown: String(part), "loss of a segmentation", names: Term.allCases.map(\.rawValue))
      }
      return Self(terms: [term])
    }.reduce(Self(terms: []), +)
  }

  /// The name, as `init(named:)` takes it.
  package var name: String { terms.map(\.rawValue).joined(separator: "+") }
}

/// The loss of a segmentation, [1]: see `SegmentationLossKind` for the formulas.
///
/// Shapes: logits [N, K, H, W], labels int64 [N, 1, H, W]. Where no pixel counts, loss and gradient
/// are 0. Logits of 16 bits are cast, and the loss is float32.
///
/// - Parameters:
///   - ignoreIndex: the label of pixels that do not count.
///   - classWeights: of the cross entropy, one for each class, finite and at least 0.
/// - Throws: `ABNError(.shape)` or `.dtype` for labels that do not fit, `.attribute` for class
///   weights that are no K such numbers, or that no term of the loss takes. Another label that is
///   no class is an error of the run, which names row and label.
package func segmentationLoss(
  logits: Variable, labels: Variable, kind: SegmentationLossKind = .crossEntropy,
  ignoreIndex: Int = -100, classWeights: [Double]? = nil, name: String? = nil,
  file: StaticString = #fileID, line: UInt = #line
) throws -> Variable {
  try layer("segmentation_loss", name: name, file: file, line: line) { c in
    let dtype = logits.dtype.accumulation
    let x = logits.dtype == dtype ? logits : try c.append(Cast(to: dtype), logits)
    let takesWeights = kind.terms.contains(.crossEntropy)
    if classWeights != nil && !takesWeights {
      throw ABNError(
        .attribute, "class weights", got: "weights for \(kind.name)",
        wanted: "cross_entropy among the losses", fix: "Leave the weights out, or add it.")
    }
    let entropy = SoftmaxCrossEntropy(ignoreIndex: ignoreIndex, axis: 1)
    let (loss, probabilities) =
      takesWeights
      ? try c.append(entropy, [x, labels]).pair : (nil, try c.append(Softmax(axis: 1), x))
    let terms = try kind.terms.map { term in
      switch term {
      case .crossEntropy:
        let weights = try weights(classWeights, classes: x.shape[1])
        let shares = try LabelShares(weights: weights, ignoreIndex: ignoreIndex, dtype: dtype)
        let weighted = try c.append(Elementwise(.multiply), loss!, c.append(shares, labels))
        return try c.append(Reduce(.sum), weighted)
      case .dice:
        return try dice(
          c.append(ClassSums(ignoreIndex: ignoreIndex), [probabilities, labels]), in: c)
      case .lovasz:
        return try c.append(LovaszSoftmax(ignoreIndex: ignoreIndex), [probabilities, labels])[0]
      }
    }
    return terms.count == 1 ? terms[0] : try c.append(SumOf(), terms)[0]
  }
}

/// One weight for each class.
private func weights(_ given: [Double]?, classes: Int) throws -> [Double] {
  guard classes > 0 else {
    throw ABNError(.shape, "logits", got: "\(classes) classes", wanted: "[N, classes, H, W]")
  }
  guard let given else { return Array(repeating: 1, count: classes) }
  guard given.count == classes else {
    throw ABNError(
      .attribute, "class weights", got: "\(given.count)",
      wanted: "one for each of \(classes) classes"
    )
  }
  return given
}

/// 1 - the mean over the classes of (2 overlap + 1) / (mass + count + 1).
private func dice(_ sums: [Variable], in c: LayerContext) throws -> Variable {
  let upper = try c.append(Scale(factor: 2, bias: 1), sums[0])
  let lower = try c.append(Scale(bias: 1), c.append(Elementwise(.add), sums[1], sums[2]))
  let mean = try c.append(Reduce(.mean), c.append(Elementwise(.divide), upper, lower))
  return try c.append(Scale(factor: -1, bias: 1), mean)
}

extension [Variable] {
  /// The first two.
  fileprivate var pair: (Variable?, Variable) { (self[0], self[1]) }
}
