import ABNCPUBackend
import ABNChecking
import ABNGraph
import ABNLayers
import ABNOperators
import ABNPasses
import ABNRuntime
import ABNTensors
import Testing

extension DType {
  /// The largest finite number.
  public var largest: Double {
    switch self {
    case .float16: 65504
    case .bfloat16: 0x1.fep127
    case .float32: Double(Float.greatestFiniteMagnitude)
    default: .greatestFiniteMagnitude
    }
  }

  /// The least normal number, and the least above 0.
  public var least: (normal: Double, denormal: Double) {
    switch self {
    case .float16: (0x1p-14, 0x1p-24)
    case .bfloat16: (0x1p-126, 0x1p-133)
    case .float32: (0x1p-126, 0x1p-149)
    default: (.leastNormalMagnitude, .leastNonzeroMagnitude)
    }
  }

  /// NaN, both infinities and zeros, and the ends and the middle of what the type holds, of both signs.
  public var specialValues: [Double] {
    let (normal, denormal) = least
    let positive = [0, denormal, 3 * denormal, normal, 1, 0.75, largest / 2, largest, .infinity]
    return [.nan] + positive + positive.map { -$0 }
  }

  /// Number `index` of a stream: one of the special values, or a number of any magnitude that the type has,
  /// or one near 1. Rounded to the type; never special with `isModerate`.
  public func anyValue(_ source: CounterRandom, _ index: Int, isModerate: Bool = false) -> Double {
    let u = (0..<3).map { source.uniform(UInt64(4 * index + $0)) }
    let sign: Double = source.uniform(UInt64(4 * index + 3)) < 0.5 ? -1 : 1
    var value = sign * (0.25 + 1.75 * u[1])
    if !isModerate {
      switch Int(u[0] * 3) {
      case 0: value = specialValues[Int(u[1] * Double(specialValues.count))]
      case 1:
        // Log-uniform between the least number and the largest.
        let (low, high) = (least.denormal.exponent, largest.exponent)
        let exponent = Int(Double(low) + u[1] * Double(high - low))
        value = sign * (1 + u[2]) * (exponent < 0 ? power(-exponent, 0.5) : power(exponent, 2))
      default: value = sign * 6 * u[1]
      }
    }
    return Tensor([value], shape: [1]).cast(to: self).doubles[0]
  }
}

/// base^n by squaring: exact for powers of two.
private func power(_ n: Int, _ base: Double) -> Double {
  (0..<n).reduce(1.0) { result, _ in result * base }
}

/// A small graph that is run in a type and in float64 on the same numbers.
public struct SpecialCase: Sendable, CustomTestStringConvertible {
  /// One input.
  public enum Input: Sendable {
    /// Any number of the type.
    case any(Shape)
    /// Numbers between 1/4 and 2, of both signs.
    case moderate(Shape)
    /// These, which get no gradient; integers keep their type.
    case fixed(Tensor)
  }

  /// What an error is measured by.
  public enum Measure: Sendable {
    /// The right value itself.
    case value
    /// The same sums of the magnitudes of the terms.
    case magnitudes
    /// The same, and where that is beyond the type anything goes that is not finite: sums of products.
    case products
    /// The same for the output's gradient alone, where the sizes of inputs would change who is added: the
    /// winners of a pooling, the signs of prelu.
    case gradientProducts
    /// The largest right value.
    case largest
    /// The right value, and the output's gradient where the input is within 4 of 0: a derivative that
    /// crosses 0 there.
    case curve
  }

  public let testDescription: String
  public let inputs: [Input]
  /// Allowed error in units of rounding of float32 (float64 has none here) of the measure, in units of the
  /// 16-bit types for every result that is stored in them, and in least numbers above 0.
  public var units = 8.0
  public var stored = 1.01
  public var leastUnits = 4.0
  public var measure = Measure.value
  /// Whether the output's gradient is of any size, or between 1/4 and 2.
  public var anyGradient = true
  public var isDifferentiated = true
  /// Whether an infinite gradient may meet a derivative that float32 has as 0 and float64 has not: NaN there.
  public var vanishes = false
  public let build: @Sendable ([Variable]) throws -> [Variable]

