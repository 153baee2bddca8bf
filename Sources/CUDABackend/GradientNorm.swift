import ABNOperators
import ABNRuntime
import ABNTensors

extension CUDAContext {
  /// Elements whose squares are added up by one block.
  private static var squaresGrain: Int { 16384 }

  /// The bytes of the sums of a squared norm's parts.
  static func squaresScratchBytes(count: Int) -> Int {
    8 * max(1, (count + squaresGrain - 1) / squaresGrain)
  }

  /// Launches that make the squared norm of an array.
  ///
  /// - Parameters:
  ///   - array: the step's argument with the elements.
  ///   - sums: the argument for `squaresScratchBytes`; not used where the array is one part.
  ///   - total: the argument for the result, [1] float64.
  func squaredNormLaunches(
    of array: Int, _ dtype: DType, count: Int, sums: Int, total: Int
  ) throws -> [KernelLaunch] {
    let name = FlatElement.number(dtype).name
    let parts = Self.squaresScratchBytes(count: count) / 8
    let squares = try kernel([.norm], "squares", ["-DT=\(name)"])
    let first = try KernelLaunch(
      squares, blocks: parts, threads: 256,
      [
        .pointer(array), .pointer(parts > 1 ? sums : total), .i64(Int64(count)),
        .i64(Int64(Self.squaresGrain)),
      ])
    guard parts > 1 else { return [first] }
    let last = try KernelLaunch(
      kernel([.norm], "total", ["-DT=\(name)"]), blocks: 1, threads: 256,
      [.pointer(sums), .pointer(total), .i64(Int64(parts))])
    return [first, last]
  }
}

extension SquaredNorm: CUDALowerable {
  func lower(_ c: inout CUDAContext) throws {
    let count = c.inputType(0).shape.elementCount
    let dtype = try c.floatType(ofInput: 0)
    let bytes = CUDAContext.squaresScratchBytes(count: count)
    var arguments = [try c.read(0), c.write(0)]
    if bytes > 8 { arguments.append(c.scratch(bytes: bytes)) }
    c.launch(
      arguments, try c.squaredNormLaunches(of: 0, dtype, count: count, sums: 2, total: 1))
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
