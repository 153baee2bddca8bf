import ABNRuntime

/// Which kernels run a layer: those that keep what they read on the chip, where they can, else
/// those of any size.
struct LayerPlan {
  let resident: LayerResident?
  let general: LayerGeneral

  init(
    _ variant: LayerVariant, _ device: CUDADevice, tuning: LayerTuning = LayerTuning()
  ) throws {
    // Without sums there is nothing to keep.
    let hasSums = variant.isTraining || variant.rescues
    resident = hasSums ? try LayerResident(variant, device, tuning: tuning) : nil
    general = LayerGeneral(variant, device)
  }

  /// Scratch memory.
  var forwardBytes: Int { resident?.forwardBytes ?? general.forwardBytes }
  var backwardBytes: Int { resident?.backwardBytes ?? general.backwardBytes }

  func forward(_ operands: LayerForwardOperands, _ rescue: RescueRoom?, scratch: Int) throws
    -> [KernelLaunch]
  {
    try resident?.forward(operands, rescue, scratch: scratch)
      ?? general.forward(operands, rescue, scratch: scratch)
  }

  func backward(_ operands: LayerBackwardOperands, _ rescue: RescueRoom?, scratch: Int) throws
    -> [KernelLaunch]
  {
    try resident?.backward(operands, rescue, scratch: scratch)
      ?? general.backward(operands, rescue, scratch: scratch)
  }
}