  public init(
    _ name: String, _ inputs: [Input], units: Double = 8, stored: Double = 1.01,
    leastUnits: Double = 4, measure: Measure = .value, anyGradient: Bool = true,
    isDifferentiated: Bool = true, vanishes: Bool = false,
    build: @escaping @Sendable ([Variable]) throws -> [Variable]
  ) {
    testDescription = name
    self.inputs = inputs
    self.units = units
    self.stored = stored
    self.leastUnits = leastUnits
    self.measure = measure
    self.anyGradient = anyGradient
    self.isDifferentiated = isDifferentiated
    self.vanishes = vanishes
    self.build = build
  }

  /// The values of one draw, float64 numbers that the type holds.
  public func draw(_ dtype: DType, seed: UInt64) -> (inputs: [Tensor], weights: CounterRandom) {
    let tensors = inputs.enumerated().map { position, input in
      let source = CounterRandom(seed: seed, stream: UInt64(position))
      func numbers(_ shape: Shape, _ isModerate: Bool) -> Tensor {
        Tensor(
          (0..<shape.elementCount).map { dtype.anyValue(source, $0, isModerate: isModerate) },
          shape: shape)
      }
      return switch input {
      case .any(let shape): numbers(shape, false)
      case .moderate(let shape): numbers(shape, true)
      case .fixed(let tensor): tensor
      }
    }
    return (tensors, CounterRandom(seed: seed, stream: 77))
  }

  /// A compiled case: outputs, then the gradients of inputs.
  public final class Bench {
    let feedTypes: [String: TensorType]
    let fetches: [Variable]
    public let program: Program
    let outputs: [Variable]
    let executor = Executor(backend: CPUBackend())
    let scope = Scope()
    let start: [String: Tensor]

    /// The kinds of operator in it.
    public var kinds: Set<String> { Set(program.operators.map { type(of: $0.kind).kindName }) }

    public init(_ test: SpecialCase, dtype: DType) throws {
      let builder = ProgramBuilder(seed: 5)
      var given: [Variable] = []
      var outputs: [Variable] = []
      var loss: Variable!
      try builder.build {
        for (index, input) in test.inputs.enumerated() {
          switch input {
          case .any(let shape), .moderate(let shape):
            given.append(
              try data("x\(index)", shape: shape, dtype: dtype, stopsGradient: false))
          case .fixed(let tensor):
            given.append(
              try data(
                "x\(index)", shape: tensor.shape,
                dtype: tensor.dtype == .float64 ? dtype : tensor.dtype))
          }
        }
        outputs = try test.build(given)
        guard test.isDifferentiated else { return }
        let terms = try outputs.enumerated().filter { $0.element.dtype.isFloatingPoint }.map {
          try reduceSum(
            elementwiseMul(
              $0.element,
              data("w\($0.offset)", shape: $0.element.shape, dtype: $0.element.dtype)))
        }
        loss = terms.count == 1 ? terms[0] : try sums(terms.map { try cast($0, to: dtype) })
      }
      var wanted = outputs
      if test.isDifferentiated {
        let free = given.enumerated().filter {
          if case .fixed = test.inputs[$0.offset] { false } else { true }
        }.map(\.element)
        let result = try builder.main.differentiated(loss, withRespectTo: free)
        wanted += free.compactMap { result.gradients[$0.id] }
        program = result.program.pruned(to: wanted.map(\.id))
      } else {
        program = builder.main
      }
      self.outputs = outputs
      fetches = wanted
      let read = Set(program.operators.flatMap(\.inputs))
      var types: [String: TensorType] = [:]
      for id in read where program[id].role == .data {
        types[program[id].name] = program[id].type
      }
      feedTypes = types
      try executor.run(builder.startup, scope: scope)
      start = scope.snapshot()
    }

