import CKernels

/// What a flat loop does with its elements; the same numbers for every instruction set. k0, k1 ...
/// are the constants of the call. Two results in brackets are `out` and `second`.
package enum FlatCode {
  /// a; a k0 + k1; a b and so on
  package static let copy = 0, scale = 1, add = 2, subtract = 3, multiply = 4, divide = 5,
    maximum = 6
  /// a + b + c; (a + b + c) / k0; (a - b)^2; 2 (a - b) c; -(c / b) (a / b)
  package static let addThree = 7, meanOfThree = 8, squaredError = 9, squaredErrorGradient = 10
  package static let divisorGradient = 11
  /// Of a.
  package static let square = 12, squareRoot = 13, exponential = 14, logarithm = 15, magnitude = 16
  /// b times the derivative, at a; of `squareRootGradient` at its result a.
  package static let squareGradient = 17, squareRootGradient = 18, exponentialGradient = 19
  package static let logarithmGradient = 20, magnitudeGradient = 21
  /// a where a > 0, else b a; (c where a > 0, else b c; 0 where a > 0, else a c)
  package static let prelu = 22, preluGradient = 23
  /// (act(a); whether act'(a) is 1), and from that b times the derivative, which is else k0 of
  /// leaky ReLU or 0
  package static let maskedReLU = 24, maskedReLU6 = 25, maskedLeaky = 26
  package static let unmask = 27, unmaskLeaky = 28
  /// b k0 where a is not 0, else 0
  package static let drop = 29
  /// act(a + b); act^-1(a) - b, k0 the inverse slope; (b + c) act'(a). Of ReLU and leaky ReLU with
  /// a slope of k0.
  package static let residualSum = 30, residualTerm = 31, residualGradient = 32
  package static let residualSumReLU = 33, residualGradientReLU = 34
  /// exp(a - b)
  package static let shiftedExponential = 35
  /// Of a line's largest share a: (the larger of a and c; b / 2 where it is a, else d)
  package static let softmaxTop = 36
  /// d + a (b / 2 - c); 2 a (b / 2 - c - d)
  package static let softmaxDot = 37, softmaxGradient = 38
  /// d + b (a / 2 - c / 2), or d where b is 0; a b, or 0 where b is 0; (a c - b) d
  package static let labelTerm = 39, hardLabelGradient = 40, softLabelGradient = 41
  /// Parameter a, gradient b, state c and d, whose new values are `out`, `second` and `third`.
  package static let sgd = 42, momentum = 43, nesterov = 44, adam = 45
  /// Sums: of a, a^2, (a + b)^2, a (b / 2 - c), b (a / 2 - c / 2) as `labelTerm`; the largest a.
  package static let sum = 46, sumOfSquares = 47, residualSquares = 48, sumSoftmaxDot = 49
  package static let sumLabelTerm = 50, largest = 51
  /// out += each row of a; `out` is float64, a float32 or float64.
  package static let sumOfRows = 52
  /// act(a) and b act'(a), plus `ActivationCode`; k0 is alpha.
  package static let activation = 64, gradient = 96
}

/// One operation on a tile.
@inline(__always) func step<V: Vector>(_ type: V.Type, _ code: Int, _ tile: FlatTile) {
  let lanes = Lanes<V>(tile: tile)
  if code < FlatCode.prelu {
    arithmetic(code, lanes)
  } else if code < FlatCode.shiftedExponential {
    choices(code, lanes)
  } else if code < FlatCode.sgd {
    softmax(code, lanes)
  } else if code < FlatCode.sum {
    update(code, lanes)
  } else if code < FlatCode.activation {
    sums(code, lanes)
  } else if code < FlatCode.gradient {
    activation(code &- FlatCode.activation, lanes)
  } else {
    gradient(code &- FlatCode.gradient, lanes)
  }
}

