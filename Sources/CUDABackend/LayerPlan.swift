import ABNRuntime

/// Which kernels run a layer.
struct LayerPlan {
  private let general: LayerGeneral

  init(_ variant: LayerVariant, _ device: CUDADevice) throws {
    general = LayerGeneral(variant, device)
  }

  /// Scratch memory.
  var forwardBytes: Int { general.forwardBytes }
  var backwardBytes: Int { general.backwardBytes }
  /// For reports.
  var note: String? { nil }

  func forward(_ operands: LayerForwardOperands, _ rescue: RescueRoom?, scratch: Int) throws
    -> [KernelLaunch]
  {
    try general.forward(operands, rescue, scratch: scratch)
  }

  func backward(_ operands: LayerBackwardOperands, _ rescue: RescueRoom?, scratch: Int) throws
    -> [KernelLaunch]
  {
    try general.backward(operands, rescue, scratch: scratch)
  }
}