    /// - Parameter sizesOf: runs on the absolute values of inputs (x) and outputs' gradients (w).
    public func run(
      _ inputs: [Tensor], _ weights: CounterRandom, from dtype: DType, isModerate: Bool,
      sizesOf kinds: [String] = []
    ) throws -> [Tensor] {
      func sized(_ tensor: Tensor, _ kind: String) -> Tensor {
        kinds.contains(kind) && tensor.dtype == .float64
          ? Tensor(tensor.doubles.map(\.magnitude), shape: tensor.shape) : tensor
      }
      var feed: [String: Tensor] = [:]
      for (name, type) in feedTypes {
        let index = Int(name.dropFirst())!
        if name.hasPrefix("x") {
          let own = sized(inputs[index], "x")
          feed[name] = own.dtype == .float64 ? own.cast(to: type.dtype) : own
        } else {
          let numbers = (0..<type.shape.elementCount).map {
            dtype.anyValue(weights, $0 + 1000 * index, isModerate: isModerate)
          }
          feed[name] = sized(Tensor(numbers, shape: type.shape), "w").cast(to: type.dtype)
        }
      }
      // Every run begins anew: dropout's counter, moving statistics.
      for (name, value) in start { scope[name] = value }
      return try executor.run(program, feed: feed, fetch: fetches, scope: scope)
    }

    /// What a fetched tensor is called in a message.
    func label(_ index: Int) -> String {
      index < outputs.count ? "output \(index)" : "gradient \(index - outputs.count)"
    }
  }

  /// Compares one draw in `dtype` with float64; the first difference of each tensor is an issue.
  public func check(_ dtype: DType, _ own: Bench, _ exact: Bench, seed: UInt64) throws {
    let (values, weights) = draw(dtype, seed: seed)
    let got = try own.run(values, weights, from: dtype, isModerate: !anyGradient)
    let wanted = try exact.run(values, weights, from: dtype, isModerate: !anyGradient)
    let needsSizes = [.magnitudes, .products, .gradientProducts].contains(measure)
    let sizes =
      needsSizes
      ? try exact.run(
        values, weights, from: dtype, isModerate: !anyGradient,
        sizesOf: measure == .gradientProducts ? ["w"] : ["x", "w"])
      : wanted
    for index in got.indices {
      guard got[index].dtype.isFloatingPoint else {
        #expect(got[index] == wanted[index], "\(testDescription) \(dtype) seed \(seed)")
        continue
      }
      let target = got[index].dtype
      let (a, b, size) = (got[index].doubles, wanted[index].doubles, sizes[index].doubles)
      let top = b.reduce(0.0) { $1.isFinite ? max($0, $1.magnitude) : $0 }
      for i in a.indices {
        var scale = measure == .largest ? top : size[i].magnitude
        if measure == .curve, index > 0, values[0].doubles[i].magnitude < 4 {
          scale += dtype.anyValue(weights, i, isModerate: !anyGradient).magnitude
        }
        guard !agrees(a[i], b[i], scale, target) else { continue }
        if vanishes, index > 0, a[i].isNaN, b[i].isInfinite, anyGradient,
          dtype.anyValue(weights, i).isInfinite
        {
          continue
        }
        Issue.record(
          "\(testDescription) \(dtype) seed \(seed), \(own.label(index)) element \(i): \(a[i]), wanted \(b[i]) (scale \(scale)); inputs \(values.map { $0.elementCount <= 40 ? $0.doubles : [] })"
        )
        break
      }
    }
  }

  private func agrees(_ got: Double, _ wanted: Double, _ scale: Double, _ dtype: DType) -> Bool {
    if got.isNaN && wanted.isNaN || got == wanted { return true }
    let single = DType.float32.unitOfRounding
    let unit = dtype == .float32 ? units * single : stored * dtype.unitOfRounding + units * single
    if measure == .products || measure == .gradientProducts,
      !(scale < min(dtype.largest, DType.float32.largest)), !got.isFinite
    {
      return true
    }
    if got.isNaN || wanted.isNaN { return false }
    let size = scale.isFinite ? scale : wanted.magnitude
    let allowed = unit * size + leastUnits * dtype.least.denormal
    // Near the largest number rounding may go either way.
    if got.isInfinite {
      return got.sign == wanted.sign && wanted.magnitude + allowed >= dtype.largest
    }
    if wanted.magnitude > dtype.largest { return wanted.magnitude - got.magnitude <= allowed }
    return (got - wanted).magnitude <= allowed
  }
}

/// x through a convolution with weight 1 of each channel by itself, whose images stand in blocks.
public func blocked(_ x: Variable) throws -> Variable {
  try conv2d(
    x, numFilters: 16, filterSize: 1, groups: 16, paramAttr: ParamAttr(initializer: .constant(1)),
    biasAttr: .absent)
}
