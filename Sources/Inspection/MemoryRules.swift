import ABNGraph
import ABNOperators
import ABNPlanning
import ABNRuntime
import ABNTensors

/// The rules by which a training step needs less memory than its tensors have together. Each is one
/// line of the report.
package enum MemoryRule: String, Sendable, Codable, CaseIterable {
  /// A parameter is updated directly after its gradient, so that gradients of different layers
  /// share bytes. Gradients that a clip by global norm or a fetch needs until the end are not
  /// counted.
  case earlyUpdates = "updates directly after their gradients"
  /// The sum of a variable's gradients is made in the bytes of one of them.
  case accumulation = "gradients accumulated in place"
  /// A reshape has the bytes of what it reshapes.
  case views = "views and reshapes"
  /// Normalizations and activations are stored over what they read.
  case normalization = "z over y over x"
  /// The gradient of a normalization reads statistics of its channels, no normalized tensor.
  case statistics = "statistics instead of tensors"
  /// The gradient of relu and its kin reads one bit an element.
  case activationMasks = "activation masks as bits"
  /// The gradient of dropout draws the mask again from eight bytes; a bit an element would be more.
  case dropoutMasks = "dropout masks drawn again"
  /// The gradient of a max-pool reads the number of the winner in its window.
  case winners = "max-pool winners as bytes"
  /// Softmax over the logits, and the loss's gradient over that.
  case loss = "the loss's gradient over its input"
  /// Scratchpads, and copies in other layouts, where bytes are free at their step.
  case scratch = "scratch in the holes"
  /// Everything else that is stored over something that it reads.
  case results = "other results over what they read"
  /// Overwritten tensors computed back from what overwrote them.
  case restored = "inputs restored"
  /// Activations computed once more from what is kept.
  case recomputed = "activations computed again"
  /// Terms of residual sums computed back from the sums.
  case subtracted = "residual terms subtracted"
}

extension MemoryReport {
  /// What one rule does for a program.
  package struct Rule: Sendable, Codable {
    /// Which.
    package let rule: MemoryRule
    /// How many times it was applied.
    package let count: Int
    /// The bytes that the tensors in question would have beside what they have: each rule by
    /// itself, and not at one moment, so that rules do not add up to the difference of two arenas.
    package let savedBytes: Int
  }

  /// One entry for each rule, in the order of `MemoryRule`; a rule that nothing asks for has 0.
  ///
  /// - Parameter program: the one that was compiled, as it was built.
  static func rules(of executable: Executable, _ program: Program) -> [Rule] {
    var tally = Tally()
    let evidence = Evidence(executable, program)
    evidence.countHints(&tally)
    evidence.countUpdates(&tally)
    evidence.countKinds(&tally)
    evidence.countScratch(&tally)
    for decision in executable.decisions {
      switch decision.action {
      case .restored: tally.add(.restored, decision.bytes)
      case .masked: tally.add(.activationMasks, decision.bytes)
      case .recomputed: tally.add(.recomputed, decision.bytes)
      case .subtracted: tally.add(.subtracted, decision.bytes)
      // A move serves the restore or the overwriting that comes with it; a copy saves nothing.
      // Fusion is for programs without a gradient.
      case .movedReader, .copied, .fused: break
      }
    }
    return MemoryRule.allCases.map {
      Rule(rule: $0, count: tally.counts[$0, default: 0], savedBytes: tally.bytes[$0, default: 0])
    }
  }
}

/// Counts and bytes by rule.
private struct Tally {
  var counts: [MemoryRule: Int] = [:]
  var bytes: [MemoryRule: Int] = [:]

  mutating func add(_ rule: MemoryRule, count: Int = 1, _ saved: Int) {
    counts[rule, default: 0] += count
    bytes[rule, default: 0] += saved
  }
}

/// A compiled program, and the operators that its buffers come from.
private struct Evidence {
  let buffers: [PlanBuffer]
  let plan: MemoryPlan
  let program: Program
  /// What makes a variable; passes keep the names of what they replace.
  private var makers: [String: any OperatorKind] = [:]
  /// The bytes of a variable, where it is made.
  private var buffer: [String: Int] = [:]
  private var block: [BufferID: PlacedBlock] = [:]

