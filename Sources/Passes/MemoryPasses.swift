import ABNGraph

/// The passes that make a training step need less memory, in the order in which they run. Each
/// decides by itself; none changes a result but by the rounding of a restored value.
public let memoryPasses: [any ProgramPass] = [SubtractResiduals()] + laterMemoryPasses

/// The same, with the ends of residual blocks computed again, a way over memory, and not had back
/// by subtraction, which 16 bits do not allow.
package let exactMemoryPasses: [any ProgramPass] = [RecomputeSums()] + laterMemoryPasses

private let laterMemoryPasses: [any ProgramPass] = [
  RecomputeConcats(), RecomputeActivations(), SaveMasks(), RestoreInputs(),
]
