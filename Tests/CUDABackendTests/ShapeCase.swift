import ABNCPUBackend
import ABNGraph
import ABNOperators
import ABNRuntime
import ABNTensors
import ABNTestSupport
import Testing

@testable import ABNCUDABackend

/// A small graph over random tensors, run on the card and on the processor.
struct ShapeCase: Sendable, CustomTestStringConvertible {
  enum Values: Sendable {
    /// Numbers of any magnitude, special ones among them.
    case any
    /// The same with no sign, and finite: sums of them lose no digits.
    case magnitudes
    /// Numbers near 1 of both signs.
    case moderate
    /// Integers in a range.
    case integers(Range<Int>)
  }

  struct Input: Sendable {
    var shape: Shape
    var values: Values
    /// nil: the case's.
    var dtype: DType?

    static func of(_ shape: Shape, _ values: Values = .any, _ dtype: DType? = nil) -> Input {
      Input(shape: shape, values: values, dtype: dtype)
    }
    static func labels(_ shape: Shape, _ range: Range<Int>) -> Input {
      Input(shape: shape, values: .integers(range), dtype: .int64)
    }
  }

  /// Appends operators.
  typealias Append = (any OperatorKind, [Variable]) throws -> [Variable]

  let testDescription: String
  let inputs: [Input]
  /// What results may differ by, in units of rounding of the processor's number; 0: the same
  /// numbers.
  let units: Double
  /// What they may differ by at least: for numbers between 0 and 1 that are as good as 0.
  let least: Double
  let build: @Sendable ([Variable], Append) throws -> [Variable]

  init(
    _ name: String, _ inputs: [Input], units: Double = 0, least: Double = 0,
    _ build: @escaping @Sendable ([Variable], Append) throws -> [Variable]
  ) {
    testDescription = name
    (self.inputs, self.units, self.least, self.build) = (inputs, units, least, build)
  }

  /// Compares all outputs of the two backends.
  ///
  /// - Parameter channelsLast: whether images, on the card, stand channels last.
  func check(_ dtype: DType, channelsLast: Bool = false) throws {
    let values = inputs.enumerated().map { tensor($0.offset, $0.element, dtype) }
    let card = try run(
      Executor(backend: try #require(FlatCase.card)), values, channelsLast: channelsLast)
    let wanted = try run(
      Executor(backend: CPUBackend()), values, channelsLast: false)
    #expect(card.count == wanted.count)
    for (index, (a, b)) in zip(card, wanted).enumerated() {
      #expect(a.dtype == b.dtype && a.shape == b.shape)
      let place = "\(testDescription) in \(dtype)\(channelsLast ? ", channels last" : ""), \(index)"
      compare(a, b, place)
    }
  }

  private func tensor(_ position: Int, _ input: Input, _ own: DType) -> Tensor {
    let dtype = input.dtype ?? own
    let source = CounterRandom(seed: 9, stream: UInt64(position))
    let range = dtype.isFloatingPoint ? dtype : .float16
    let numbers = (0..<input.shape.elementCount).map { index -> Double in
      switch input.values {
      case .any: return range.anyValue(source, index)
      case .magnitudes:
        let value = range.anyValue(source, index).magnitude
        return value.isFinite ? value : 0.5
      case .moderate: return range.anyValue(source, index, isModerate: true)
      case .integers(let range):
        return Double(
          range.lowerBound + Int(source.uniform(UInt64(index)) * Double(range.count)))
      }
    }
    return Tensor(numbers, shape: input.shape).cast(to: dtype)
  }

  private func run(
    _ executor: Executor, _ values: [Tensor], channelsLast: Bool
  ) throws -> [Tensor] {
    let builder = ProgramBuilder(seed: 3)
    let source = SourceLocation(fileID: #fileID, line: #line)
    let outputs = try builder.build {
      func append(_ kind: any OperatorKind, _ inputs: [Variable]) throws -> [Variable] {
        try builder.append(kind, inputs, layer: "tested", source: source)
      }
      let variables = try values.enumerated().map { position, value in
        let type = TensorType(value.shape, value.dtype)
        let x = try builder.addData(
          named: "x\(position)", type: type, source: source, stopsGradient: false)
        // Another operator between, so that results may be put in the bytes of an input.
        return channelsLast && value.shape.rank >= 3 ? try append(Restood(), [x])[0] : x
      }
      return try build(variables, append)
    }
    let feed = Dictionary(
      uniqueKeysWithValues: values.enumerated().map { ("x\($0.offset)", $0.element) })
    let used = Set(builder.main.operators.flatMap(\.inputs))
    let needed = feed.filter { used.contains(builder.main.variable(named: $0.key)!.id) }
    return try FlatCase.turn.withLock { _ in
      try executor.run(builder.main, feed: needed, fetch: outputs, scope: Scope())
    }
  }

  private func compare(_ own: Tensor, _ wanted: Tensor, _ place: String) {
    let unit = own.dtype.isFloatingPoint ? own.dtype.unitOfRounding : 0
    let small = own.dtype.isFloatingPoint ? own.dtype.least.denormal : 0
    for (index, (a, b)) in zip(own.doubles, wanted.doubles).enumerated() {
      if a.isNaN && b.isNaN || a == b && (units > 0 || a.sign == b.sign) { continue }
      let allowed = units == 0 ? -1 : units * max(unit * b.magnitude, small) + least * unit
      guard (a - b).magnitude <= allowed else {
        Issue.record("\(place)[\(index)]: \(a) on the card, \(b) on the processor")
        return
      }
    }
  }
}