@inline(never) private func arithmetic<V: Vector>(_ code: Int, _ t: Lanes<V>) {
  switch code {
  case FlatCode.copy: t.map { $0 }
  case FlatCode.scale:
    let (factor, bias) = (t.constant(0), t.constant(1))
    t.map { $0 * factor + bias }
  case FlatCode.add: t.map { $0 + $1 }
  case FlatCode.subtract: t.map { $0 - $1 }
  case FlatCode.multiply: t.map { $0 * $1 }
  case FlatCode.divide: t.map { $0 / $1 }
  case FlatCode.maximum: t.map { V.choose($1 > $0, $1, $0) }
  case FlatCode.addThree: t.map { $0 + $1 + $2 }
  case FlatCode.meanOfThree:
    let divisor = t.constant(0)
    t.map { ($0 + $1 + $2) / divisor }
  case FlatCode.squaredError: t.map { ($0 - $1) * ($0 - $1) }
  case FlatCode.squaredErrorGradient: t.map { V(2) * ($0 - $1) * $2 }
  case FlatCode.divisorGradient: t.map { -($2 / $1) * ($0 / $1) }
  case FlatCode.square: t.map { $0 * $0 }
  case FlatCode.squareRoot: t.map { V.squareRoot($0) }
  case FlatCode.exponential: t.map { V.exp($0) }
  case FlatCode.logarithm: t.map { V.log($0) }
  case FlatCode.magnitude: t.map { $0.magnitude }
  case FlatCode.squareGradient: t.map { V(2) * ($0 * $1) }
  case FlatCode.squareRootGradient: t.map { $1 / ($0 + $0) }
  case FlatCode.exponentialGradient: t.map { V.exp($0) * $1 }
  case FlatCode.logarithmGradient: t.map { $1 / $0 }
  default: t.map { V.choose($0 > V(0), $1, V.choose(V(0) > $0, -$1, $0 * $1)) }
  }
}

@inline(never) private func choices<V: Vector>(_ code: Int, _ t: Lanes<V>) {
  let slope = t.constant(0)
  switch code {
  case FlatCode.prelu: t.map { V.choose($0 > V(0), $0, $1 * $0) }
  case FlatCode.preluGradient:
    t.map {
      (V.choose($0 > V(0), $2, $1 * $2), V.choose($0 > V(0), V(0), $0 * $2))
    }
  case FlatCode.maskedReLU: t.map { (ReLU.activate($0, slope), ReLU.gradient($0, V(1), slope)) }
  case FlatCode.maskedReLU6: t.map { (ReLU6.activate($0, slope), ReLU6.gradient($0, V(1), slope)) }
  case FlatCode.maskedLeaky:
    t.map { (Leaky.activate($0, slope), ReLU.gradient($0, V(1), slope)) }
  case FlatCode.unmask: t.map { ReLU.gradient($0, $1, slope) }
  case FlatCode.unmaskLeaky: t.map { V.choose($0 > V(0), $1, slope * $1) }
  case FlatCode.drop: t.map { V.choose($0 > V(0), $1 * slope, V(0)) }
  case FlatCode.residualSum: t.map { Leaky.activate($0 + $1, slope) }
  case FlatCode.residualTerm: t.map { Leaky.activate($0, slope) - $1 }
  case FlatCode.residualGradient:
    t.map { V.choose(V.exceedsNot($0, V(0)), ($1 + $2) * slope, $1 + $2) }
  // A product with a slope of 0 would make NaN of infinity.
  case FlatCode.residualSumReLU: t.map { ReLU.activate($0 + $1, slope) }
  default: t.map { ReLU.gradient($0, $1 + $2, slope) }
  }
}

@inline(never) private func softmax<V: Vector>(_ code: Int, _ t: Lanes<V>) {
  let half = V(0.5)
  switch code {
  case FlatCode.shiftedExponential: t.map { V.exp($0 - $1) }
  case FlatCode.softmaxTop:
    t.map { (V.choose($0 > $2, $0, $2), V.choose($0 > $2, half * $1, $3)) }
  case FlatCode.softmaxDot: t.map { $3 + $0 * (half * $1 - $2) }
  case FlatCode.softmaxGradient: t.map { $0 * (half * $1 - $2 - $3) * V(2) }
  case FlatCode.labelTerm: t.map { V.choose($1 == V(0), $3, $3 + $1 * (half * $0 - half * $2)) }
  case FlatCode.hardLabelGradient: t.map { V.choose($1 == V(0), V(0), $0 * $1) }
  default: t.map { ($0 * $2 - $1) * $3 }
  }
}

@inline(never) private func sums<V: Vector>(_ code: Int, _ t: Lanes<V>) {
  let half = V(0.5)
  switch code {
  case FlatCode.sum: t.sum { sum, a, _, _ in sum + a }
  case FlatCode.sumOfSquares: t.sum { sum, a, _, _ in sum + a * a }
  case FlatCode.residualSquares: t.sum { sum, a, b, _ in V.fma(sum, a + b, a + b) }
  case FlatCode.sumSoftmaxDot: t.sum { sum, a, b, c in sum + a * (half * b - c) }
  case FlatCode.sumLabelTerm:
    t.sum { sum, a, b, c in V.choose(b == V(0), sum, sum + b * (half * a - half * c)) }
  default: t.largest()
  }
}

/// act(a), or b * act'(a). A type, not a closure: closures of this size were calls.
private struct Activation<V: Vector>: ActivationBody {
  let tile: FlatTile
  let alpha: V

