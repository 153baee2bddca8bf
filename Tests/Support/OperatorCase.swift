import ABNCPUBackend
import ABNChecking
import ABNGraph
import ABNLayers
import ABNPasses
import ABNRuntime
import ABNTensors
import Testing

/// One input of an operator case.
public struct CaseInput: Sendable {
  let make: @Sendable (CounterRandom) -> Tensor
  let isDifferentiated: Bool

  /// Uniform numbers in low ..< high, float64 of this shape; converted for other element types.
  public static func random(
    _ shape: Shape, _ low: Double = -2, _ high: Double = 2, differentiated: Bool = true
  ) -> CaseInput {
    CaseInput(
      make: { source in
        Tensor(
          (0..<shape.elementCount).map { low + (high - low) * source.uniform(UInt64($0)) },
          shape: shape)
      }, isDifferentiated: differentiated)
  }

  /// Given values; integers and booleans keep their type.
  public static func fixed(_ tensor: Tensor, differentiated: Bool = false) -> CaseInput {
    CaseInput(make: { _ in tensor }, isDifferentiated: differentiated)
  }
}

/// An operator, or a small graph, with inputs: one case tests the forward value, the gradient
/// against finite differences in float64, and the other floating-point types against float64.
public struct OperatorCase: Sendable, CustomTestStringConvertible {
  public let testDescription: String
  let inputs: [CaseInput]
  let reference: (@Sendable ([Tensor]) -> [[Double]])?
  let tolerance32: Double
  let tolerance16: Double?
  let step: Double
  let build: @Sendable ([Variable]) throws -> [Variable]

  /// - Parameters:
  ///   - reference: the outputs, row-major, computed plainly in float64.
  ///   - tolerance32: allowed difference between float32 and float64, of the largest magnitude.
  ///   - tolerance16: the same for float16 and bfloat16, in units of their rounding (2^-11 and
  ///     2^-8); nil: the case has no meaning in 16 bits.
  ///   - step: the step of the finite difference.
  ///   - build: appends the operator and gives its outputs.
  public init(
    _ name: String, _ inputs: [CaseInput], tolerance32: Double = 2e-5,
    tolerance16: Double? = 8, step: Double = 1e-5,
    reference: (@Sendable ([Tensor]) -> [[Double]])? = nil,
    build: @escaping @Sendable ([Variable]) throws -> [Variable]
  ) {
    testDescription = name
    self.inputs = inputs
    self.reference = reference
    self.tolerance32 = tolerance32
    self.tolerance16 = tolerance16
    self.step = step
    self.build = build
  }

  /// What one run of the case gives.
  struct Outcome {
    var loss: Double
    var outputs: [Tensor]
    var gradients: [Tensor?]
    var parameterGradients: [Tensor] = []
  }

  /// A compiled case in one element type.
  final class Bench {
    let builder = ProgramBuilder(seed: 7)
    var names: [String] = []
    var outputs: [Variable] = []
    var loss: Variable!
    var gradients: [Variable?] = []
    /// Trainable parameters and their gradients.
    var parameters: [(variable: Variable, gradient: Variable)] = []
    var program = Program()
    let scope = Scope()
    let executor = Executor(backend: CPUBackend())
    let weights: [String: Tensor]

