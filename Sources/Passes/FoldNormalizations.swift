import ABNActivations
import ABNGraph
import ABNOperators
import ABNTensors

/// What a program without a gradient goes through: fewer passes over memory for the same values, up
/// to rounding.
public let inferencePasses: [any ProgramPass] = [FoldNormalizations(), FuseConvolutions()]

/// Puts a normalization by given statistics into the weights and the bias of the convolution before
/// it.
///
/// In float32, where nothing but the normalization reads the convolution, and in programs of
/// forward operators only. The new weights hang on parameters alone: an executor that keeps
/// constants makes them once.
package struct FoldNormalizations: ProgramPass {
  package let name = "fold normalizations"

  /// The pass.
  package init() {}

  package func rewrite(_ program: Program, fetches: Set<VariableID>) throws -> RewrittenProgram {
    guard program.isForwardOnly else { return RewrittenProgram(program) }
    var list = OperatorList(program, fetches: fetches)
    var decisions: [PassDecision] = []
    for op in program.operators {
      guard let z = op.outputs.first, let norm = Normalization(op),
        let index = list.maker(of: z), let convolution = list.producer(of: op.inputs[0]),
        let kind = list[convolution].kind as? Conv2D,
        canFold(op, norm.attributes, kind, list[convolution], list)
      else { continue }
      decisions.append(
        try fold(norm, at: index, into: kind, at: convolution, &list))
    }
    return list.finish(decisions, changed: !decisions.isEmpty)
  }

  private func canFold(
    _ op: Operator, _ norm: NormalizationAttributes, _ kind: Conv2D,
    _ convolution: Operator, _ list: OperatorList
  ) -> Bool {
    let parameters = convolution.inputs.dropFirst() + op.inputs[1..<5]
    return !norm.usesBatchStatistics && norm.layout == kind.layout
      && list.program[op.outputs[0]].dtype == .float32
      && op.outputs.dropFirst().allSatisfy {
        list.readers(of: $0).isEmpty && !list.isFetched($0)
      }
      // What is changed during the run has one value here and another there.
      && !parameters.contains {
        list.program[$0].isPersistable && !list.writers(of: $0).isEmpty
      }
  }

  private func fold(
    _ norm: Normalization, at index: Int, into kind: Conv2D, at convolution: Int,
    _ list: inout OperatorList
  ) throws -> PassDecision {
    let (old, conv) = (list[index], list[convolution])
    let folded = try list.program.makeOperator(
      FoldNormalization(epsilon: norm.attributes.epsilon),
      [conv.inputs[1]] + old.inputs[1..<5] + conv.inputs.dropFirst(2), role: .forward,
      layer: old.layer, source: old.source)
    let inputs = [conv.inputs[0], folded.outputs[0], folded.outputs[1]]
    var made = [folded]
    if let fused = Conv2DFusion(kind, activation: norm.activation) {
      made.append(
        try list.program.makeOperator(
          fused, inputs, role: .forward, layer: conv.layer, source: conv.source,
          outputs: [0: old.outputs[0]]))
    } else {
      let plain = try list.program.makeOperator(
        Conv2DFusion(kind)!, inputs, role: .forward, layer: conv.layer, source: conv.source)
      made.append(plain)
      made.append(
        try list.program.makeOperator(
          Activate(norm.activation), [plain.outputs[0]], role: .forward,
          layer: old.layer, source: old.source, outputs: [0: old.outputs[0]]))
    }
    list.insert(made.dropLast(), before: index)
    list[index] = made.last!
    list.remove(convolution)
    return PassDecision(
      .fused, list.program[conv.outputs[0]], at: old,
      reason: MemoryReason.inWeights(of: NamedOperator(kind: "conv2d", layer: conv.layer)))
  }
}

/// A normalization without slopes.
private struct Normalization {
  let attributes: NormalizationAttributes
  let activation: Activation

  init?(_ op: Operator) {
    switch op.kind {
    case let kind as BatchNorm: (attributes, activation) = (kind.norm, .identity)
    case let kind as InPlaceActivatedBatchNorm where kind.activation != .prelu:
      (attributes, activation) = (kind.norm, kind.activation)
    default: return nil
    }
  }
}

