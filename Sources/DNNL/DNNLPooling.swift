import ABNTensors
import CDNNL

/// The window of a pooling; one number per spatial axis in each array, in logical order.
package struct DNNLPooling: Hashable, Sendable {
  /// What is made of the elements under the window.
  package enum Algorithm: Sendable, Hashable, CaseIterable {
    /// The largest; the first of equal ones is its winner in the backward pass.
    case max
    /// The sum divided by the window's size.
    case averageIncludingPadding
    /// The sum divided by the number of elements that are not padding.
    case averageExcludingPadding
  }

  package var algorithm: Algorithm
  /// Elements under the window.
  package var kernel: [Int]
  /// Input elements between neighbouring outputs.
  package var strides: [Int]
  /// Padding before the first element.
  package var paddingBefore: [Int]
  /// Padding after the last element; may be what a rounded-up output size needs.
  package var paddingAfter: [Int]

  package init(
    _ algorithm: Algorithm, kernel: [Int], strides: [Int], paddingBefore: [Int],
    paddingAfter: [Int]? = nil
  ) {
    self.algorithm = algorithm
    self.kernel = kernel
    self.strides = strides
    self.paddingBefore = paddingBefore
    self.paddingAfter = paddingAfter ?? paddingBefore
  }

  /// out = floor((in + before + after - kernel) / stride) + 1, per spatial axis.
  package func outputSizes(input: [Int]) -> [Int] {
    input.indices.map {
      (input[$0] + paddingBefore[$0] + paddingAfter[$0] - kernel[$0]) / strides[$0] + 1
    }
  }
}

extension DNNLPooling {
  /// Whether all numbers are finite: those of a sum that did not overflow.
  package static func areFinite(_ x: UnsafePointer<Float>, count: Int) -> Bool {
    abn_dnnl_all_finite(x, Int64(count)) != 0
  }

  /// Whether all numbers are above the lowest finite one, and none is NaN: those whose maximum
  /// oneDNN finds.
  package static func areAboveLowest(_ x: UnsafePointer<Float>, count: Int) -> Bool {
    abn_dnnl_all_above_lowest(x, Int64(count)) != 0
  }
}

extension DNNLPrimitive {
  /// destination = pooled source, both [N, C, spatial] of one element type.
  ///
  /// With `training`, max pooling writes its winners into a workspace
  /// (`descriptor(.workspace)?.byteCount` bytes) that the backward pass reads; averages have none.
  /// `source` must have a layout; `destination` may be `.any`.
  package static func poolingForward(
    _ window: DNNLPooling, source: DNNLDescriptor, destination: DNNLDescriptor,
    training: Bool = true
  ) throws(ABNError) -> DNNLPrimitive {
    let w = try Numbers(window, rank: source.dims.count)
    return try made("pooling forward", [source, destination]) {
      abn_dnnl_pooling_forward(
        training ? 1 : 0, w.algorithm, source.handle, destination.handle, w.strides, w.kernel,
        w.before, w.after, $0)
    }
  }

  /// diffSource = the gradient of the source, from diffDestination and the workspace.
  ///
  /// `source` and `destination` are the descriptors of the forward pass as they were given there:
  /// they decide the workspace's format, which must be the forward one's (compare the descriptors).
  package static func poolingBackward(
    _ window: DNNLPooling, source: DNNLDescriptor, destination: DNNLDescriptor,
    diffSource: DNNLDescriptor, diffDestination: DNNLDescriptor
  ) throws(ABNError) -> DNNLPrimitive {
    let w = try Numbers(window, rank: source.dims.count)
    let given = [source, destination, diffSource, diffDestination]
    return try made("pooling backward", given) {
      abn_dnnl_pooling_backward(
        w.algorithm, source.handle, destination.handle, diffSource.handle,
        diffDestination.handle, w.strides, w.kernel, w.before, w.after, $0)
    }
  }

  /// The window in the shim's numbers, its counts checked because the shim reads that many.
  private struct Numbers {
    let strides, kernel, before, after: [Int64]
    let algorithm: Int32

    init(_ window: DNNLPooling, rank: Int) throws(ABNError) {
      for (name, list) in [
        ("kernel", window.kernel), ("strides", window.strides),
        ("paddingBefore", window.paddingBefore), ("paddingAfter", window.paddingAfter),
      ] where list.count != rank - 2 {
        throw ABNError(
          .shape, "oneDNN pooling: \(name)", got: "\(list.count) numbers for rank \(rank)",
          wanted: "\(rank - 2), one for each spatial axis")
      }
      strides = window.strides.map(Int64.init)
      kernel = window.kernel.map(Int64.init)
      before = window.paddingBefore.map(Int64.init)
      after = window.paddingAfter.map(Int64.init)
      switch window.algorithm {
      case .max: algorithm = ABN_DNNL_MAX
      case .averageIncludingPadding: algorithm = ABN_DNNL_AVERAGE_INCLUDING_PADDING
      case .averageExcludingPadding: algorithm = ABN_DNNL_AVERAGE_EXCLUDING_PADDING
      }
    }
  }
}
