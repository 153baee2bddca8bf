import CKernels

/// The two steps of the backward pass: as a sum those of dy, dy * distance and dz * min(y, 0), as a
/// map dx from the finished sums. a is what is kept of the forward pass, b is dz.
protocol GradientOperation: LaneSum, LaneMap where Sum == E.V {}

extension GradientOperation {
  static var readsBoth: Bool { true }
}

/// y, dz/dy, and y - bias (or x - mean), which is xhat to a factor of the channel.
struct Point<V: Vector> {
  var y: V
  var derivative: V
  var distance: V
}

/// Where the point of an element comes from.
protocol PointSource {
  associatedtype E: Element
  /// Whether sum(dz * min(y, 0)), the gradient of a slope, is wanted.
  static var hasSlopeGradient: Bool { get }
  init(_ call: Call, _ lane: Int)
  func point(_ kept: E.V) -> Point<E.V>
}

/// From z, by undoing the activation.
struct Inverse<E: Element, A: InvertibleActivation>: PointSource {
  let bias: E.V
  let slope: E.V
  let inverseSlope: E.V
  /// What bias is stored as: z where xhat is 0.
  let storedBias: E.V

  @inline(__always) init(_ call: Call, _ lane: Int) {
    bias = call.parameter(Slot.bias, lane)
    slope = call.parameter(Slot.slope, lane)
    inverseSlope = call.parameter(Slot.inverseSlope, lane)
    storedBias = E.rounded(A.activate(bias, slope))
  }

  static var hasSlopeGradient: Bool { A.hasSlopeGradient }

  @inline(__always) func point(_ kept: E.V) -> Point<E.V> {
    let (y, derivative) = A.invert(E.self, kept, slope, inverseSlope)
    var distance = y - bias
    if !(A.isIdentity && E.isExact) { distance = E.V.choose(kept == storedBias, E.V(0), distance) }
    return Point(y: y, derivative: derivative, distance: distance)
  }
}

/// From the stored y, or from the kept x, for any activation. Which of them it is costs a branch
/// that is the same for a whole tensor.
struct Kept<E: Element>: PointSource {
  let activation: Int
  let isInput: Bool
  let minusMean: E.V
  let remainder: E.V
  let gain: E.V
  let bias: E.V
  let shiftedBias: E.V
  let slope: E.V
  let unit: E.V
  let storedBias: E.V

  @inline(__always) init(_ call: Call, _ lane: Int) {
    activation = call.activation
    isInput = call.step == Step.reduceInput || call.step == Step.applyInput
    let mean: E.V = call.parameter(Slot.mean, lane)
    minusMean = -mean
    remainder = call.parameter(Slot.meanRemainder, lane)
    gain = call.parameter(Slot.gain, lane)
    bias = call.parameter(Slot.bias, lane)
    shiftedBias = call.parameter(Slot.shiftedBias, lane)
    slope = call.parameter(Slot.slope, lane)
    unit = call.parameter(Slot.unit, lane)
    storedBias = E.rounded(bias)
  }

  static var hasSlopeGradient: Bool { true }

  @inline(__always) func point(_ kept: E.V) -> Point<E.V> {
    var y = kept
    var distance: E.V
    if isInput {
      // With a unit of 1 the difference itself.
      let centred = E.V.fma(minusMean, kept, unit)
      distance = centred - remainder
      y = E.V.fma(shiftedBias, centred, gain)
    } else {
      distance = E.V.choose(kept == storedBias, E.V(0), kept - bias)
    }
    return Point(
      y: y, derivative: anyDerivative(activation, y, slope), distance: distance)
  }
}

/// The gradients by way of y and the distance of each element.
struct Gradient<S: PointSource>: GradientOperation {
  typealias E = S.E
  let source: S
  let dyFactor: E.V
  let offset: E.V
  let distanceFactor: E.V
  /// Where dx has no part of the distance, which may be infinite: a product with 0 would be NaN.
  let isAlone: LaneMask

  @inline(__always) init(_ call: Call, _ lane: Int) {
    source = S(call, lane)
    dyFactor = call.parameter(Slot.dyFactor, lane)
    offset = call.parameter(Slot.offset, lane)
    distanceFactor = call.parameter(Slot.distanceFactor, lane)
    isAlone = distanceFactor == E.V(0)
  }

  static var leavesKept: Bool { true }
  static var hasThird: Bool { S.hasSlopeGradient }

