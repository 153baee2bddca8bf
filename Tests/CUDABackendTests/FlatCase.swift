import ABNCPUBackend
import ABNGraph
import ABNOperators
import ABNRuntime
import ABNTensors
import ABNTestSupport
import Synchronization
import Testing

@testable import ABNCUDABackend

/// One operator over random tensors, run on the card and on the processor.
struct FlatCase: Sendable, CustomTestStringConvertible {
  /// What an input is filled with.
  enum Values: Sendable {
    /// Numbers of any magnitude, special ones among them.
    case any
    /// Numbers near 1 of both signs.
    case moderate
    /// Numbers above 0, near 1.
    case positive
    case fixed([Double])
  }

  struct Input: Sendable {
    var shape: Shape
    var values: Values
    /// nil: the case's.
    var dtype: DType?
    /// The type of sums of the case's.
    var isAccumulation = false
    /// Whether it lives in the scope, where the operator may change it.
    var isState = false

    static func like(_ shape: Shape, _ values: Values = .any) -> Input {
      Input(shape: shape, values: values)
    }
    static func state(_ shape: Shape, _ values: Values = .any, sums: Bool = false) -> Input {
      Input(shape: shape, values: values, isAccumulation: sums, isState: true)
    }
    static func scalar(_ value: Double, _ dtype: DType, isState: Bool = false) -> Input {
      Input(shape: [1], values: .fixed([value]), dtype: dtype, isState: isState)
    }
  }

  var name: String
  var inputs: [Input]
  /// What the results may differ by, in ulps; 0: they are the same bits.
  var ulps: Int64 = 0
  /// Runs one after the other.
  var runs = 1
  var make: @Sendable (DType) throws -> any OperatorKind

  var testDescription: String { name }

  init(
    _ name: String, _ inputs: [Input], ulps: Int64 = 0, runs: Int = 1,
    _ make: @escaping @Sendable (DType) throws -> any OperatorKind
  ) {
    (self.name, self.inputs, self.ulps, self.runs) = (name, inputs, ulps, runs)
    self.make = make
  }

  /// The card, or what stands in for one; nil where there is none.
  static let card = TestCard.backend
  static let turn = Mutex(())

