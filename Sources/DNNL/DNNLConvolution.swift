import ABNTensors
import CDNNL

/// The window of a convolution; one number per spatial axis in each array, in logical order.
package struct DNNLConvolution: Hashable, Sendable {
  /// How oneDNN computes it.
  package enum Algorithm: Sendable, Hashable {
    /// The sum as written.
    case direct
    /// The library chooses, Winograd included, whose rounding errors are larger.
    case automatic
  }

  /// Input elements between neighbouring outputs.
  package var strides: [Int]
  /// Input elements between neighbouring taps; 1 is a dense kernel.
  package var dilations: [Int]
  /// Zeros before the first element.
  package var paddingBefore: [Int]
  /// Zeros after the last element.
  package var paddingAfter: [Int]
  package var algorithm: Algorithm

  package init(
    strides: [Int], dilations: [Int]? = nil, paddingBefore: [Int], paddingAfter: [Int]? = nil,
    algorithm: Algorithm = .direct
  ) {
    self.strides = strides
    self.dilations = dilations ?? strides.map { _ in 1 }
    self.paddingBefore = paddingBefore
    self.paddingAfter = paddingAfter ?? paddingBefore
    self.algorithm = algorithm
  }

  /// out = floor((in + before + after - dilation (kernel - 1) - 1) / stride) + 1, for each axis.
  package func outputSizes(input: [Int], kernel: [Int]) -> [Int] {
    input.indices.map { i in
      let span = dilations[i] * (kernel[i] - 1) + 1
      return (input[i] + paddingBefore[i] + paddingAfter[i] - span) / strides[i] + 1
    }
  }
}

/// What is done to each element of a convolution before it is stored: first the sum, then
/// leaky_relu.
package struct DNNLEpilogue: Hashable, Sendable {
  /// Whether what stood in the destination is added.
  package var addsDestination = false
  /// The slope of leaky_relu below zero. Not 0: oneDNN would take the maximum with zero, and lose
  /// NaN.
  package var slope: Float?

  package init(addsDestination: Bool = false, slope: Float? = nil) {
    self.addsDestination = addsDestination
    self.slope = slope
  }
}

extension DNNLPrimitive {
  /// destination = source * weights + bias.
  ///
  /// source [N, C, spatial], weights [O, C, kernel] or, for groups, [G, O/G, C/G, kernel], bias
  /// [O], destination [N, O, out]. With `training` false the library may choose what only inference
  /// can use. `epilogue` is done to every element of destination before it is stored.
  /// Implementations whose names begin with `refused` are passed over. Any descriptor but bias may
  /// be `.any`; ask the result which was chosen.
  package static func convolutionForward(
    _ window: DNNLConvolution, source: DNNLDescriptor, weights: DNNLDescriptor,
    bias: DNNLDescriptor? = nil, destination: DNNLDescriptor, training: Bool = true,
    epilogue: DNNLEpilogue? = nil, refused: String? = nil
  ) throws(ABNError) -> DNNLPrimitive {
    let w = try Numbers(window, rank: source.dims.count)
    var steps = abn_dnnl_epilogue()
    steps.adds = epilogue?.addsDestination == true ? 1 : 0
    if let slope = epilogue?.slope { (steps.has_slope, steps.slope) = (1, slope) }
    return try made("convolution forward", [source, weights, bias, destination]) { result in
      withUnsafePointer(to: &steps) { steps in
        abn_dnnl_convolution_forward(
          training ? 1 : 0, w.algorithm, source.handle, weights.handle, bias?.handle,
          destination.handle, w.strides, w.dilations, w.before, w.after,
          epilogue == nil ? nil : steps, refused, result)
      }
    }
  }

  /// diffSource = the gradient of the source, from diffDestination and weights.
  ///
  /// Shapes are the forward ones; the result is written, not added to.
  package static func convolutionBackwardData(
    _ window: DNNLConvolution, diffSource: DNNLDescriptor, weights: DNNLDescriptor,
    diffDestination: DNNLDescriptor, refused: String? = nil
  ) throws(ABNError) -> DNNLPrimitive {
    let w = try Numbers(window, rank: diffSource.dims.count)
    return try made("convolution backward data", [diffSource, weights, diffDestination]) {
      abn_dnnl_convolution_backward_data(
        w.algorithm, diffSource.handle, weights.handle, diffDestination.handle, w.strides,
        w.dilations, w.before, w.after, refused, $0)
    }
  }

  /// diffWeights and, where asked for, diffBias, from source and diffDestination.
  ///
  /// Shapes are the forward ones; both results are written, not added to.
  package static func convolutionBackwardWeights(
    _ window: DNNLConvolution, source: DNNLDescriptor, diffWeights: DNNLDescriptor,
    diffBias: DNNLDescriptor? = nil, diffDestination: DNNLDescriptor, refused: String? = nil
  ) throws(ABNError) -> DNNLPrimitive {
    let w = try Numbers(window, rank: source.dims.count)
    let given = [source, diffWeights, diffBias, diffDestination]
    return try made("convolution backward weights", given) {
      abn_dnnl_convolution_backward_weights(
        w.algorithm, source.handle, diffWeights.handle, diffBias?.handle,
        diffDestination.handle, w.strides, w.dilations, w.before, w.after, refused, $0)
    }
  }

  /// The window in the shim's numbers, its counts checked because the shim reads that many.
  private struct Numbers {
    let strides, dilations, before, after: [Int64]
    let algorithm: Int32

    init(_ window: DNNLConvolution, rank: Int) throws(ABNError) {
      for (name, list) in [
        ("strides", window.strides), ("dilations", window.dilations),
        ("paddingBefore", window.paddingBefore), ("paddingAfter", window.paddingAfter),
      ] where list.count != rank - 2 {
        throw ABNError(
          .shape, "oneDNN convolution: \(name)", got: "\(list.count) numbers for rank \(rank)",
          wanted: "\(rank - 2), one for each spatial axis")
      }
      strides = window.strides.map(Int64.init)
      dilations = window.dilations.map(Int64.init)
      before = window.paddingBefore.map(Int64.init)
      after = window.paddingAfter.map(Int64.init)
      algorithm = window.algorithm == .automatic ? ABN_DNNL_AUTO : ABN_DNNL_DIRECT
    }
  }
}
