/// Where y, dz/dy and the distance from the centre come from.
protocol Source {
  associatedtype E: Element
  static var hasSlopeGradient: Bool { get }
  init(_ call: Call, _ lane: Int)
  func point(_ value: E.V) -> Point<E.V>
}

/// y, dz/dy, and y - bias (or x - mean), which is xhat to a factor of the channel.
struct Point<V: Vector> {
  var y: V
  var derivative: V
  var distance: V
}

/// From z, by undoing the activation.
struct InvertedSource<E: Element, A: InvertibleActivation>: Source {
  let bias: E.V
  let slope: E.V
  let inverseSlope: E.V
  let plain: E.V

  static var hasSlopeGradient: Bool { @inline(__always) get { A.hasSlopeGradient } }

  @inline(__always) init(_ call: Call, _ lane: Int) {
    bias = call.parameter(Slot.bias, lane)
    slope = call.parameter(Slot.slope, lane)
    inverseSlope = call.parameter(Slot.inverseSlope, lane)
    plain =
      call.isUniform ? E.rounded(A.activate(bias, slope)) : call.parameter(Slot.plain, lane)
  }

  @inline(__always) func point(_ z: E.V) -> Point<E.V> {
    let (y, derivative) = A.invert(E.self, z, slope, inverseSlope)
    var distance = y - bias
    if !(A.isIdentity && E.isExact) {
      distance = E.V.choose(z == plain, E.V(0), distance)
    }
    return Point(y: y, derivative: derivative, distance: distance)
  }
}

/// From the stored y, or from the kept x, for any activation. Which of the two it is costs a branch
/// that is the same for a whole tensor.
struct KeptSource<E: Element>: Source {
  let minusMean: E.V
  let remainder: E.V
  let gain: E.V
  let bias: E.V
  let shiftedBias: E.V
  let slope: E.V
  let plain: E.V
  let unit: E.V
  let activation: Int
  let isInput: Bool

  static var hasSlopeGradient: Bool { @inline(__always) get { true } }

  @inline(__always) init(_ call: Call, _ lane: Int) {
    let mean: E.V = call.parameter(Slot.mean, lane)
    minusMean = -mean
    unit = call.parameter(Slot.unit, lane)
    remainder = call.parameter(Slot.meanRemainder, lane)
    gain = call.parameter(Slot.gain, lane)
    bias = call.parameter(Slot.bias, lane)
    shiftedBias = call.parameter(Slot.shiftedBias, lane)
    slope = call.parameter(Slot.slope, lane)
    plain = call.isUniform ? E.rounded(bias) : call.parameter(Slot.plain, lane)
    activation = call.activation
    isInput = call.isInput
  }

  @inline(__always) func point(_ value: E.V) -> Point<E.V> {
    var y = value
    var distance: E.V
    if isInput {
      // With a unit of 1 the difference itself.
      let centred = E.V.fma(minusMean, value, unit)
      distance = centred - remainder
      y = E.V.fma(shiftedBias, centred, gain)
    } else {
      distance = E.V.choose(value == plain, E.V(0), value - bias)
    }
    return Point(
      y: y, derivative: AnyActivation.derivative(activation, y, slope), distance: distance)
  }
}

/// Sums of dy, dy * distance and, for a learned slope, dz * min(y, 0).
struct ReduceOperation<S: Source>: LaneOperation {
  typealias E = S.E
  static var readsBoth: Bool { @inline(__always) get { true } }
  let source: S
  var dySum = S.E.V(0)
  var productSum = S.E.V(0)
  var slopeSum = S.E.V(0)
  /// Of the second half of every twin: chains of their own.
  var otherDySum = S.E.V(0)
  var otherProductSum = S.E.V(0)

  @inline(__always) init(_ call: Call, _ lane: Int) { source = S(call, lane) }

  /// Nothing to do: the sums are 0 from the start and after each `fold`, but for the end of a run that
  /// came after it.
  @inline(__always) mutating func begin(
    _ call: Call, _ index: Int, _ step: Int, _ available: Int, _ count: Int
  ) {}

  @inline(__always) mutating func resume(_ call: Call, _ lane: Int) {
    dySum = S.E.V.load(call.state, lane)
    productSum = S.E.V.load(call.state, call.lanes &+ lane)
    if S.hasSlopeGradient { slopeSum = S.E.V.load(call.state, 2 &* call.lanes &+ lane) }
  }

  @inline(__always) func suspend(_ call: Call, _ lane: Int) {
    dySum.store(call.state, lane)
    productSum.store(call.state, call.lanes &+ lane)
    if S.hasSlopeGradient { slopeSum.store(call.state, 2 &* call.lanes &+ lane) }
  }

  @inline(__always) mutating func add(_ value: S.E.V, _ dz: S.E.V) {
    let point = source.point(value)
    let dy = dz * point.derivative
    dySum = dySum + dy
    productSum = S.E.V.fma(productSum, dy, point.distance)
    if S.hasSlopeGradient {
      slopeSum = S.E.V.choose(
        point.y > S.E.V(0), slopeSum, S.E.V.fma(slopeSum, dz, point.y))
    }
  }

  @inline(__always) mutating func full(_ call: Call, _ index: Int) {
    add(S.E.load(call.a, index), S.E.load(call.b, index))
  }

