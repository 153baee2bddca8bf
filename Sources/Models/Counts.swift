import ABNGraph
import ABNOperators
import ABNTensors

extension Program {
  /// The numbers that an optimizer trains: moving statistics and fixed filters are not among them.
  public var trainedParameterCount: Int {
    parameters.filter { $0.parameterTraits?.trainable == true }
      .reduce(0) { $0 + $1.shape.elementCount }
  }

  /// The multiply-adds of the convolutions and matrix products of a program, forward and backward.
  ///
  /// A convolution has N O H' W' * (C / groups) kh kw of them, taps on padding included as is
  /// usual; a product of [M, K] and [K, L] has M K L; each of their gradients has as many as the
  /// operator itself; Int.max stands for all that is more. Bias, normalization, activations,
  /// pooling and sums do not count. Where the batch is
  /// unknown, the number is that of one image.
  public var multiplyAdds: Int {
    operators.reduce(0) { sum, op in
      let (next, overflow) = sum.addingReportingOverflow(multiplyAdds(of: op))
      return overflow ? .max : next
    }
  }

  /// The multiply-adds of one operator of this program: 0 for all but convolutions, matrix products
  /// and their gradients. See `multiplyAdds`.
  package func multiplyAdds(of op: Operator) -> Int {
    func elements(_ id: VariableID) -> Int {
      self[id].shape.dimensions.reduce(1) { $0 * ($1 < 0 ? 1 : $1) }
    }
    // y or dy, and the position of w among the inputs.
    let (result, position): (VariableID, Int)
    switch op.kind {
    case is Conv2D, is Conv2DFusion, is Mul: (result, position) = (op.outputs[0], 1)
    case is Conv2DDataGradient, is MulDataGradient: (result, position) = (op.inputs[1], 0)
    case is Conv2DWeightGradient, is MulWeightGradient:
      (result, position) = (op.inputs[1], 2)
    default: return 0
    }
    // Filters stand first in a convolution's weight, last in a matrix.
    let weight = self[op.inputs[position]].shape
    let outputs = max(1, weight.rank == 4 ? weight[0] : weight[1])
    return saturatingProduct(elements(result), weight.elementCount / outputs)
  }
}
