import ABNDNNL
import ABNGraph
import ABNKernels
import ABNPasses
import ABNPlanning
import ABNRuntime
import ABNTensors

/// Runs programs on the processor: oneDNN for convolution, products and pooling, and the kernels of
/// this package for the rest.
public struct CPUBackend: Backend {
  public let name = "cpu"

  public let passes: [any ProgramPass]

  /// Whether images may stand in blocks of channels between convolutions, where oneDNN likes them
  /// so. Without, every image is row-major: slower, with the same results up to rounding. For
  /// comparisons.
  package let usesBlocks: Bool

  /// Those of the team, as the calling thread has them.
  public var threads: Int { Parallel.threads }

  /// Turns of some 20 ms with runs of any process of the user on the same processors, for teams
  /// that take more than half of these.
  public var turns: (any Turns)? { TeamTurns() }

  /// What decides on the last bits of results: `oneDNN 2.6.3, kernels avx512`.
  package static var versions: String {
    let kernels = try? ABNInstructionSet.selected()
    return "oneDNN \(DNNL.versionString), kernels \(kernels?.rawValue ?? "unknown")"
  }

  /// The backend; `passes` are what programs go through first.
  public init(
    passes: [any ProgramPass] = memoryPasses + trainingPasses + inferencePasses,
    usesBlocks: Bool = true
  ) {
    self.passes = passes
    self.usesBlocks = usesBlocks
  }

  public func tableBytes(of program: Program) -> Int {
    // Sizes are below 2^31, and entries of a few dozen bytes.
    program.operators.reduce(0) { sum, op in
      guard let kind = op.kind as? any TableReader else { return sum }
      let shapes = (op.inputs + op.outputs).map { program[$0].shape }
      return sum + kind.tableBytes(shapes)
    }
  }

  public func lower(_ program: Program, fetches: [VariableID]) throws -> LoweredProgram {
    if try program.isEmptyToLower(fetches: fetches) { return .empty }
    var context = try LoweringContext(program: program, usesBlocks: usesBlocks)
    for op in program.operators {
      guard let lowering = lowering(of: op.kind) else {
        throw ABNError(
          .unsupported, "\(op.kindName) \(quoted(op.layer))", at: op.source,
          got: "a kind that the backend \(quoted(name)) has no lowering for",
          wanted: "a kind that conforms to CPUComputable",
          fix: "Give it compute(_:), a function over plain arrays.")
      }
      do {
        try context.lower(op, lowering)
      } catch let error as ABNError {
        throw error.located(
          in: "\(op.kindName) \(quoted(op.layer))", at: op.source)
      }
    }
    return try LoweredProgram(&context, of: program, fetches: fetches)
  }

  private func lowering(of kind: any OperatorKind) -> (any CPULowering)? {
    if let kind = kind as? any CPULowerable { return kind }
    return (kind as? any CPUComputable).map { ComputableLowering(kind: $0) }
  }
}
