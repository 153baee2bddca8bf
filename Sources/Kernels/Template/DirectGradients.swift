// The backward pass without y - bias, for channels whose y is not small beside bias, and whose xhat is not 0:
// `Engine.isDirect` has the conditions. bias is taken from the sums, and dx is a sum of multiples and a constant.
//
// Where the activation is a line left of zero and another right of it, y is never computed: y = z / slope and
// dy = dz * slope, so that dy * y = dz * z on either side, and dx is made of dz and z. Half the steps of
// `ReduceOperation` and `ApplyOperation`.

/// Sums of dy, dy * (y - bias) and, for a learned slope, dz * min(y, 0).
struct DirectReduceOperation<E: Element, A: InvertibleActivation>: LaneOperation {
  static var readsBoth: Bool { @inline(__always) get { true } }
  let slope: E.V
  let inverseSlope: E.V
  var dySum = E.V(0)
  /// Of dz * z, or dy * y.
  var productSum = E.V(0)
  /// Of dz * z left of zero.
  var bentSum = E.V(0)
  /// Of the second half of every twin: chains of their own.
  var otherDySum = E.V(0)
  var otherProductSum = E.V(0)
  var otherBentSum = E.V(0)

  @inline(__always) init(_ call: Call, _ lane: Int) {
    slope = call.parameter(Slot.slope, lane)
    inverseSlope = call.parameter(Slot.inverseSlope, lane)
  }

  @inline(__always) mutating func begin(
    _ call: Call, _ index: Int, _ step: Int, _ available: Int, _ count: Int
  ) {}

  @inline(__always) mutating func resume(_ call: Call, _ lane: Int) {
    dySum = E.V.load(call.state, lane)
    productSum = E.V.load(call.state, call.lanes &+ lane)
    if A.hasSlopeGradient { bentSum = E.V.load(call.state, 2 &* call.lanes &+ lane) }
  }

  @inline(__always) func suspend(_ call: Call, _ lane: Int) {
    dySum.store(call.state, lane)
    productSum.store(call.state, call.lanes &+ lane)
    if A.hasSlopeGradient { bentSum.store(call.state, 2 &* call.lanes &+ lane) }
  }

  @inline(__always) mutating func add(_ z: E.V, _ dz: E.V) {
    if !A.isPiecewiseLinear {
      let (y, derivative) = A.invert(E.self, z, slope, inverseSlope)
      let dy = dz * derivative
      dySum = dySum + dy
      productSum = E.V.fma(productSum, dy, y)
      return
    }
    productSum = E.V.fma(productSum, dz, z)
    if A.isIdentity {
      dySum = dySum + dz
      return
    }
    let bent = E.V.exceedsNot(z, E.V(0))
    dySum = dySum + E.V.choose(bent, dz * slope, dz)
    if A.hasSlopeGradient {
      bentSum = E.V.choose(bent, E.V.fma(bentSum, dz, z), bentSum)
    }
  }

  @inline(__always) private mutating func exchange() {
    (dySum, otherDySum) = (otherDySum, dySum)
    (productSum, otherProductSum) = (otherProductSum, productSum)
    if A.hasSlopeGradient { (bentSum, otherBentSum) = (otherBentSum, bentSum) }
  }

  @inline(__always) mutating func full(_ call: Call, _ index: Int) {
    add(E.load(call.a, index), E.load(call.b, index))
  }

  static var hasTwins: Bool { @inline(__always) get { E.hasTwins } }
  static var hasNeighbours: Bool { @inline(__always) get { true } }

  @inline(__always) mutating func twin(_ call: Call, _ index: Int) {
    let z = E.loadTwin(call.a, index)
    let dz = E.loadTwin(call.b, index)
    add(z.0, dz.0)
    exchange()
    add(z.1, dz.1)
    exchange()
  }

  /// A dz of 0 in the other lanes adds 0 to every sum.
  @inline(__always) mutating func partial(_ call: Call, _ index: Int, _ count: Int) {
    add(E.loadTail(call.a, index, count), E.loadTail(call.b, index, count))
  }

