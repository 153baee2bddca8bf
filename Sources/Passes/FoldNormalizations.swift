import ABNActivations
import ABNGraph
import ABNOperations
import ABNTensors

/// What a program without a gradient goes through: fewer passes over memory for the same values, up
/// to rounding.
public let inferencePasses: [any ProgramPass] = [FoldNormalizations(), FuseConvolutions()]

/// Puts a normalization by given statistics into the weights and the bias of the convolution before
/// it.
///
/// In float32, where nothing but the normalization reads the convolution, and in programs of
/// forward operations only. The new weights hang on parameters alone: an executor that keeps
/// constants makes them once.
package struct FoldNormalizations: ProgramPass {
  package let name = "fold normalizations"

  /// The pass.
  package init() {}

  package func rewrite(_ program: Program, fetches: Set<VariableID>) throws -> RewrittenProgram {
    guard program.isForwardOnly else { return RewrittenProgram(program) }
    var list = OperationList(program, fetches: fetches)
    var decisions: [PassDecision] = []
    for operation in program.operations {
      guard let z = operation.outputs.first, let norm = Normalization(operation),
        let index = list.maker(of: z), let convolution = list.producer(of: operation.inputs[0]),
        let kind = list[convolution].kind as? Conv2D,
        canFold(operation, norm.attributes, kind, list[convolution], list)
      else { continue }
      decisions.append(
        try fold(norm, at: index, into: kind, at: convolution, &list))
    }
    return list.finish(decisions, changed: !decisions.isEmpty)
  }

  private func canFold(
    _ operation: Operation, _ norm: NormalizationAttributes, _ kind: Conv2D,
    _ convolution: Operation, _ list: OperationList
  ) -> Bool {
    let parameters = convolution.inputs.dropFirst() + operation.inputs[1..<5]
    return !norm.usesBatchStatistics && norm.layout == kind.layout
      && list.program[operation.outputs[0]].dtype == .float32
      && operation.outputs.dropFirst().allSatisfy {
        list.readers(of: $0).isEmpty && !list.isFetched($0)
      }
      // What is changed during the run has one value here and another there.
      && !parameters.contains {
        list.program[$0].isPersistable && !list.writers(of: $0).isEmpty
      }
  }

  private func fold(
    _ norm: Normalization, at index: Int, into kind: Conv2D, at convolution: Int,
    _ list: inout OperationList
  ) throws -> PassDecision {
    let (old, conv) = (list[index], list[convolution])
    let folded = try list.program.makeOperation(
      FoldNormalization(epsilon: norm.attributes.epsilon),
      [conv.inputs[1]] + old.inputs[1..<5] + conv.inputs.dropFirst(2), role: .forward,
      layer: old.layer, source: old.source)
    let inputs = [conv.inputs[0], folded.outputs[0], folded.outputs[1]]
    var made = [folded]
    if let fused = Conv2DFusion(kind, activation: norm.activation) {
      made.append(
        try list.program.makeOperation(
          fused, inputs, role: .forward, layer: conv.layer, source: conv.source,
          outputs: [0: old.outputs[0]]))
    } else {
      let plain = try list.program.makeOperation(
        Conv2DFusion(kind)!, inputs, role: .forward, layer: conv.layer, source: conv.source)
      made.append(plain)
      made.append(
        try list.program.makeOperation(
          Activate(norm.activation), [plain.outputs[0]], role: .forward,
          layer: old.layer, source: old.source, outputs: [0: old.outputs[0]]))
    }
    list.insert(made.dropLast(), before: index)
    list[index] = made.last!
    list.remove(convolution)
    return PassDecision(
      .fused, list.program[conv.outputs[0]], at: old,
      reason: MemoryReason.inWeights(of: NamedOperation(kind: "conv2d", layer: conv.layer)))
  }
}

/// A normalization without slopes.
private struct Normalization {
  let attributes: NormalizationAttributes
  let activation: Activation

  init?(_ operation: Operation) {
    switch operation.kind {
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
    var list = OperationList(program, fetches: fetches)
    var decisions: [PassDecision] = []
    // Sums first: the activation comes behind them.
    for operation in program.operations where operation.kind is Elementwise {
      if let decision = try fuseSum(operation, &list) { decisions.append(decision) }
    }
    for operation in program.operations where operation.kind is Activate {
      if let decision = try fuseActivation(operation, &list) { decisions.append(decision) }
    }
    return list.finish(decisions, changed: !decisions.isEmpty)
  }

  /// The convolution with a bias, and without an activation, that makes a variable for one reader.
  private func convolution(
    making id: VariableID, _ list: OperationList
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
    _ operation: Operation, _ list: inout OperationList
  ) throws -> PassDecision? {
    guard (operation.kind as? Elementwise)?.function == .add,
      operation.inputs[0] != operation.inputs[1],
      Set((operation.inputs + operation.outputs).map { list.program[$0].type }).count == 1,
      let index = list.maker(of: operation.outputs[0])
    else { return nil }
    // The later one: what it is added to is there before it runs.
    let found = operation.inputs.compactMap { id in
      convolution(making: id, list).map { (id: id, made: $0) }
    }.filter { !$0.made.hasResidual }.max { list.precedes($0.made.index, $1.made.index) }
    guard let (id, made) = found,
      let other = operation.inputs.first(where: { $0 != id }),
      !list.program[other].isPersistable
    else { return nil }
    let old = list[made.index]
    list[index] = try list.program.makeOperation(
      Conv2DFusion(made.kind, hasResidual: true)!, Array(old.inputs.prefix(3)) + [other],
      role: .forward, layer: old.layer, source: old.source, outputs: [0: operation.outputs[0]])
    list.remove(made.index)
    return PassDecision(
      .fused, list.program[id], at: operation,
      reason: MemoryReason.addsTo(
        NamedOperation(kind: "conv2d", layer: old.layer), variable: list.program[other].name))
  }

  private func fuseActivation(
    _ operation: Operation, _ list: inout OperationList
  ) throws -> PassDecision? {
    guard let kind = operation.kind as? Activate, kind.function != .identity,
      let index = list.maker(of: operation.outputs[0]),
      let made = convolution(making: operation.inputs[0], list),
      let fused = Conv2DFusion(
        made.kind, hasResidual: made.hasResidual, activation: kind.function)
    else { return nil }
    let old = list[made.index]
    list[index] = try list.program.makeOperation(
      fused, old.inputs, role: .forward, layer: old.layer, source: old.source,
      outputs: [0: operation.outputs[0]])
    list.remove(made.index)
    return PassDecision(
      .fused, list.program[operation.inputs[0]], at: operation,
      reason: MemoryReason.applies(
        NamedOperation(kind: "conv2d", layer: old.layer), activation: kind.name))
  }
}

extension Program {
  /// Whether nothing of it belongs to a backward pass or an update.
  fileprivate var isForwardOnly: Bool { operations.allSatisfy { $0.role == .forward } }
}

extension OperationList {
  /// Where a variable is made that one operation reads and nobody fetches; nil for others.
  fileprivate func producer(of id: VariableID) -> Int? {
    guard hasOneReader(id), !hasAliases(id), !isFetched(id) else { return nil }
    return maker(of: id)
  }
}
