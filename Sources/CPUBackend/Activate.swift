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
    // alpha 0 makes 0 of infinity, as relu does, and not NaN.
    case .leakyReLU where a == 0:
      return loop.map { $0.each { (x: T) in x > 0 || x != x ? x : 0 } }
    case .leakyReLU: return loop.map { $0.each { (x: T) in x > 0 ? x : a * x } }
    case .elu: return loop.map { $0.each { (x: T) in x > 0 ? x : a * T.expMinusOne(x) } }
    case .sigmoid: return loop.map { $0.each { (x: T) in sigmoid(x) } }
    case .tanh: return loop.map { $0.each { (x: T) in T.tanh(x) } }
    case .swish: return loop.map { $0.each { (x: T) in swish(x) } }
    case .gelu: return loop.map { $0.each { (x: T) in gelu(x) } }
    case .hardSwish: return loop.map { $0.each { (x: T) in hardSwish(x) } }
    case .mish: return loop.map { $0.each { (x: T) in mish(x) } }
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

  /// `v` below is x, or y of the same sign.
  private func run<T: CPUFloat>(_ loop: FlatLoop, _ type: T.Type) throws
    -> @Sendable (StepPointers) ->
    Void
  {
    let a = T(forward.alpha)
    switch forward.function {
    case .identity: return loop.zip { $0.each { (_: T, dy: T) in dy } }
    case .relu: return loop.zip { $0.each { (v: T, dy: T) in v > 0 ? dy : 0 } }
    case .relu6: return loop.zip { $0.each { (v: T, dy: T) in v > 0 && v < 6 ? dy : 0 } }
    case .leakyReLU where a == 0: return loop.zip { $0.each { (v: T, dy: T) in v > 0 ? dy : 0 } }
    case .leakyReLU: return loop.zip { $0.each { (v: T, dy: T) in v > 0 ? dy : a * dy } }
    case .elu: return loop.zip { $0.each { (x: T, dy: T) in eluGradient(x, dy, a) } }
    case .sigmoid: return loop.zip { $0.each { (x: T, dy: T) in sigmoidGradient(x, dy) } }
    case .tanh: return loop.zip { $0.each { (x: T, dy: T) in tanhGradient(x, dy) } }
    case .swish: return loop.zip { $0.each { (x: T, dy: T) in swishGradient(x, dy) } }
    case .gelu: return loop.zip { $0.each { (x: T, dy: T) in geluGradient(x, dy) } }
    case .hardSwish: return loop.zip { $0.each { (x: T, dy: T) in hardSwishGradient(x, dy) } }
    case .mish: return loop.zip { $0.each { (x: T, dy: T) in mishGradient(x, dy) } }
    default: preconditionFailure("\(forward.function) has no derivative")
    }
  }
}
