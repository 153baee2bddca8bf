import ABNGraph

/// The passes that make a training step need less memory, in the order in which they run. Each
/// decides by itself; none changes a result but by the rounding of a restored value.
public let memoryPasses: [any ProgramPass] = [
  SubtractResiduals(), RecomputeActivations(), SaveMasks(), RestoreInputs(),
]