  /// Compares all results, and what is left in the scope, of the two backends.
  ///
  /// - Parameter channelsLast: whether images stand channels last on the card.
  func check(_ dtype: DType, channelsLast: Bool = false) throws {
    let values = try inputs.enumerated().map { try tensor($0.offset, $0.element, dtype) }
    // One at a time: steps are recorded on the card's only stream.
    let card = try Self.turn.withLock { _ in
      try outcome(
        Executor(backend: try #require(Self.card)), values, dtype, channelsLast: channelsLast)
    }
    let processor = try outcome(
      Executor(backend: CPUBackend()), values, dtype, channelsLast: false)
    #expect(card.count == processor.count)
    for (own, wanted) in zip(card, processor) {
      try compare(own.value, wanted.value, "\(name) in \(dtype), \(own.name)")
    }
  }

  private func tensor(_ position: Int, _ input: Input, _ own: DType) throws -> Tensor {
    let dtype = input.dtype ?? (input.isAccumulation ? own.accumulation : own)
    let source = CounterRandom(seed: 5, stream: UInt64(position))
    // What the case's type has: a float32 beside bfloat16 is drawn in the range of that.
    let range = dtype.isFloatingPoint ? dtype : .float32
    let numbers = (0..<input.shape.elementCount).map { index in
      switch input.values {
      case .any: range.anyValue(source, index)
      case .moderate: range.anyValue(source, index, isModerate: true)
      case .positive: range.anyValue(source, index, isModerate: true).magnitude
      case .fixed(let list): list[index % list.count]
      }
    }
    return Tensor(numbers, shape: input.shape).cast(to: dtype)
  }

  private func outcome(
    _ executor: Executor, _ values: [Tensor], _ dtype: DType, channelsLast: Bool
  ) throws -> [(name: String, value: Tensor)] {
    let builder = ProgramBuilder(seed: 3)
    let source = SourceLocation(fileID: #fileID, line: #line)
    let outputs = try builder.build {
      var variables: [Variable] = []
      for (position, value) in values.enumerated() {
        let type = TensorType(value.shape, value.dtype)
        guard !inputs[position].isState else {
          variables.append(
            try builder.addPersistable(
              named: "x\(position)", type: type, role: .state,
              initializer: FillConstant(0, type: type), layer: "state", source: source))
          continue
        }
        var x = try builder.addData(
          named: "x\(position)", type: type, source: source, stopsGradient: false)
        // Another operator between, so that results may be put in the bytes of an input.
        x = try op(
          channelsLast && value.shape.rank >= 3 ? Restood() : Assign(), [x])
        variables.append(x)
      }
      return try builder.append(make(dtype), variables, layer: "tested", source: source)
    }
    let scope = Scope()
    for (position, value) in values.enumerated() where inputs[position].isState {
      scope["x\(position)"] = value
    }
    let feed = Dictionary(
      uniqueKeysWithValues: values.indices.filter { !inputs[$0].isState }.map {
        ("x\($0)", values[$0])
      })
    let fetched = outputs.filter { !$0.isPersistable }
    var results: [(name: String, value: Tensor)] = []
    for run in 0..<runs {
      let got = try executor.run(builder.main, feed: feed, fetch: fetched, scope: scope)
      results += got.enumerated().map { ("run \(run) output \($0.offset)", $0.element) }
    }
    for name in scope.names { results.append((name, scope[name]!)) }
    return results
  }

  private func compare(_ own: Tensor, _ wanted: Tensor, _ place: String) throws {
    #expect(own.dtype == wanted.dtype && own.shape == wanted.shape, "\(place)")
    let (x, y) = (own.doubles, wanted.doubles)
    for (index, (a, b)) in zip(x, y).enumerated() {
      if a.isNaN && b.isNaN { continue }
      let isSame =
        ulps == 0
        ? a == b && a.sign == b.sign
        : !a.isNaN && !b.isNaN
          && (steps(a, own.dtype) - steps(b, own.dtype)).magnitude <= UInt64(ulps)
      if !isSame {
        Issue.record("\(place)[\(index)]: \(a) on the card, \(b) on the processor")
        return
      }
    }
  }

  /// The number of the value among those of its type.
  private func steps(_ value: Double, _ dtype: DType) -> Int64 {
    let bits: Int64
    switch dtype {
    case .float16: bits = Int64(Float16(value.magnitude).bitPattern)
    case .bfloat16: bits = Int64(Float(value.magnitude).bitPattern >> 16)
    case .float32: bits = Int64(Float(value.magnitude).bitPattern)
    default: bits = Int64(value.magnitude.bitPattern)
    }
    return value < 0 ? -bits : bits
  }
}

/// y = x, y standing channels last: what a convolution leaves.
struct Restood: OperatorKind, CUDALowerable {
  static let kindName = "restood"
  static let formula = "y = x"
  var walk: ImageWalk { .anyOrder }
  var inputCounts: ClosedRange<Int> { 1...1 }
  func inferTypes(_ inputs: [TensorType]) throws -> [TensorType] { [inputs[0]] }

  func lower(_ c: inout CUDAContext) throws {
    let (type, shape) = (c.inputType(0), c.inputType(0).shape)
    let word = [1: "u8", 2: "u16", 4: "u32", 8: "u64"][type.dtype.bytes]!
    let kernel = try c.kernel([.reorder], "transpose", ["-DT=\(word)"])
    let places = shape.elementCount / shape[0] / shape[1]
    let tiles = shape[0] * ((shape[1] + 31) / 32) * ((places + 31) / 32)
    c.launch(
      [try c.read(0), c.write(0, in: .channelsLast)],
      [
        try KernelLaunch(
          kernel, blocks: tiles, threads: 256,
          [
            .pointer(0), .pointer(1), .i64(Int64(shape[0])), .i64(Int64(shape[1])),
            .i64(Int64(places)),
          ])
      ])
  }
}
