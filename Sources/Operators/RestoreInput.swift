// Shapes: as in InPlaceABN.swift.

import ABNGraph
import ABNTensors

/// x = mean + (act^-1(z) - bias) / (scale * inv): what an in-place layer overwrote, for a gradient
/// that tolerates rounding. Channels that cannot be inverted come from the layer's rescue buffer,
/// bit for bit; of the others the error is about u * (abs(bias / scale) + abs(xhat)) / inv. Inputs:
/// z, scale, bias, saved and, for prelu, slopes.
package struct RestoreInput: OperatorKind {
  package static let kindName = "inplace_abn_restore"
  package static let formula = "x = mean + (act^-1(z) - bias) / (scale * inv)"

  /// The layer that is inverted.
  package let forward: InPlaceActivatedBatchNorm
  /// The inverse of `forward`.
  package init(of forward: InPlaceActivatedBatchNorm) { self.forward = forward }

  package var attributes: [(name: String, value: String)] { forward.attributes }
  package var inputCounts: ClosedRange<Int> { forward.hasSlopes ? 5...5 : 4...4 }
  package func inferTypes(_ inputs: [TensorType]) throws -> [TensorType] {
    try forward.norm.requireSaved(
      image: inputs[0], scale: inputs[1], bias: inputs[2], saved: inputs[3])
    try forward.requireSlopes(inputs, at: 4)
    return [inputs[0]]
  }
  package var sharing: [SharingRule] { [SharingRule(output: 0, input: 0, .may)] }
}
