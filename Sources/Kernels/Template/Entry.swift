import CKernels

/// The one way in.
package func run(_ call: abn_kernel_call) {
  switch call.element {
  case 0: run(Float16Element.self, call)
  case 1: run(BFloat16Element.self, call)
  case 2: run(Float32Element.self, call)
  default: run(Float64Element.self, call)
  }
}

private func run<E: Element>(_ element: E.Type, _ call: Call) {
  switch call.step {
  // Runs of less than a vector have no centre.
  case Step.statistics where !call.is_rows && call.length < 16, Step.carefulStatistics:
    overRuns(SumPass<CarefulStatistics<E>>.self, call)
  case Step.statistics: sum(Statistics<E>.self, call)
  case Step.reduceStored, Step.reduceInput: sum(Gradient<Kept<E>>.self, call)
  case Step.applyStored, Step.applyInput: map(Gradient<Kept<E>>.self, call)
  default:
    switch call.activation {
    case ActivationCode.identity: run(element, Identity.self, call)
    case ActivationCode.elu: runElu(element, call)
    // Only the sums know that a slope is learned.
    case ActivationCode.learnedLeaky where call.step == Step.reduce:
      sum(Gradient<Inverse<E, LearnedLeaky>>.self, call)
    case ActivationCode.learnedLeaky where call.step == Step.reduceDirect:
      sum(DirectGradient<E, LearnedLeaky>.self, call)
    default: run(element, Leaky.self, call)
    }
  }
}

/// The steps that are compiled for each invertible activation.
private func run<E: Element, A: InvertibleActivation>(
  _ element: E.Type, _ activation: A.Type, _ call: Call
) {
  switch call.step {
  case Step.reduce: sum(Gradient<Inverse<E, A>>.self, call)
  case Step.apply: map(Gradient<Inverse<E, A>>.self, call)
  case Step.restore: map(Restore<E, A>.self, call)
  default: runUsual(element, activation, call)
  }
}

/// The steps that nearly all elements of a training go through.
private func runUsual<E: Element, A: InvertibleActivation>(
  _ element: E.Type, _ activation: A.Type, _ call: Call
) {
  switch call.step {
  case Step.forward: map(Forward<E, A>.self, call)
  case Step.reduceDirect: sum(DirectGradient<E, A>.self, call)
  default: map(DirectGradient<E, A>.self, call)
  }
}

/// Nearly always alpha is 1. All channels have the same, which stands in every lane.
private func runElu<E: Element>(_ element: E.Type, _ call: Call) {
  let step = call.step
  let isUsual = step == Step.forward || step == Step.reduceDirect || step == Step.applyDirect
  let alpha: E.V = call.parameter(Slot.slope, 0)
  if isUsual && alpha.first == 1 {
    runUsual(element, UnitElu.self, call)
  } else {
    run(element, Elu.self, call)
  }
}

@inline(__always) private func map<M: LaneMap>(_ operation: M.Type, _ call: Call) {
  if call.is_rows { overRows(MapPass<M>.self, call) } else { overRuns(MapPass<M>.self, call) }
}

@inline(__always) private func sum<S: LaneSum>(_ operation: S.Type, _ call: Call) {
  if call.is_rows { overRows(SumPass<S>.self, call) } else { overRuns(SumPass<S>.self, call) }
}
