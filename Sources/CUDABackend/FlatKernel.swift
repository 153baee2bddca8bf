import ABNRuntime
import ABNTensors

// Steps over the elements of arrays: kernels that are made of one formula each. One kernel serves
// all sizes, and all values of the formula's parameters.

extension CUDAContext {
  /// A launch of a formula over `count` elements of arrays, each an array of so many.
  ///
  /// Results may be in the bytes of an input with elements of the same size.
  ///
  /// - Parameter pointers: where inputs, outputs and the numbers in device memory stand among the
  ///   step's arguments.
  func flatLaunch(_ formula: FlatFormula, count: Int, _ pointers: [Int]) throws -> KernelLaunch {
    try launch(
      formula, count: count, width: formula.width, pointers,
      kernel: flatKernel(formula, formula.denseText), rest: [])
  }

  /// A launch of a formula whose inputs are broadcast to the row-major outputs.
  func flatLaunch(_ formula: FlatFormula, over walk: FlatWalk, _ pointers: [Int]) throws
    -> KernelLaunch
  {
    let count = walk.sizes.reduce(1, *)
    if walk.isDense { return try flatLaunch(formula, count: count, pointers) }
    guard walk.sizes.count <= FlatWalk.mostDimensions else {
      throw ABNError(
        .unsupported, "broadcast", got: "\(walk.sizes.count) dimensions that differ in their walk",
        wanted: "at most \(FlatWalk.mostDimensions)", fix: "Run this program on the processor.")
    }
    let width = walk.takes(width: formula.width) ? formula.width : 1
    // With what the last round of a grid adds.
    let isLarge = count >= 1 << 30
    let text = formula.broadcastText(
      width: width, width == 1 ? walk.steps.map { _ in .array } : walk.steps, isLarge: isLarge)
    return try launch(
      formula, count: count, width: width, pointers, kernel: flatKernel(formula, text),
      rest: [.bytes(walk.bytes(width: width, isLarge: isLarge))])
  }

  /// A step of one launch over arrays of `count` elements.
  mutating func flat(_ formula: FlatFormula, count: Int, _ arguments: [StepArgument]) throws {
    launch(arguments, [try flatLaunch(formula, count: count, Array(arguments.indices))])
  }

  private func flatKernel(_ formula: FlatFormula, _ text: String) throws -> CUDAKernel {
    let files = ([.flat] + formula.files).map(\.text).joined(separator: "\n")
    return try device.kernel(
      KernelSource(generated: files + "\n" + text, entry: "flat", defines: ["--fmad=false"]))
  }

  private func launch(
    _ formula: FlatFormula, count: Int, width: Int, _ pointers: [Int], kernel: CUDAKernel,
    rest: [KernelArgument]
  ) throws -> KernelLaunch {
    precondition(
      pointers.count == formula.inputs.count + formula.outputs.count + formula.scalars.count,
      "a pointer for each operand of the formula")
    let each = FlatFormula.threads * width * formula.groups
    let operands = formula.inputs.count + formula.outputs.count
    return try KernelLaunch(
      kernel, blocks: max(1, min((count + each - 1) / each, 1 << 20)), threads: FlatFormula.threads,
      pointers.prefix(operands).map { .pointer($0) } + [.i64(Int64(count))] + rest
        + pointers.dropFirst(operands).map { .pointer($0) } + formula.arguments)
  }

  /// Launches of a formula over many sets of arrays, each set with its own number of elements.
  ///
  /// - Parameters:
  ///   - updated: for each output, the input in whose place it is.
  ///   - sets: where the inputs of each set, and its own numbers, stand among the step's arguments.
  ///   - scalars: where the numbers in device memory do.
  func flatLaunches(
    _ formula: FlatFormula, updated: [Int], over sets: [(pointers: [Int], count: Int)],
    scalars: [Int]
  ) throws -> [KernelLaunch] {
    let kernel = try flatKernel(formula, formula.tableText(updated: updated))
    return try stride(from: 0, to: sets.count, by: FlatTable.mostSets).map { first in
      let table = FlatTable(
        Array(sets[first..<min(first + FlatTable.mostSets, sets.count)]),
        blockElements: FlatFormula.threads * formula.width * formula.groups)
      return try KernelLaunch(
        kernel, blocks: table.blocks, threads: FlatFormula.threads,
        [table.argument] + scalars.map { .pointer($0) } + formula.arguments)
    }
  }
}

extension FlatFormula {
  /// The values of the parameters, as the kernel takes them.
  fileprivate var arguments: [KernelArgument] {
    parameters.map { _, value in
      switch value {
      case .real(let number): isDouble ? .f64(number) : .f32(Float(number))
      case .double(let number): .f64(number)
      case .integer(let number): .i64(Int64(number))
      }
    }
  }
}

/// Which blocks of a launch work on which set of arrays: the struct `Table` of
/// `FlatFormula.tableText`.
struct FlatTable: Sendable {
  /// The most sets of a launch: kernels take 4,096 bytes of arguments.
  static var mostSets: Int { 64 }

  let blocks: Int
  let argument: KernelArgument

  init(_ sets: [(pointers: [Int], count: Int)], blockElements: Int) {
    let rest = Self.mostSets - sets.count
    var (starts, next): ([KernelArgument], Int) = ([], 0)
    for set in sets {
      starts.append(.u32(UInt32(next)))
      next += max(1, (set.count + blockElements - 1) / blockElements)
    }
    blocks = next
    let arrays = sets[0].pointers.indices.map { operand in
      KernelArgument.fields(
        sets.map { .pointer($0.pointers[operand]) } + Array(repeating: .null, count: rest))
    }
    argument = .fields(
      arrays + sets.map { .i64(Int64($0.count)) } + Array(repeating: .i64(0), count: rest)
        // No block is behind the last start.
        + starts + Array(repeating: .u32(.max), count: rest))
  }
}

extension CUDAContext {
  /// The type of input `index`, which the operator computes in.
  ///
  /// - Throws: `ABNError(.unsupported)` unless it is a floating-point type.
  func floatType(ofInput index: Int) throws -> DType {
    let dtype = inputType(index).dtype
    guard dtype.isFloatingPoint else {
      throw unsupported(dtype, wanted: "a floating-point type")
    }
    return dtype
  }
}
