import CKernels

/// The shape of a call.
struct Extent {
  var rows: Bool
  var runs: Int
  var stride: Int
  var length: Int
}

@inline(__always) private func go<O: LaneOperation>(
  _ operation: O.Type, _ call: Call, _ extent: Extent
) {
  if extent.rows {
    overRows(operation, call, extent.runs, extent.length)
  } else {
    overRuns(operation, call, extent.runs, extent.stride, extent.length)
  }
}

private func invertible<E: Element, A: InvertibleActivation>(
  _ element: E.Type, _ activation: A.Type, _ step: Int, _ call: Call, _ extent: Extent
) {
  switch step {
  case Step.forward: go(ForwardOperation<E, A>.self, call, extent)
  case Step.reduce: go(ReduceOperation<InvertedSource<E, A>>.self, call, extent)
  case Step.apply: go(ApplyOperation<InvertedSource<E, A>>.self, call, extent)
  case Step.reduceDirect: go(DirectReduceOperation<E, A>.self, call, extent)
  case Step.applyDirect: go(DirectApplyOperation<E, A>.self, call, extent)
  default: prepare(element, activation, call)
  }
}

private func prepare<E: Element, A: InvertibleActivation>(
  _ element: E.Type, _ activation: A.Type, _ call: Call
) {
  var lane = 0
  while lane < call.lanes {
    let bias: E.V = call.parameter(Slot.bias, lane)
    let slope: E.V = call.parameter(Slot.slope, lane)
    E.rounded(A.activate(bias, slope)).store(call.parameters, Slot.plain &* call.lanes &+ lane)
    lane &+= 16
  }
}

private func dispatch<E: Element>(
  _ element: E.Type, _ step: Int, _ call: Call, _ extent: Extent
) {
  switch step {
  case Step.statistics: go(StatisticsOperation<E>.self, call, extent)
  case Step.carefulStatistics:
    overRuns(
      CarefulStatisticsOperation<E>.self, call, extent.runs, extent.stride, extent.length)
  case Step.reduceStored, Step.reduceInput:
    go(ReduceOperation<KeptSource<E>>.self, call, extent)
  case Step.applyStored, Step.applyInput:
    go(ApplyOperation<KeptSource<E>>.self, call, extent)
  case Step.restore: go(RestoreOperation<E>.self, call, extent)
  case Step.activate: go(ActivateOperation<E>.self, call, extent)
  case Step.prepareStored: prepare(element, Identity.self, call)
  default:
    switch call.activation {
    case ActivationCode.leaky: invertible(element, Leaky.self, step, call, extent)
    case ActivationCode.learnedLeaky:
      // Only the sums know that the slope is learned.
      switch step {
      case Step.reduce: go(ReduceOperation<InvertedSource<E, LearnedLeaky>>.self, call, extent)
      case Step.reduceDirect: go(DirectReduceOperation<E, LearnedLeaky>.self, call, extent)
      default: invertible(element, Leaky.self, step, call, extent)
      }
    case ActivationCode.elu:
      // All channels have one alpha, which stands in every lane.
      let alpha: E.V = call.parameter(Slot.slope, 0)
      if alpha.first == 1 {
        invertible(element, UnitElu.self, step, call, extent)
      } else {
        invertible(element, Elu.self, step, call, extent)
      }
    default: invertible(element, Identity.self, step, call, extent)
    }
  }
}

/// The one way in.
public func run(_ call: abn_kernel_call) {
  let isUniform = call.lanes == 1
  let step = call.step
  let operands = Call(
    a: call.a, b: call.b, out: call.out, parameters: call.parameters, state: call.state,
    sums: call.sums, lanes: isUniform ? 16 : call.lanes, isUniform: isUniform,
    activation: call.activation, keeps: call.keeps,
    isInput: step == Step.reduceInput || step == Step.applyInput, isFar: call.is_far,
    later: call.later, starts: call.starts)
  let extent = Extent(
    rows: call.is_rows, runs: call.count, stride: call.stride, length: call.length)
  switch call.element {
  case 0: dispatch(Float16Element.self, step, operands, extent)
  case 1: dispatch(BFloat16Element.self, step, operands, extent)
  case 2: dispatch(Float32Element.self, step, operands, extent)
  default: dispatch(Float64Element.self, step, operands, extent)
  }
}

/// What memory allows, for the benchmarks: goes over the lines of 64 bytes `first` ..< `end` of `base`
/// with the vectors of this set. `changes`: each is read and written; else all are read, and so that the
/// reads are kept the first word is set in the one case of 2^96 that three of their sums are 1, 2 and 3.
public func sweep(_ changes: Bool, _ base: UnsafeMutableRawPointer, _ first: Int, _ end: Int) {
  var at = first &* 64
  let last = end &* 64
  if changes {
    while at < last {
      let line = base.loadUnaligned(fromByteOffset: at, as: SIMD16<UInt32>.self)
      base.storeBytes(of: line ^ 1, toByteOffset: at, as: SIMD16<UInt32>.self)
      at &+= 64
    }
    return
  }
  var seen = SIMD16<UInt32>()
  while at < last {
    seen ^= base.loadUnaligned(fromByteOffset: at, as: SIMD16<UInt32>.self)
    at &+= 64
  }
  if first < end, seen[0] == 1, seen[1] == 2, seen[2] == 3 {
    base.storeBytes(of: seen[0], toByteOffset: first &* 64, as: UInt32.self)
  }
}

/// Elementary functions on arrays, for the tests of their error bounds: 0 exp, 1 expm1 (x <= 0),
/// 2 log1p (-1 < x <= 0), 3 tanh, 4 sigmoid, 5 normal distribution,
/// 6 its density; 7, for that of masks: in all lanes the number whose bit n is whether x > 0 in lane n, with
/// 65536 beside it where any is.
/// `wide`: float64, else float32. `count` is a multiple of 16.
public func evaluate(
  _ function: Int, _ wide: Bool, _ x: UnsafeRawPointer, _ out: UnsafeMutableRawPointer, _ count: Int
) {
  if wide {
    evaluateAll(F64.self, function, x, out, count)
  } else {
    evaluateAll(F32.self, function, x, out, count)
  }
}

private func evaluateAll<V: Vector>(
  _ type: V.Type, _ function: Int, _ x: UnsafeRawPointer, _ out: UnsafeMutableRawPointer,
  _ count: Int
) {
  var index = 0
  while index < count {
    let value = V.load(x, index)
    let result: V =
      switch function {
      case 0: V.exp(value)
      case 1: V.expMinusOneOfNegative(value)
      case 2: V.logOfOnePlusNegative(value)
      case 3: V.tanh(value)
      case 4: V.sigmoid(value)
      case 5: V.normal(value).below
      case 6: V.normal(value).density
      default: V(Double((value > V(0)).bits + (V.any(value > V(0)) ? 0x1_0000 : 0)))
      }
    result.store(out, index)
    index &+= 16
  }
}
