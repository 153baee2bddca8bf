import ABNOperators
import ABNRuntime
import ABNTensors

extension FillConstant: CUDALowerable {
  func lower(_ c: inout CUDAContext) throws {
    try c.fill(c.write(0), value, type)
  }
}

extension CUDAContext {
  /// A step that sets all elements to a value.
  mutating func fill(_ argument: StepArgument, _ value: Double, _ type: TensorType) throws {
    try flat(
      FlatFormula([], [type.dtype], "out = (Num)number;", [("number", .double(value))]),
      count: type.shape.elementCount, [argument])
  }
}

extension SumOf: CUDALowerable {
  var walk: ImageWalk { .anyOrder }

  func lower(_ c: inout CUDAContext) throws {
    let (dtype, order) = (try c.floatType(ofInput: 0), c.order(ofInput: 0))
    let (terms, count) = (c.inputCount, c.inputType(0).shape.elementCount)
    let arguments = try (0..<terms).map { try c.read($0, in: order) } + [c.write(0, in: order)]
    // More than two are added in float64, where partial sums do not overflow.
    func sum(_ inputs: [DType], _ output: DType) -> FlatFormula {
      let names = ["a", "b", "c", "d", "e", "f", "g", "h"].prefix(inputs.count)
      return FlatFormula(
        inputs, [output], "out = \(names.joined(separator: " + "));", isWide: terms > 2)
    }
    let most = FlatFormula.mostInputs
    guard terms > most else {
      return try c.flat(sum(Array(repeating: dtype, count: terms), dtype), count: count, arguments)
    }
    // Sums of the terms so far stand in between in float64; the last launch writes the result,
    // which may be in the bytes of a term that was read before.
    let partial = terms + 1
    var launches = [
      try c.flatLaunch(
        sum(Array(repeating: dtype, count: most), .float64), count: count,
        Array(0..<most) + [partial])
    ]
    var first = most
    while first < terms {
      let own = Array(first..<min(first + most - 1, terms))
      first = own.last! + 1
      let isLast = first == terms
      launches.append(
        try c.flatLaunch(
          sum([.float64] + own.map { _ in dtype }, isLast ? dtype : .float64), count: count,
          [partial] + own + [isLast ? terms : partial]))
    }
    c.launch(arguments + [c.scratch(bytes: 8 * count)], launches)
  }
}
