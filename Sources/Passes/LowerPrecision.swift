import ABNGraph
import ABNOperators
import ABNTensors

/// Has convolutions, products and what stands between them compute on 16-bit numbers, in a program
/// of float32: mixed precision.
///
/// Parameters, moving statistics, the optimizer's state and the loss stay float32. A convolution's
/// weights are rounded where it reads them, and their gradient is widened where an update reads it.
/// Normalizations, activations, sums, pooling and copies follow what they read: they run on 16 bits
/// where it has 16 bits already. Softmax, cross entropy, reductions and updates read float32.
///
/// Runs before all other passes, which then see which bytes there are.
package struct LowerPrecision: ProgramPass {
  package let name = "lower precision"

  private let dtype: DType

  /// - Parameter dtype: bfloat16 or float16. Nothing scales the loss: gradients below the least
  ///   float16 vanish.
  package init(to dtype: DType) {
    precondition(dtype == .bfloat16 || dtype == .float16)
    self.dtype = dtype
  }

  package func rewrite(_ program: Program, fetches: Set<VariableID>) throws -> RewrittenProgram {
    var rewriting = Rewriting(program, dtype)
    for op in program.operators { try rewriting.append(op) }
    guard rewriting.hasChanged else { return RewrittenProgram(program) }
    for id in fetches.sorted() { try rewriting.restoreFetched(id) }
    return RewrittenProgram(rewriting.program.with(operators: rewriting.operators))
  }
}

/// How an operator's float32 inputs are lowered.
private enum Lowering {
  /// These positions, whatever they were.
  case always([Int])
  /// These positions, where the first of them that is float32 in the program has 16 bits already.
  case following([Int])
  /// These positions, where the operator that made the one at `maker` has been lowered: what the
  /// two of them share has the form of one type.
  case together([Int], maker: Int)
  /// None: the operator reads float32.
  case never

  init(_ op: Operator) {
    let all = Array(op.inputs.indices)
    switch op.kind {
    case is Conv2D, is Conv2DDataGradient, is Conv2DWeightGradient, is Mul, is MulDataGradient,
      is MulWeightGradient:
      self = .always(all)
    case is BatchNorm, is InPlaceActivatedBatchNorm: self = .following([0])
    case is BatchNormGradient: self = .following([0, 1])
    case is InPlaceABNGradient: self = .together([0, 1], maker: 0)
    case is Activate, is ActivateGradient, is Elementwise, is SumOf, is Pool2D, is Pool2DGradient,
      is Concat, is ConcatGradient, is Split, is Slice, is SliceGradient, is Pad, is Reshape,
      is Flatten, is ReshapeGradient, is Transpose, is Resize, is ResizeGradient, is Scale,
      is Assign, is ZerosLike:
      self = .following(all)
    case is Dropout: self = .following([0])
    case is DropoutGradient: self = .following([0])
    default: self = .never
    }
  }
}

private struct Rewriting {
  private(set) var program: Program
  private(set) var operators: [Operator] = []
  private(set) var hasChanged = false
  private let dtype: DType
  /// The 16-bit form of a float32 variable of the program.
  private var narrow: [VariableID: VariableID] = [:]
  /// Float32 variables that are not made any more, only their 16-bit form.
  private var lowered = Set<VariableID>()
  /// Who made the variables of `lowered`, for the place of a conversion.
  private var makers: [VariableID: Operator] = [:]

  init(_ program: Program, _ dtype: DType) {
    self.program = program
    self.dtype = dtype
  }

  mutating func append(_ op: Operator) throws {
    let positions: [Int]
    switch Lowering(op) {
    case .always(let given): positions = given
    case .following(let given):
      let first = given.first { program[op.inputs[$0]].dtype == .float32 }
      positions = first.map { narrow[op.inputs[$0]] != nil } == true ? given : []
    case .together(let given, let maker):
      positions = makers[op.inputs[maker]] == nil ? [] : given
    case .never: positions = []
    }
    var inputs = op.inputs
    var isLowered = false
    for position in inputs.indices where program[inputs[position]].dtype == .float32 {
      if positions.contains(position) {
        inputs[position] = try narrowed(inputs[position], for: op)
        isLowered = true
      } else {
        try restore(inputs[position], for: op)
      }
    }
    // A parameter that changes is rounded anew by whoever reads it next.
    for id in op.outputs where program[id].isPersistable { narrow[id] = nil }
    guard isLowered else {
      operators.append(op)
      return
    }
    hasChanged = true
    let types = try op.kind.outputTypes(for: inputs.map { program[$0].type })
    // Outputs that are not images, as dscale, keep their variables.
    var kept: [Int: VariableID] = [:]
    for (index, id) in op.outputs.enumerated() where program[id].type == types[index] {
      kept[index] = id
    }
    let made = try program.makeOperator(
      op.kind, inputs, role: op.role, layer: op.layer,
      source: op.source,
      outputNames: op.outputs.map { "\(program[$0].name)@\(dtype)" }, outputs: kept)
    operators.append(made)
    for (old, new) in zip(op.outputs, made.outputs) where old != new {
      narrow[old] = new
      lowered.insert(old)
      makers[old] = made
    }
  }

  /// The 16-bit form of a variable, made where there is none.
  private mutating func narrowed(_ id: VariableID, for reader: Operator) throws -> VariableID {
    if let known = narrow[id] { return known }
    let cast = try program.makeOperator(
      Cast(to: dtype), [id], role: reader.role, layer: reader.layer, source: reader.source)
    operators.append(cast)
    narrow[id] = cast.outputs[0]
    return cast.outputs[0]
  }

  /// Makes the float32 form of a variable that was lowered, for the first that reads it.
  private mutating func restore(_ id: VariableID, for reader: Operator) throws {
    guard lowered.remove(id) != nil, let source = narrow[id] else { return }
    operators.append(
      try program.makeOperator(
        Cast(to: .float32), [source], role: reader.role, layer: reader.layer,
        source: reader.source, outputs: [0: id]))
  }

  /// A fetched value is float32, as the program says.
  mutating func restoreFetched(_ id: VariableID) throws {
    guard let maker = makers[id] else { return }
    try restore(id, for: maker)
  }
}