  init(_ executable: Executable, _ program: Program) {
    buffers = executable.lowered.buffers
    plan = executable.plan
    self.program = program
    for op in program.operators {
      for output in op.outputs where !program[output].isPersistable {
        makers[program[output].name] = op.kind
      }
    }
    for (index, entry) in buffers.enumerated()
    where entry.use != .persistent && buffer[entry.name] == nil {
      buffer[entry.name] = index
    }
    for placed in plan.blocks { for id in placed.buffers { block[id] = placed } }
  }

  private func bytes(of id: VariableID) -> Int? {
    buffer[program[id].name].map { buffers[$0].bytes }
  }

  /// What was stored over what, by the operator that asked for it.
  func countHints(_ tally: inout Tally) {
    for decision in plan.decisions where decision.refusal == nil {
      let output = buffers[decision.sharing.output.index]
      tally.add(rule(decision.sharing.kind, makers[output.name]), output.bytes)
    }
  }

  private func rule(_ sharing: BufferSharing.Kind, _ kind: (any OperatorKind)?) -> MemoryRule {
    if sharing == .view { return .views }
    return switch kind {
    case is InPlaceActivatedBatchNorm, is Activate, is PReLU: .normalization
    case is SumOf, is ActivateGradientOfSum: .accumulation
    case is SoftmaxCrossEntropy, is SoftmaxCrossEntropyGradient, is SquaredError,
      is SquaredErrorGradient:
      .loss
    default: .results
    }
  }

  /// Gradients of parameters: all of them, less the most that are alive at once.
  func countUpdates(_ tally: inout Tally) {
    let blocks = program.operators.compactMap { op -> PlacedBlock? in
      guard op.kind is any ParameterUpdate else { return nil }
      return buffer[program[op.inputs[1]].name].flatMap { block[BufferID($0)] }
    }
    guard let lastMade = blocks.map(\.life.lowerBound).max() else { return }
    // The last one shares with nobody either way.
    let early = blocks.count { $0.life.upperBound < lastMade }
    tally.add(
      .earlyUpdates, count: early, blocks.reduce(0) { $0 + $1.bytes } - mostAlive(blocks))
  }

  /// Kinds that keep less for their gradient than what they work on.
  func countKinds(_ tally: inout Tally) {
    let differentiated = program.operators.contains { $0.role == .backward }
    guard differentiated else { return }
    for op in program.operators where op.role == .forward {
      guard let made = bytes(of: op.outputs[0]) else { continue }
      let beside = op.outputs.dropFirst().filter { !program[$0].isPersistable }
      switch op.kind {
      case is InPlaceActivatedBatchNorm, is BatchNorm:
        let kept = beside.reduce(0) { $0 + (bytes(of: $1) ?? 0) }
        tally.add(.statistics, made - kept)
      case is Dropout:
        // A byte an element is what is kept otherwise.
        let elements = made / program[op.outputs[0]].dtype.bytes
        tally.add(.dropoutMasks, elements - MemoryLayout<Int64>.size)
      case let pool as Pool2D where pool.function == .max:
        guard let winners = beside.first, program[winners].dtype == .uint8,
          let kept = bytes(of: winners)
        else { continue }
        tally.add(.winners, made / program[op.outputs[0]].dtype.bytes * 4 - kept)
      default: continue
      }
    }
  }

  /// Scratch: all of it, less what it adds to the lower bound.
  func countScratch(_ tally: inout Tally) {
    let isScratch = { (placed: PlacedBlock) in
      placed.buffers.allSatisfy { buffers[$0.index].use == .scratch }
    }
    let blocks = plan.blocks.filter(isScratch)
    let added = plan.lowerBoundBytes - mostAlive(plan.blocks.filter { !isScratch($0) })
    tally.add(.scratch, count: blocks.count, blocks.reduce(0) { $0 + $1.bytes } - added)
  }

  /// The largest sum of bytes alive at one step.
  private func mostAlive(_ blocks: [PlacedBlock]) -> Int {
    var change: [Int: Int] = [:]
    for placed in blocks {
      change[placed.life.lowerBound, default: 0] += placed.bytes
      change[placed.life.upperBound + 1, default: 0] -= placed.bytes
    }
    var (now, most) = (0, 0)
    for (_, bytes) in change.sorted(by: { $0.key < $1.key }) {
      now += bytes
      most = max(most, now)
    }
    return most
  }
}
