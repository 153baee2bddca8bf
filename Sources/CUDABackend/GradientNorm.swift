import ABNOperators
import ABNRuntime
import ABNTensors

extension SquaredNorm: CUDALowerable {
  /// Elements whose squares are added up by one block.
  private static var grain: Int { 16384 }

  func lower(_ c: inout CUDAContext) throws {
    let name = FlatElement.number(try c.floatType(ofInput: 0)).name
    let count = c.inputType(0).shape.elementCount
    let parts = max(1, (count + Self.grain - 1) / Self.grain)
    let squares = try c.kernel([.norm], "squares", ["-DT=\(name)"])
    var arguments = [try c.read(0), c.write(0)]
    if parts > 1 { arguments.append(c.scratch(bytes: 8 * parts)) }
    var launches = [
      try KernelLaunch(
        squares, blocks: parts, threads: 256,
        [
          .pointer(0), .pointer(parts > 1 ? 2 : 1), .i64(Int64(count)), .i64(Int64(Self.grain)),
        ])
    ]
    if parts > 1 {
      let total = try c.kernel([.norm], "total", ["-DT=\(name)"])
      launches.append(
        try KernelLaunch(
          total, blocks: 1, threads: 256, [.pointer(2), .pointer(1), .i64(Int64(parts))]))
    }
    c.launch(arguments, launches)
  }
}

extension ClipScale: CUDALowerable {
  func lower(_ c: inout CUDAContext) throws {
    let terms = c.inputCount
    let arguments = try (0..<terms).map { try c.read($0) } + [c.write(0)]
    // The sum so far stands in the output; the last launch makes the scale of it.
    let most = FlatFormula.mostInputs - 1
    let names = ["a", "b", "c", "d", "e", "f", "g", "h"]
    var launches: [KernelLaunch] = []
    for first in stride(from: 0, to: terms, by: most) {
      let own = Array(first..<min(first + most, terms))
      let isFirst = first == 0
      let inputs = (isFirst ? [] : [terms]) + own
      let sum = names.prefix(inputs.count).joined(separator: " + ")
      let isLast = own.last == terms - 1
      // A norm that is not a number, or infinite, gives NaN.
      let formula = FlatFormula(
        inputs.map { _ in .float64 }, [.float64],
        isLast
          ? "const Num norm = sqrt(\(sum)); "
            + "out = norm - norm != Num(0) ? norm - norm : norm > limit ? limit / norm : Num(1);"
          : "out = \(sum);",
        isLast ? [("limit", .real(limit))] : [])
      launches.append(try c.flatLaunch(formula, count: 1, inputs + [terms]))
    }
    c.launch(arguments, launches)
  }
}