    /// - Parameter stored: the 16-bit type to which every float64 value is rounded where it is made.
    init(_ test: OperatorCase, _ values: [Tensor], dtype: DType, stored: DType? = nil) throws {
      var inputs: [Variable] = []
      var weights: [String: Tensor] = [:]
      var outputs: [Variable] = []
      var loss: Variable!
      try builder.build {
        for (index, value) in values.enumerated() {
          let type = value.dtype == .float64 ? dtype : value.dtype
          inputs.append(
            try data(
              "x\(index)", shape: value.shape, dtype: type,
              stopsGradient: !test.inputs[index].isDifferentiated))
        }
        outputs = try test.build(inputs)
        var terms: [Variable] = []
        for (index, output) in outputs.enumerated() where output.dtype.isFloatingPoint {
          let w = try data("w\(index)", shape: output.shape, dtype: output.dtype)
          let random = CounterRandom(seed: 11, stream: UInt64(index))
          // Few bits: the same numbers in every type.
          let numbers = (0..<output.shape.elementCount).map {
            (64 * (random.uniform(UInt64($0)) - 0.4)).rounded() / 64
          }
          weights["w\(index)"] = Tensor(numbers, shape: output.shape).cast(to: output.dtype)
          terms.append(try reduceSum(elementwiseMul(output, w)))
        }
        loss = try sums(terms)
      }
      var main = builder.main
      if let stored {
        let places = try main.roundEveryValue(to: stored)
        outputs = outputs.map { places[$0.id] ?? $0 }
        loss = places[loss.id]!
      }
      self.weights = weights
      self.outputs = outputs
      self.loss = loss
      names = values.indices.map { "x\($0)" }
      let differentiated = zip(inputs, test.inputs).filter { $0.1.isDifferentiated }.map(\.0)
      let parameters = main.parameters.filter { $0.parameterTraits!.trainable }
      let result = try main.differentiated(
        loss, withRespectTo: differentiated + parameters)
      program = result.program
      gradients = inputs.map { result.gradients[$0.id] }
      self.parameters = parameters.compactMap { p in
        result.gradients[p.id].map { (variable: p, gradient: $0) }
      }
      try executor.run(builder.startup, scope: scope)
    }

    func run(_ values: [Tensor]) throws -> Outcome {
      var feed = weights
      for (name, value) in zip(names, values) {
        let type = program.variable(named: name)!.dtype
        feed[name] = value.cast(to: type)
      }
      let wanted: [any Fetchable] =
        [loss] + outputs + gradients.compactMap { $0 } + parameters.map(\.gradient)
      let used = Set(
        program.pruned(to: try wanted.map { try $0.variable(in: program).id })
          .operators.flatMap(\.inputs))
      feed = feed.filter { used.contains(program.variable(named: $0.key)!.id) }
      var results = try executor.run(program, feed: feed, fetch: wanted, scope: scope)
      let lossValue = results.removeFirst().doubles[0]
      let outputValues = Array(results.prefix(outputs.count))
      results.removeFirst(outputs.count)
      let gradientValues = gradients.map { $0 == nil ? nil : results.removeFirst() }
      return Outcome(
        loss: lossValue, outputs: outputValues, gradients: gradientValues,
        parameterGradients: results)
    }
  }

  /// Runs all checks.
  public func check() throws {
    let values = inputs.enumerated().map {
      $0.element.make(CounterRandom(seed: 3, stream: UInt64($0.offset)))
    }
    let bench = try Bench(self, values, dtype: .float64)
    let exact = try bench.run(values)
    if let reference {
      for (index, wanted) in reference(values).enumerated() {
        expectClose(
          exact.outputs[index].doubles, wanted, tolerance: 1e-12, "\(testDescription) out \(index)")
      }
    }
    try checkGradient(bench, values, exact)

    let single = try Bench(self, values, dtype: .float32)
    let rounded = values.map { $0.rounded(to: .float32) }
    compare(single, try single.run(rounded), try bench.run(rounded), tolerance32, "float32")

    guard let tolerance16 else { return }
    for (dtype, unit) in [(DType.float16, 0x1p-11), (.bfloat16, 0x1p-8)] {
      let narrow = try Bench(self, values, dtype: dtype)
      // Rounded where the other rounds, so that both are on one side of every kink.
      let reference = try Bench(self, values, dtype: .float64, stored: dtype)
      for name in reference.scope.names {
        let value = reference.scope[name]!.rounded(to: dtype)
        reference.scope[name] = value
        narrow.scope[name] = value.cast(to: narrow.scope[name]!.dtype)
      }
      let rounded = values.map { $0.rounded(to: dtype) }
      compare(
        narrow, try narrow.run(rounded), try reference.run(rounded), tolerance16 * unit, "\(dtype)")
    }
  }

