/// What an implementation of oneDNN does wrong, and for what it is therefore passed over.
///
/// Found by `InstructionSetPropertyTests`, which runs oneDNN as it is on processors of other
/// instruction sets. A rule is a matter of shapes alone, so that every processor and version of the
/// library takes it: where the implementation would not have been chosen, it changes nothing.
package struct DNNLFault: Sendable, Hashable {
  /// How the names of the implementations begin.
  package let prefix: String
  /// What they do wrong; follows their name.
  package let reason: String
}

extension DNNLFault {
  /// oneDNN 2.6 copies the pixels that a strided 1x1 window meets into scratch memory, whole
  /// vectors of channels at a time, into room for the channels that there are. With fewer channels
  /// than a vector has (8 in AVX2, 16 in AVX-512), it writes behind the scratch memory, and under
  /// AVX2 into its other parts.
  package static let stridedPoint = DNNLFault(
    prefix: "jit_1x1",
    reason:
      "writes behind its scratch memory in strided 1x1 weight gradients of fewer than 16 channels")

  /// oneDNN 2.6, on processors without AVX2, reads the sum of a depthwise convolution in NHWC
  /// through a wild address where the last vector of channels is not whole.
  package static let depthwiseSum = DNNLFault(
    prefix: "jit_dw:sse41",
    reason:
      "ends the process in depthwise convolutions that add a sum to channels not a multiple of 4"
  )

  /// oneDNN 2.6 leaves a sum out, or ends the process, in rows of the result that see nothing but
  /// padding.
  package static let sumInPadding = DNNLFault(
    prefix: "brgconv",
    reason: "does not add a sum to results that see nothing but padding")
}

extension ConvolutionProduct {
  /// The fault of an implementation that could be chosen for this product; nil where all are right.
  package var fault: DNNLFault? {
    switch direction {
    case .forward:
      guard epilogue?.addsDestination == true else { return nil }
      if isDepthwise { return shape.channels % 4 != 0 ? .depthwiseSum : nil }
      return seesOnlyPadding ? .sumInPadding : nil
    case .dataGradient: return nil
    case .weightGradient: return isStridedPoint && shape.channels < 16 ? .stridedPoint : nil
    }
  }

  /// Whether every channel is a group of its own.
  private var isDepthwise: Bool { shape.groups > 1 && shape.groups == shape.channels }

  /// Whether the kernel is one tap, and not every pixel is met.
  private var isStridedPoint: Bool {
    shape.kernelHeight == 1 && shape.kernelWidth == 1 && shape.window.strides != [1, 1]
  }

  /// Whether there is a row or column of results whose windows lie in the padding.
  private var seesOnlyPadding: Bool {
    func isOutside(_ axis: Int, _ output: Int, input: Int, taps: Int) -> Bool {
      let first = output * shape.window.strides[axis] - shape.window.paddingBefore[axis]
      return !(0..<taps).contains { tap in
        (0..<input).contains(first + tap * shape.window.dilations[axis])
      }
    }
    return (0..<shape.outHeight).contains {
      isOutside(0, $0, input: shape.height, taps: shape.kernelHeight)
    }
      || (0..<shape.outWidth).contains {
        isOutside(1, $0, input: shape.width, taps: shape.kernelWidth)
      }
  }
}