/// Makes the sum of a residual block and the activation behind it part of the convolution that ends
/// the block, and an activation part of a convolution with a bias.
package struct FuseConvolutions: ProgramPass {
  package let name = "fuse convolutions"

  /// The pass.
  package init() {}

  package func rewrite(_ program: Program, fetches: Set<VariableID>) throws -> RewrittenProgram {
    guard program.isForwardOnly else { return RewrittenProgram(program) }
    var list = OperatorList(program, fetches: fetches)
    var decisions: [PassDecision] = []
    // Sums first: the activation comes behind them.
    for op in program.operators where op.kind is Elementwise {
      if let decision = try fuseSum(op, &list) { decisions.append(decision) }
    }
    for op in program.operators where op.kind is Activate {
      if let decision = try fuseActivation(op, &list) { decisions.append(decision) }
    }
    return list.finish(decisions, changed: !decisions.isEmpty)
  }

  /// The convolution with a bias, and without an activation, that makes a variable for one reader.
  private func convolution(
    making id: VariableID, _ list: OperatorList
  ) -> (index: Int, kind: Conv2D, hasResidual: Bool)? {
    guard list.program[id].dtype == .float32, let index = list.producer(of: id) else { return nil }
    switch list[index].kind {
    case let kind as Conv2D where list[index].inputs.count > 2:
      return (index, kind, false)
    case let kind as Conv2DFusion where kind.activation == .identity:
      return (index, kind.convolution, kind.hasResidual)
    default: return nil
    }
  }

  private func fuseSum(
    _ op: Operator, _ list: inout OperatorList
  ) throws -> PassDecision? {
    guard (op.kind as? Elementwise)?.function == .add,
      op.inputs[0] != op.inputs[1],
      Set((op.inputs + op.outputs).map { list.program[$0].type }).count == 1,
      let index = list.maker(of: op.outputs[0])
    else { return nil }
    // The later one: what it is added to is there before it runs.
    let found = op.inputs.compactMap { id in
      convolution(making: id, list).map { (id: id, made: $0) }
    }.filter { !$0.made.hasResidual }.max { list.precedes($0.made.index, $1.made.index) }
    guard let (id, made) = found,
      let other = op.inputs.first(where: { $0 != id }),
      !list.program[other].isPersistable
    else { return nil }
    let old = list[made.index]
    list[index] = try list.program.makeOperator(
      Conv2DFusion(made.kind, hasResidual: true)!, Array(old.inputs.prefix(3)) + [other],
      role: .forward, layer: old.layer, source: old.source, outputs: [0: op.outputs[0]])
    list.remove(made.index)
    return PassDecision(
      .fused, list.program[id], at: op,
      reason: MemoryReason.addsTo(
        NamedOperator(kind: "conv2d", layer: old.layer), variable: list.program[other].name))
  }

  private func fuseActivation(
    _ op: Operator, _ list: inout OperatorList
  ) throws -> PassDecision? {
    guard let kind = op.kind as? Activate, kind.function != .identity,
      let index = list.maker(of: op.outputs[0]),
      let made = convolution(making: op.inputs[0], list),
      let fused = Conv2DFusion(
        made.kind, hasResidual: made.hasResidual, activation: kind.function)
    else { return nil }
    let old = list[made.index]
    list[index] = try list.program.makeOperator(
      fused, old.inputs, role: .forward, layer: old.layer, source: old.source,
      outputs: [0: op.outputs[0]])
    list.remove(made.index)
    return PassDecision(
      .fused, list.program[op.inputs[0]], at: op,
      reason: MemoryReason.applies(
        NamedOperator(kind: "conv2d", layer: old.layer), activation: kind.name))
  }
}

extension Program {
  /// Whether nothing of it belongs to a backward pass or an update.
  fileprivate var isForwardOnly: Bool { operators.allSatisfy { $0.role == .forward } }
}

extension OperatorList {
  /// Where a variable is made that one operator reads and nobody fetches; nil for others.
  fileprivate func producer(of id: VariableID) -> Int? {
    guard hasOneReader(id), !hasAliases(id), !isFetched(id) else { return nil }
    return maker(of: id)
  }
}