  private func compare(
    _ bench: Bench, _ got: Outcome, _ wanted: Outcome, _ tolerance: Double, _ dtype: String
  ) {
    for (index, (a, b)) in zip(got.outputs, wanted.outputs).enumerated() {
      #expect(a.shape == b.shape)
      expectClose(
        a.doubles, b.doubles, tolerance: tolerance, "\(testDescription) \(dtype) out \(index)")
    }
    for (index, (a, b)) in zip(got.gradients, wanted.gradients).enumerated() {
      guard let a, let b else { continue }
      expectClose(
        a.doubles, b.doubles, tolerance: tolerance, "\(testDescription) \(dtype) gradient \(index)")
    }
    #expect(got.parameterGradients.count == wanted.parameterGradients.count)
    for (index, (a, b)) in zip(got.parameterGradients, wanted.parameterGradients).enumerated() {
      expectClose(
        a.doubles, b.doubles, tolerance: tolerance,
        "\(testDescription) \(dtype) gradient of \(bench.parameters[index].variable.name)")
    }
  }

  /// The derivative along one random direction against a central difference.
  private func checkGradient(_ bench: Bench, _ values: [Tensor], _ exact: Outcome) throws {
    guard inputs.contains(where: \.isDifferentiated) || !bench.parameters.isEmpty else { return }
    var analytic = 0.0
    var scale = 0.0
    var up = values
    var down = values
    for (index, input) in inputs.enumerated() where input.isDifferentiated {
      let source = CounterRandom(seed: 5, stream: UInt64(index))
      let direction = (0..<values[index].elementCount).map { source.uniform(UInt64($0)) * 2 - 1 }
      guard let gradient = exact.gradients[index] else {
        Issue.record("\(testDescription): input \(index) got no gradient")
        continue
      }
      #expect(gradient.shape == values[index].shape)
      for (g, u) in zip(gradient.doubles, direction) {
        analytic += g * u
        scale += abs(g * u)
      }
      func moved(_ h: Double) -> Tensor {
        Tensor(
          zip(values[index].doubles, direction).map { $0 + h * $1 }, shape: values[index].shape)
      }
      up[index] = moved(step)
      down[index] = moved(-step)
    }
    var parametersUp: [String: Tensor] = [:]
    var parametersDown: [String: Tensor] = [:]
    for (index, (variable, _)) in bench.parameters.enumerated() {
      let source = CounterRandom(seed: 6, stream: UInt64(index))
      let value = bench.scope[variable.name]!
      let direction = (0..<value.elementCount).map { source.uniform(UInt64($0)) * 2 - 1 }
      for (g, u) in zip(exact.parameterGradients[index].doubles, direction) {
        analytic += g * u
        scale += abs(g * u)
      }
      func moved(_ h: Double) -> Tensor {
        Tensor(zip(value.doubles, direction).map { $0 + h * $1 }, shape: value.shape)
      }
      parametersUp[variable.name] = moved(step)
      parametersDown[variable.name] = moved(-step)
    }
    func loss(_ values: [Tensor], _ parameters: [String: Tensor]) throws -> Double {
      for (name, value) in parameters { bench.scope[name] = value }
      return try bench.run(values).loss
    }
    let before = bench.scope.snapshot()
    let numeric = (try loss(up, parametersUp) - loss(down, parametersDown)) / (2 * step)
    for (name, value) in before { bench.scope[name] = value }
    #expect(
      abs(numeric - analytic) <= 1e-7 * max(scale, 1e-3),
      "\(testDescription): finite difference \(numeric), gradient \(analytic), scale \(scale)")
  }
}

/// Same count, and each difference at most `tolerance` times the largest wanted magnitude.
public func expectClose(
  _ got: [Double], _ wanted: [Double], tolerance: Double, _ what: String = "",
  sourceLocation: Testing.SourceLocation = #_sourceLocation
) {
  guard got.count == wanted.count else {
    Issue.record(
      "\(what): \(got.count) elements, wanted \(wanted.count)", sourceLocation: sourceLocation)
    return
  }
  let scale = wanted.reduce(0) { max($0, abs($1)) }
  var worst = 0.0
  var at = 0
  for (index, (a, b)) in zip(got, wanted).enumerated() {
    let difference = a == b || (a.isNaN && b.isNaN) ? 0 : abs(a - b)
    if !(difference <= worst) { (worst, at) = (difference, index) }
  }
  let allowed = tolerance * max(scale, .leastNormalMagnitude)
  #expect(
    worst <= allowed,
    "\(what): element \(at) is \(got.isEmpty ? .nan : got[at]), wanted \(wanted.isEmpty ? .nan : wanted[at]), off by \(worst), allowed \(allowed)",
    sourceLocation: sourceLocation)
}