  static var nothing: Void { @inline(__always) get { () } }
  @inline(__always) func hold(_ call: Call, _ index: Int) {}

  @inline(__always) mutating func release(
    _ call: Call, _ held: Void, _ index: Int, _ count: Int
  ) {
    let valid = E.V.lanes > E.V(Double(15 &- count))
    add(E.load(call.a, index), E.V.choose(valid, E.load(call.b, index), E.V(0)))
  }

  @inline(__always) mutating func fold(
    _ call: Call, _ lane: Int, _ vectors: Int, _ starts: Bool
  ) {
    if Self.hasTwins {
      dySum = dySum + otherDySum
      productSum = productSum + otherProductSum
      otherDySum = E.V(0)
      otherProductSum = E.V(0)
      if A.hasSlopeGradient {
        bentSum = bentSum + otherBentSum
        otherBentSum = E.V(0)
      }
    }
    let bias: E.V = call.parameter(Slot.bias, lane)
    let dy = dySum.wide
    call.add(0, lane, dy, starts: starts)
    call.add(1, lane, productSum.wide - bias.wide * dy, starts: starts)
    dySum = E.V(0)
    productSum = E.V(0)
    if A.hasSlopeGradient {
      call.add(2, lane, bentSum.wide * inverseSlope.wide)
      bentSum = E.V(0)
    }
  }
}

/// dx from the finished sums.
struct DirectApplyOperation<E: Element, A: InvertibleActivation>: PlacewiseOperation {
  static var readsBoth: Bool { @inline(__always) get { true } }
  let slope: E.V
  let inverseSlope: E.V
  /// What dz and z are taken times, right of zero and left of it; or dy and y.
  let straight: (dz: E.V, z: E.V)
  let bent: (dz: E.V, z: E.V)
  let constant: E.V

  @inline(__always) init(_ call: Call, _ lane: Int) {
    let dyFactor: E.V = call.parameter(Slot.dyFactor, lane)
    let distanceFactor: E.V = call.parameter(Slot.distanceFactor, lane)
    slope = call.parameter(Slot.slope, lane)
    inverseSlope = call.parameter(Slot.inverseSlope, lane)
    let bias: E.V = call.parameter(Slot.bias, lane)
    straight = (dyFactor, distanceFactor)
    bent = (dyFactor * slope, distanceFactor * inverseSlope)
    constant = E.V.fma(call.parameter(Slot.offset, lane), E.V(0) - bias, distanceFactor)
  }

  @inline(__always) func map(_ z: E.V, _ dz: E.V) -> E.V {
    if !A.isPiecewiseLinear {
      let (y, derivative) = A.invert(E.self, z, slope, inverseSlope)
      return E.V.fma(E.V.fma(constant, y, straight.z), dz * derivative, straight.dz)
    }
    if A.isIdentity {
      return E.V.fma(E.V.fma(constant, z, straight.z), dz, straight.dz)
    }
    let isBent = E.V.exceedsNot(z, E.V(0))
    let zFactor = E.V.choose(isBent, bent.z, straight.z)
    let dzFactor = E.V.choose(isBent, bent.dz, straight.dz)
    return E.V.fma(E.V.fma(constant, z, zFactor), dz, dzFactor)
  }

  static var hasTwins: Bool { @inline(__always) get { E.hasTwins } }
  static var hasNeighbours: Bool { @inline(__always) get { true } }

  @inline(__always) mutating func twin(_ call: Call, _ index: Int) {
    let z = E.loadTwin(call.a, index)
    let dz = E.loadTwin(call.b, index)
    E.storeTwin((map(z.0, dz.0), map(z.1, dz.1)), call.out, index)
  }

  @inline(__always) func result(_ call: Call, _ index: Int) -> E.V {
    map(E.load(call.a, index), E.load(call.b, index))
  }

  @inline(__always) func tailResult(_ call: Call, _ index: Int, _ count: Int) -> E.V {
    map(E.loadTail(call.a, index, count), E.loadTail(call.b, index, count))
  }
}
