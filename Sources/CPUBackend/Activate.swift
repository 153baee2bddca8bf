import ABNOperations
import ABNRuntime
import ABNTensors
import Numerics

extension Activate: CPULowerable {
  var walk: ImageWalk { .anyOrder }
  static var takes16Bits: Bool { true }

  func lower(_ c: inout LoweringContext) throws {
    let layout = c.layout(ofInput: 0)
    let arguments = [try c.read(0, in: layout), c.write(0, in: layout)]
    c.step(
      arguments,
      run: try c.float(
        c.inputType(0).dtype, run(FlatLoop(c.inputType(0)), Float.self),
        run(FlatLoop(c.inputType(0)), Double.self)))
  }

  private func run<T: CPUFloat>(_ loop: FlatLoop, _ type: T.Type) throws
    -> @Sendable (StepPointers) ->
    Void
  {
    let a = T(alpha)
    switch function {
    case .identity: return loop.map { $0.each { (x: T) in x } }
    case .relu: return loop.map { $0.each { (x: T) in x > 0 || x != x ? x : 0 } }
    case .relu6: return loop.map { $0.each { (x: T) in x > 6 ? 6 : x > 0 || x != x ? x : 0 } }
    case .leakyReLU: return loop.map { $0.each { (x: T) in x > 0 ? x : a * x } }
    case .elu: return loop.map { $0.each { (x: T) in x > 0 ? x : a * T.expMinusOne(x) } }
    case .sigmoid: return loop.map { $0.each { (x: T) in sigmoid(x) } }
    case .tanh: return loop.map { $0.each { (x: T) in T.tanh(x) } }
    case .swish: return loop.map { $0.each { (x: T) in x * sigmoid(x) } }
    case .gelu:
      let root = T(0.5).squareRoot()
      return loop.map { $0.each { (x: T) in x * T(0.5) * T.erfc(-x * root) } }
    case .hardSwish:
      return loop.map { $0.each { (x: T) in x * min(max(x + 3, 0), 6) / 6 } }
    case .mish: return loop.map { $0.each { (x: T) in x * T.tanh(softplus(x)) } }
    default: preconditionFailure("\(function) has no value")
    }
  }
}

extension ActivateGradient: CPULowerable {
  var walk: ImageWalk { .anyOrder }
  static var takes16Bits: Bool { true }

  func lower(_ c: inout LoweringContext) throws {
    let layout = c.layout(ofInput: 1)
    let arguments = [
      try c.read(0, in: layout), try c.read(1, in: layout), c.write(0, in: layout),
    ]
    c.step(
      arguments,
      run: try c.float(
        c.inputType(1).dtype, run(FlatLoop(c.inputType(1)), Float.self),
        run(FlatLoop(c.inputType(1)), Double.self)))
  }

  /// `v` below is y where the forward operation says so, else x.
  private func run<T: CPUFloat>(_ loop: FlatLoop, _ type: T.Type) throws
    -> @Sendable (StepPointers) ->
    Void
  {
    let a = T(forward.alpha)
    let fromOutput = forward.gradientReadsOutput
    switch forward.function {
    case .identity: return loop.zip { $0.each { (_: T, dy: T) in dy } }
    case .relu: return loop.zip { $0.each { (v: T, dy: T) in v > 0 ? dy : 0 } }
    case .relu6: return loop.zip { $0.each { (v: T, dy: T) in v > 0 && v < 6 ? dy : 0 } }
    case .leakyReLU: return loop.zip { $0.each { (v: T, dy: T) in v > 0 ? dy : a * dy } }
    case .elu:
      return fromOutput
        ? loop.zip { $0.each { (v: T, dy: T) in v > 0 ? dy : dy * (v + a) } }
        : loop.zip { $0.each { (v: T, dy: T) in v > 0 ? dy : dy * a * T.exp(v) } }
    case .sigmoid:
      return fromOutput
        ? loop.zip { $0.each { (y: T, dy: T) in dy * y * (1 - y) } }
        : loop.zip { $0.each { (x: T, dy: T) in dy * sigmoid(x) * sigmoid(-x) } }
    case .tanh:
      return fromOutput
        ? loop.zip { $0.each { (y: T, dy: T) in dy * (1 - y * y) } }
        : loop.zip {
          $0.each { (x: T, dy: T) in
            let y = T.tanh(x)
            return dy * (1 - y * y)
          }
        }
    case .swish:
      return loop.zip {
        $0.each { (v: T, dy: T) in
          let s = sigmoid(v)
          return dy * (s + v * s * (1 - s))
        }
      }
    case .gelu:
      let root = T(0.5).squareRoot()
      let density = 1 / (2 * T.pi).squareRoot()
      return loop.zip {
        $0.each { (v: T, dy: T) in
          dy * (T(0.5) * T.erfc(-v * root) + v * density * T.exp(-v * v / 2))
        }
      }
    case .hardSwish:
      return loop.zip {
        $0.each { (v: T, dy: T) in
          v <= -3 ? 0 : v >= 3 ? dy : dy * (2 * v + 3) / 6
        }
      }
    case .mish:
      return loop.zip {
        $0.each { (v: T, dy: T) in
          let t = T.tanh(softplus(v))
          return dy * (t + v * (1 - t * t) * sigmoid(v))
        }
      }
    default: preconditionFailure("\(forward.function) has no derivative")
    }
  }
}

/// 1 / (1 + exp(-x)), without overflow.
@inline(__always)
func sigmoid<T: CPUFloat>(_ x: T) -> T {
  if x >= 0 { return 1 / (1 + T.exp(-x)) }
  let e = T.exp(x)
  return e / (1 + e)
}

/// log(1 + exp(x)), without overflow.
@inline(__always)
func softplus<T: CPUFloat>(_ x: T) -> T { max(x, 0) + T.log(onePlus: T.exp(-abs(x))) }
