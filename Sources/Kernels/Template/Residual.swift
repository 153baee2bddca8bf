/// What a residual block does beside its layers, over neighbouring elements; the same numbers for every
/// instruction set. act is leaky ReLU with a slope, act' its derivative told from its result.
public enum CombineStep {
  /// out = act(a + b)
  public static let sum = 0
  /// out = act^-1(a) - b; the slope is the inverse one.
  public static let term = 1
  /// out = (b + c) * act'(a)
  public static let gradient = 2
  /// out = 16 sums of (a + b)^2, of elements 16 apart; `count` is a multiple of 16.
  public static let squares = 3
}

/// One `CombineStep` over `count` elements, float64 (`wide`) or float32. `out` may be any of the
/// operands; operands that a step does not use may be any valid pointers.
public func combine(
  _ step: Int, _ wide: Bool, _ a: UnsafeRawPointer, _ b: UnsafeRawPointer, _ c: UnsafeRawPointer,
  _ out: UnsafeMutableRawPointer, _ count: Int, _ slope: Double
) {
  if wide {
    combine(Float64Element.self, step, a, b, c, out, count, slope)
  } else {
    combine(Float32Element.self, step, a, b, c, out, count, slope)
  }
}

private func combine<E: Element>(
  _ element: E.Type, _ step: Int, _ a: UnsafeRawPointer, _ b: UnsafeRawPointer,
  _ c: UnsafeRawPointer, _ out: UnsafeMutableRawPointer, _ count: Int, _ slope: Double
) {
  switch step {
  case CombineStep.sum where slope == 0:
    overElements(element, ReLUSum<E.V>(), a, b, c, out, count)
  case CombineStep.sum:
    overElements(element, ResidualSum(slope: E.V(slope)), a, b, c, out, count)
  case CombineStep.term:
    overElements(element, ResidualTerm(inverseSlope: E.V(slope)), a, b, c, out, count)
  case CombineStep.gradient where slope == 0:
    overElements(element, ReLUSumGradient<E.V>(), a, b, c, out, count)
  case CombineStep.gradient:
    overElements(element, LeakySumGradient(slope: E.V(slope)), a, b, c, out, count)
  default:
    var sums = E.V(0)
    var index = 0
    while index < count {
      let s = E.load(a, index) + E.load(b, index)
      sums = E.V.fma(sums, s, s)
      index &+= 16
    }
    sums.store(out, 0)
  }
}

/// One arithmetic on three vectors.
private protocol Combination {
  associatedtype V: Vector
  /// Whether c is read.
  static var readsThird: Bool { get }
  func map(_ a: V, _ b: V, _ c: V) -> V
}

private struct ResidualSum<V: Vector>: Combination {
  let slope: V
  static var readsThird: Bool { @inline(__always) get { false } }
  @inline(__always) func map(_ a: V, _ b: V, _ c: V) -> V {
    let s = a + b
    return V.choose(V.exceedsNot(s, V(0)), s * slope, s)
  }
}

private struct ResidualTerm<V: Vector>: Combination {
  let inverseSlope: V
  static var readsThird: Bool { @inline(__always) get { false } }
  @inline(__always) func map(_ a: V, _ b: V, _ c: V) -> V {
    V.choose(V.exceedsNot(a, V(0)), a * inverseSlope, a) - b
  }
}

private struct LeakySumGradient<V: Vector>: Combination {
  let slope: V
  static var readsThird: Bool { @inline(__always) get { true } }
  @inline(__always) func map(_ a: V, _ b: V, _ c: V) -> V {
    let dy = b + c
    return V.choose(V.exceedsNot(a, V(0)), dy * slope, dy)
  }
}

/// A product with a slope of 0 would make NaN of an infinite sum. A sum that is not a number stays so.
private struct ReLUSum<V: Vector>: Combination {
  static var readsThird: Bool { @inline(__always) get { false } }
  @inline(__always) func map(_ a: V, _ b: V, _ c: V) -> V {
    let s = a + b
    return V.choose(V(0) > s, V(0), s)
  }
}

/// A product with a slope of 0 would make NaN of an infinite gradient.
private struct ReLUSumGradient<V: Vector>: Combination {
  static var readsThird: Bool { @inline(__always) get { true } }
  @inline(__always) func map(_ a: V, _ b: V, _ c: V) -> V {
    V.choose(a > V(0), b + c, V(0))
  }
}

@inline(__always) private func overElements<E: Element, C: Combination>(
  _ element: E.Type, _ combination: C, _ a: UnsafeRawPointer, _ b: UnsafeRawPointer,
  _ c: UnsafeRawPointer, _ out: UnsafeMutableRawPointer, _ count: Int
) where C.V == E.V {
  var index = 0
  while index &+ 16 <= count {
    let third = C.readsThird ? E.load(c, index) : E.V(0)
    E.store(combination.map(E.load(a, index), E.load(b, index), third), out, index)
    index &+= 16
  }
  let rest = count &- index
  if rest > 0 {
    let third = C.readsThird ? E.loadTail(c, index, rest) : E.V(0)
    E.storeTail(
      combination.map(E.loadTail(a, index, rest), E.loadTail(b, index, rest), third), out, index,
      rest)
  }
}