  static var hasTwins: Bool { @inline(__always) get { E.hasTwins } }
  static var hasNeighbours: Bool { @inline(__always) get { true } }

  @inline(__always) mutating func twin(_ call: Call, _ index: Int) {
    let value = S.E.loadTwin(call.a, index)
    let dz = S.E.loadTwin(call.b, index)
    add(value.0, dz.0)
    (dySum, otherDySum) = (otherDySum, dySum)
    (productSum, otherProductSum) = (otherProductSum, productSum)
    add(value.1, dz.1)
    (dySum, otherDySum) = (otherDySum, dySum)
    (productSum, otherProductSum) = (otherProductSum, productSum)
  }

  /// A dz of 0 in the other lanes adds 0 to every sum.
  @inline(__always) mutating func partial(_ call: Call, _ index: Int, _ count: Int) {
    add(S.E.loadTail(call.a, index, count), S.E.loadTail(call.b, index, count))
  }

  static var nothing: Void { @inline(__always) get { () } }
  @inline(__always) func hold(_ call: Call, _ index: Int) {}

  @inline(__always) mutating func release(
    _ call: Call, _ held: Void, _ index: Int, _ count: Int
  ) {
    let valid = S.E.V.lanes > S.E.V(Double(15 &- count))
    // An infinite x that has been counted must not be again, not even times 0.
    let zero = S.E.V(0)
    add(
      S.E.V.choose(valid, S.E.load(call.a, index), zero),
      S.E.V.choose(valid, S.E.load(call.b, index), zero))
  }

  @inline(__always) mutating func fold(
    _ call: Call, _ lane: Int, _ vectors: Int, _ starts: Bool
  ) {
    if Self.hasTwins {
      dySum = dySum + otherDySum
      productSum = productSum + otherProductSum
      otherDySum = S.E.V(0)
      otherProductSum = S.E.V(0)
    }
    call.add(0, lane, dySum.wide, starts: starts)
    call.add(1, lane, productSum.wide, starts: starts)
    if S.hasSlopeGradient { call.add(2, lane, slopeSum.wide) }
    dySum = S.E.V(0)
    productSum = S.E.V(0)
    slopeSum = S.E.V(0)
  }
}

/// dx from the finished sums.
struct ApplyOperation<S: Source>: PlacewiseOperation {
  typealias E = S.E
  static var readsBoth: Bool { @inline(__always) get { true } }
  let source: S
  let dyFactor: S.E.V
  let offset: S.E.V
  let distanceFactor: S.E.V
  /// Where dx has no part of the distance, which may be infinite: a product with 0 would be NaN.
  let isAlone: S.E.V.Mask
  let keep: S.E.V.Mask
  let keeps: Bool

  @inline(__always) init(_ call: Call, _ lane: Int) {
    source = S(call, lane)
    dyFactor = call.parameter(Slot.dyFactor, lane)
    offset = call.parameter(Slot.offset, lane)
    distanceFactor = call.parameter(Slot.distanceFactor, lane)
    isAlone = distanceFactor == S.E.V(0)
    let kept: S.E.V = call.parameter(Slot.keep, lane)
    keep = kept > S.E.V(0)
    keeps = call.keeps
  }

  @inline(__always) func map(_ value: S.E.V, _ dz: S.E.V) -> S.E.V {
    let point = source.point(value)
    let dy = dz * point.derivative
    let correction = S.E.V.choose(
      isAlone, offset, S.E.V.fma(offset, point.distance, distanceFactor))
    return S.E.V.fma(correction, dy, dyFactor)
  }

  static var hasTwins: Bool { @inline(__always) get { E.hasTwins } }
  static var hasNeighbours: Bool { @inline(__always) get { true } }

  @inline(__always) mutating func twin(_ call: Call, _ index: Int) {
    let value = S.E.loadTwin(call.a, index)
    let dz = S.E.loadTwin(call.b, index)
    S.E.storeTwin((map(value.0, dz.0), map(value.1, dz.1)), call.out, index)
  }

  @inline(__always) func plainResult(_ call: Call, _ index: Int) -> S.E.V {
    map(S.E.load(call.a, index), S.E.load(call.b, index))
  }

  @inline(__always) mutating func full(_ call: Call, _ index: Int) {
    S.E.store(plainResult(call, index), call.out, index)
  }

  static var canKeep: Bool { @inline(__always) get { true } }

  @inline(__always) mutating func fullKeeping(_ call: Call, _ index: Int) {
    let old = S.E.load(UnsafeRawPointer(call.out), index)
    S.E.store(S.E.V.choose(keep, old, plainResult(call, index)), call.out, index)
  }

  @inline(__always) func result(_ call: Call, _ index: Int) -> S.E.V {
    let dx = plainResult(call, index)
    if !keeps { return dx }
    return S.E.V.choose(keep, S.E.load(UnsafeRawPointer(call.out), index), dx)
  }

  @inline(__always) func tailResult(_ call: Call, _ index: Int, _ count: Int) -> S.E.V {
    let dx = map(S.E.loadTail(call.a, index, count), S.E.loadTail(call.b, index, count))
    if !keeps { return dx }
    return S.E.V.choose(keep, S.E.loadTail(UnsafeRawPointer(call.out), index, count), dx)
  }
}