  @inline(__always) func add(_ a: E.V, _ b: E.V, to sums: inout Sums<E.V>) {
    let point = source.point(a)
    let dy = b * point.derivative
    sums.first = sums.first + dy
    sums.second = E.V.fma(sums.second, dy, point.distance)
    if S.hasSlopeGradient {
      sums.third = E.V.choose(
        point.y > E.V(0), sums.third, E.V.fma(sums.third, b, point.y))
    }
  }

  @inline(__always)
  func totals(_ call: Call, _ lane: Int, _ sums: Sums<E.V>, _ count: E.V) -> Sums<F64> {
    Sums(first: sums.first.wide, second: sums.second.wide, third: sums.third.wide)
  }

  @inline(__always) func map(_ a: E.V, _ b: E.V) -> E.V {
    let point = source.point(a)
    let correction = E.V.choose(
      isAlone, offset, E.V.fma(offset, point.distance, distanceFactor))
    return E.V.fma(correction, b * point.derivative, dyFactor)
  }
}

/// The gradients from z without y - bias, for channels whose y is not small beside bias, and whose
/// xhat is not 0: the driver has the conditions. bias is taken from the sums, and dx is a sum of
/// multiples and a constant.
///
/// Where the activation is a line left of zero and another right of it, y is never computed: y = z
/// / slope and dy = dz * slope, so that dy * y = dz * z on either side, and dx is made of dz and z.
/// Half the steps of `Gradient`.
struct DirectGradient<E: Element, A: InvertibleActivation>: GradientOperation {
  let slope: E.V
  let inverseSlope: E.V
  /// What dz and z are taken times, right of zero and left of it; or dy and y.
  let straight: (dz: E.V, z: E.V)
  let bent: (dz: E.V, z: E.V)
  let constant: E.V

  @inline(__always) init(_ call: Call, _ lane: Int) {
    slope = call.parameter(Slot.slope, lane)
    inverseSlope = call.parameter(Slot.inverseSlope, lane)
    straight = (call.parameter(Slot.dyFactor, lane), call.parameter(Slot.distanceFactor, lane))
    bent = (straight.dz * slope, straight.z * inverseSlope)
    let bias: E.V = call.parameter(Slot.bias, lane)
    constant = E.V.fma(call.parameter(Slot.offset, lane), E.V(0) - bias, straight.z)
  }

  static var hasThird: Bool { A.hasSlopeGradient }

  /// The second sum is of dz * z, or dy * y; the third of dz * z left of zero.
  @inline(__always) func add(_ a: E.V, _ b: E.V, to sums: inout Sums<E.V>) {
    if !A.isPiecewiseLinear {
      let (y, derivative) = A.invert(E.self, a, slope, inverseSlope)
      let dy = b * derivative
      sums.first = sums.first + dy
      sums.second = E.V.fma(sums.second, dy, y)
      return
    }
    sums.second = E.V.fma(sums.second, b, a)
    if A.isIdentity {
      sums.first = sums.first + b
      return
    }
    let isBent = E.V.exceedsNot(a, E.V(0))
    sums.first = sums.first + E.V.choose(isBent, b * slope, b)
    if A.hasSlopeGradient {
      sums.third = E.V.choose(isBent, E.V.fma(sums.third, b, a), sums.third)
    }
  }

  @inline(__always)
  func totals(_ call: Call, _ lane: Int, _ sums: Sums<E.V>, _ count: E.V) -> Sums<F64> {
    let bias: E.V = call.parameter(Slot.bias, lane)
    let dy = sums.first.wide
    return Sums(
      first: dy, second: sums.second.wide - bias.wide * dy,
      third: sums.third.wide * inverseSlope.wide)
  }

  @inline(__always) func map(_ a: E.V, _ b: E.V) -> E.V {
    if !A.isPiecewiseLinear {
      let (y, derivative) = A.invert(E.self, a, slope, inverseSlope)
      return E.V.fma(E.V.fma(constant, y, straight.z), b * derivative, straight.dz)
    }
    if A.isIdentity {
      return E.V.fma(E.V.fma(constant, a, straight.z), b, straight.dz)
    }
    let isBent = E.V.exceedsNot(a, E.V(0))
    let zFactor = E.V.choose(isBent, bent.z, straight.z)
    let dzFactor = E.V.choose(isBent, bent.dz, straight.dz)
    return E.V.fma(E.V.fma(constant, a, zFactor), b, dzFactor)
  }
}
