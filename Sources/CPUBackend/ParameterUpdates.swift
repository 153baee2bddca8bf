import ABNOperations
import ABNRuntime
import ABNTensors
import CParallel

extension ParameterUpdate {
  /// The arguments of an update, at the positions of its inputs: parameter and state updated, the
  /// rest read.
  func updateArguments(_ c: inout LoweringContext) throws -> [StepArgument] {
    // Reading first tells that a value must be there before the run.
    var arguments = try (0..<c.inputCount).map { try c.read($0) }
    arguments[0] = c.write(0)
    for position in stateTypes.indices { arguments[3 + position] = c.write(1 + position) }
    return arguments
  }

  /// The learning rate of this step, times the parameter's multiplier.
  func rateReader(_ c: LoweringContext) -> @Sendable (StepPointers) -> Double {
    let multiplier = multiplier
    if c.inputType(2).dtype == .float64 { return { p in p(2, as: Double.self)[0] * multiplier } }
    return { p in Double(p(2, as: Float.self)[0]) * multiplier }
  }

  /// What makes g' of the gradient, read once a step.
  func preparation<T: CPUFloat>(_: T.Type) -> @Sendable (StepPointers) -> Preparation<T> {
    let (treatment, scaleIndex) = (treatment, scaleIndex)
    return { p in
      Preparation(
        minimum: T(treatment.minimum), maximum: T(treatment.maximum),
        factor: treatment.isScaled ? p(scaleIndex, as: Double.self)[0] : 1,
        l1: T(treatment.l1), l2: T(treatment.l2))
    }
  }
}

/// `GradientTreatment` in the element type. One formula without branches for all cases: the factors
/// that are not asked for are 1 and 0, and updates wait for memory, not for arithmetic.
struct Preparation<T: CPUFloat> {
  let minimum: T
  let maximum: T
  /// The gradient's factor in two parts: a norm of 1e40 leaves one below the least normal number.
  let scale: T
  let rest: T
  let l1: T
  let l2: T

  init(minimum: T, maximum: T, factor: Double, l1: T, l2: T) {
    (self.minimum, self.maximum, self.l1, self.l2) = (minimum, maximum, l1, l2)
    let first = factor < 0x1p-60 ? 0x1p-60 : 1
    (scale, rest) = (T(first), T(factor / first))
  }

  @inline(__always)
  func callAsFunction(_ g: T, _ p: T) -> T {
    let raised = g < minimum ? minimum : g
    let clipped = raised > maximum ? maximum : raised
    let sign: T = (p > 0 ? 1 : 0) - (p < 0 ? 1 : 0)
    return clipped * scale * rest + l2 * p + l1 * sign
  }
}

extension SGDUpdate: CPULowerable {
  func lower(_ c: inout LoweringContext) throws {
    let count = c.inputType(0).shape.elementCount
    let arguments = try updateArguments(&c)
    let readRate = rateReader(c)
    func run<T: CPUFloat>(_: T.Type) -> @Sendable (StepPointers) -> Void {
      let prepare = preparation(T.self)
      return { pointers in
        let (p, g) = (pointers(0, as: T.self), pointers(1, as: T.self))
        let rate = T(readRate(pointers))
        let prepared = prepare(pointers)
        Parallel.ranges(count) { range in
          for i in range { p[i] -= rate * prepared(g[i], p[i]) }
        }
      }
    }
    c.step(
      arguments, run: try c.float(c.inputType(0).dtype, run(Float.self), run(Double.self)))
  }
}

extension MomentumUpdate: CPULowerable {
  func lower(_ c: inout LoweringContext) throws {
    let count = c.inputType(0).shape.elementCount
    let arguments = try updateArguments(&c)
    let readRate = rateReader(c)
    func run<T: CPUFloat>(_: T.Type) -> @Sendable (StepPointers) -> Void {
      let prepare = preparation(T.self)
      let mu = T(momentum)
      let ahead = useNesterov
      return { pointers in
        let (p, g) = (pointers(0, as: T.self), pointers(1, as: T.self))
        let v = pointers(3, as: T.self)
        let given = readRate(pointers)
        let (rate, rateAhead) = (T(given), T(given * Double(mu)))
        let prepared = prepare(pointers)
        Parallel.ranges(count) { range in
          if ahead {
            for i in range {
              let gradient = prepared(g[i], p[i])
              let velocity = mu * v[i] + gradient
              v[i] = velocity
              p[i] -= rate * gradient + rateAhead * velocity
            }
          } else {
            for i in range {
              let velocity = mu * v[i] + prepared(g[i], p[i])
              v[i] = velocity
              p[i] -= rate * velocity
            }
          }
        }
      }
    }
    c.step(
      arguments, run: try c.float(c.inputType(0).dtype, run(Float.self), run(Double.self)))
  }
}

/// The square root, in loops that use vectors.
@inline(__always)
private func root<T: CPUFloat>(_ x: T) -> T {
  if T.self == Float.self {
    return unsafeBitCast(abn_sqrtf(unsafeBitCast(x, to: Float.self)), to: T.self)
  }
  return T(abn_sqrt(Double(x)))
}

extension AdamUpdate: CPULowerable {
  func lower(_ c: inout LoweringContext) throws {
    let count = c.inputType(0).shape.elementCount
    let arguments = try updateArguments(&c)
    let readRate = rateReader(c)
    let kind = self
    func run<T: CPUFloat>(_: T.Type) -> @Sendable (StepPointers) -> Void {
      let prepare = preparation(T.self)
      let (b1, b2) = (T(kind.beta1), T(kind.beta2))
      // Below this the square of a gradient has vanished, and a smaller divisor would make the step anything.
      let epsilon = T(max(kind.epsilon, Double(T.leastNormalMagnitude.squareRoot())))
      let (rest1, rest2) = (T(1 - kind.beta1), T(1 - kind.beta2))
      let most = T.greatestFiniteMagnitude.squareRoot() / 2
      return { pointers in
        let (p, g) = (pointers(0, as: T.self), pointers(1, as: T.self))
        let (m, v) = (pointers(3, as: T.self), pointers(4, as: T.self))
        let (power1, power2) = (pointers(5, as: Double.self), pointers(6, as: Double.self))
        let rate = readRate(pointers)
        let kept = T(1 - rate * kind.decay)
        let stride = T(rate / (1 - power1[0]))
        let spread = T(1 / (1 - power2[0]).squareRoot())
        let prepared = prepare(pointers)
        Parallel.ranges(count) { range in
          for i in range {
            // All reads before all writes: otherwise the loop is not vectorized.
            let (old, mean, square) = (p[i], m[i], v[i])
            // The square of a finite gradient must be finite: an infinite second moment would never come
            // down, and the parameter stand still. An infinite gradient stays and makes NaN.
            let given = prepared(g[i], old)
            let isHuge = given.magnitude > most && given.magnitude <= .greatestFiniteMagnitude
            let gradient = isHuge ? (given > 0 ? most : -most) : given
            let first = b1 * mean + rest1 * gradient
            let second = b2 * square + rest2 * gradient * gradient
            // Divided first: the quotient is near 1, whatever the gradients are.
            let step = stride * (first / (root(second) * spread + epsilon))
            m[i] = first
            v[i] = second
            p[i] = kept * old - step
          }
        }
        power1[0] *= kind.beta1
        power2[0] *= kind.beta2
      }
    }
    c.step(
      arguments, run: try c.float(c.inputType(0).dtype, run(Float.self), run(Double.self)))
  }
}