  @inline(__always) func run<A: ActivationFunction>(_ activation: A.Type) {
    var i = 0
    if tile.streams && UInt(bitPattern: tile.out) & 63 == 0 {
      while i < tile.count {
        stream(A.activate(V.load(tile.a, i), alpha), i)
        i &+= 16
      }
      abn_stream_end()
      return
    }
    while i < tile.count {
      A.activate(V.load(tile.a, i), alpha).store(tile.out, i)
      i &+= 16
    }
  }

  @inline(__always) private func stream(_ value: V, _ index: Int) {
    let bytes = MemoryLayout<V>.size
    withUnsafeBytes(of: value) {
      var at = 0
      while at < bytes {
        abn_stream(tile.out + (index &* (bytes / 16) &+ at), $0.baseAddress.unsafelyUnwrapped + at)
        at &+= 64
      }
    }
  }
}

private struct ActivationGradient<V: Vector>: ActivationBody {
  let tile: FlatTile
  let alpha: V

  @inline(__always) func run<A: ActivationFunction>(_ activation: A.Type) {
    var i = 0
    while i < tile.count {
      // Long chains of arithmetic keep the processor from reading ahead by itself.
      let ahead = (i &+ 512) &* (MemoryLayout<V>.size / 16)
      abn_prefetch(tile.a + ahead)
      abn_prefetch(tile.b + ahead)
      A.gradient(V.load(tile.a, i), V.load(tile.b, i), alpha).store(tile.out, i)
      i &+= 16
    }
  }
}

@inline(never) private func activation<V: Vector>(_ code: Int, _ t: Lanes<V>) {
  withActivation(code, Activation(tile: t.tile, alpha: t.constant(0)))
}

@inline(never) private func gradient<V: Vector>(_ code: Int, _ t: Lanes<V>) {
  withActivation(code, ActivationGradient(tile: t.tile, alpha: t.constant(0)))
}

/// One rounding for each step, so that the same update is made in every set.
@inline(never) private func update<V: Vector>(_ code: Int, _ t: Lanes<V>) {
  let (least, most, scale, rest) = (t.constant(0), t.constant(1), t.constant(2), t.constant(3))
  let (l1, l2) = (t.constant(4), t.constant(5))
  /// The gradient, clipped, scaled and with the decay of the parameter. The scale has two parts: a
  /// norm of 1e40 leaves one below the least normal number.
  @inline(__always) func prepared(_ g: V, _ p: V) -> V {
    let raised = V.choose(least > g, least, g)
    let clipped = V.choose(raised > most, most, raised)
    let sign = V.choose(p > V(0), V(1), V(0)) - V.choose(V(0) > p, V(1), V(0))
    return clipped * scale * rest + l2 * p + l1 * sign
  }
  let rate = t.constant(6)
  switch code {
  case FlatCode.sgd: t.map { $0 - rate * prepared($1, $0) }
  case FlatCode.momentum:
    let mu = t.constant(7)
    t.map { p, g, v, _ in
      let velocity = mu * v + prepared(g, p)
      return (p - rate * velocity, velocity)
    }
  case FlatCode.nesterov:
    let (mu, ahead) = (t.constant(7), t.constant(8))
    t.map { p, g, v, _ in
      let gradient = prepared(g, p)
      let velocity = mu * v + gradient
      return (p - (rate * gradient + ahead * velocity), velocity)
    }
  default: adam(t, prepared)
  }
}

/// k6 ...: beta1, beta2, 1 - beta1, 1 - beta2, epsilon, the largest gradient, what is kept of the
/// parameter, stride and spread.
@inline(__always) private func adam<V: Vector>(_ t: Lanes<V>, _ prepared: (V, V) -> V) {
  let (beta1, beta2, rest1, rest2) = (t.constant(6), t.constant(7), t.constant(8), t.constant(9))
  let (epsilon, most) = (t.constant(10), t.constant(11))
  let (kept, stride, spread) = (t.constant(12), t.constant(13), t.constant(14))
  t.mapThree { p, g, m, v in
    // The square of a finite gradient must be finite: an infinite second moment would never come
    // down, and the parameter stand still. An infinite gradient stays and makes NaN.
    let given = prepared(g, p)
    let size = given.magnitude
    let bounded = V.choose(given > V(0), most, -most)
    let isFinite = V.choose(size > V(V.greatest), given, bounded)
    let gradient = V.choose(size > most, isFinite, given)
    let first = beta1 * m + rest1 * gradient
    let second = beta2 * v + rest2 * gradient * gradient
    // Divided first: the quotient is near 1, whatever the gradients are.
    let step = stride * (first / (V.squareRoot(second) * spread + epsilon))
    return (kept * p - step, first, second)
  }
}
