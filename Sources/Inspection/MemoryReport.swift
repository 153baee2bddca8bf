import ABNGraph
import ABNPlanning
import ABNRuntime
import ABNTensors

/// What a training step needs, in bytes and by whom: everything that `abn plan` prints.
package struct MemoryReport: Sendable, Codable {
  /// One of the tensors that make the peak.
  package struct PeakTensor: Sendable, Codable {
    package let name: String
    package let bytes: Int
    /// activation, gradient, scratch, feed or persistent.
    package let use: String
    /// The operator, its layer and the source line of that layer.
    package let origin: String
  }

  /// Something other than the plain course, and why.
  package struct Decision: Sendable, Codable {
    /// restore, mask, recompute, move, subtract, fuse, copy, apart, convert or avoid.
    package let action: String
    package let variable: String
    package let layer: String
    /// The source line of the layer.
    package let source: String
    package let reason: String
    /// Bytes that need not be kept; for a copy, the bytes that are.
    package let bytes: Int
  }

  /// Bytes outside the plan that the values of a step can ask for.
  package struct Rescue: Sendable, Codable {
    package let layer: String
    package let reason: String
    /// If every channel needs it; 0 in the usual step.
    package let mostBytes: Int
  }

  /// Arena, parameters and optimizer: what a run needs.
  package let peakBytes: Int
  /// All temporaries.
  package let arenaBytes: Int
  /// The largest sum of temporaries alive at one moment.
  package let lowerBoundBytes: Int
  /// Parameters, trained or fixed, and moving statistics.
  package let parameterBytes: Int
  /// What the optimizer, schedules and dropout keep from step to step.
  package let optimizerBytes: Int
  /// Of the temporaries alive at the peak: made by the forward pass.
  package let activationBytes: Int
  /// Of those: made by the backward pass.
  package let gradientBytes: Int
  /// Of those: used inside one operator.
  package let scratchBytes: Int
  /// Of those: fed by the caller.
  package let feedBytes: Int
  /// The operator that runs at the peak.
  package let peakStep: String
  /// How many steps the program has.
  package let stepCount: Int
  /// The placement that gave the smallest arena.
  package let strategy: String
  /// How long sharing and placement took to decide.
  package let planSeconds: Double
  /// The ten largest tensors alive at the peak.
  package let peakTensors: [PeakTensor]
  /// What each rule saves.
  package let rules: [Rule]
  /// Every copy, mask, restore and the like.
  package let decisions: [Decision]
  /// In-place hints that were refused, with the reason.
  package let refusals: [Decision]
  /// Every tensor, weights too, that is copied into another layout for one operator; bytes are
  /// those of the copy.
  package let conversions: [Decision]
  /// Steps that take another course than the library's first choice, as that would be wrong; bytes
  /// are 0.
  package let detours: [Decision]
  /// What the data may add.
  package let rescues: [Rescue]

  /// The report of a compiled program.
  package init(_ executable: Executable, program: Program) {
    let (lowered, plan) = (executable.lowered, executable.plan)
    var parameters = 0
    var state = 0
    for (port, _) in lowered.persistents {
      if program.variable(named: port.name)?.parameterTraits != nil {
        parameters += port.type.bytes
      } else {
        state += port.type.bytes
      }
    }
    peakBytes = executable.plannedPeakBytes
    arenaBytes = plan.arenaBytes
    lowerBoundBytes = plan.lowerBoundBytes
    parameterBytes = parameters
    optimizerBytes = state
    stepCount = lowered.steps.count
    strategy = plan.strategy
    planSeconds = plan.seconds
    peakStep =
      lowered.steps.indices.contains(plan.peakStep)
      ? "\(lowered.steps[plan.peakStep].name) \(quoted(lowered.steps[plan.peakStep].layer))"
      : "none"

    let tensors = Self.tensorsAtThePeak(lowered, plan)
    func sum(_ use: BufferUse) -> Int {
      tensors.reduce(0) { $0 + ($1.use == use.rawValue ? $1.bytes : 0) }
    }
    activationBytes = sum(.activation)
    gradientBytes = sum(.gradient)
    scratchBytes = sum(.scratch)
    feedBytes = sum(.feed)
    peakTensors = Array(tensors.sorted { ($1.bytes, $0.name) < ($0.bytes, $1.name) }.prefix(10))
    rules = Self.rules(of: executable, program)
    decisions = executable.decisions.map {
      Decision(
        action: $0.action.rawValue, variable: $0.variable, layer: $0.layer, source: "\($0.source)",
        reason: "\($0.reason)", bytes: $0.bytes)
    }
    refusals = Self.refusals(lowered, plan)
    conversions = Self.conversions(lowered)
    detours = Self.detours(lowered)
    rescues = lowered.sideBuffers.map {
      Rescue(layer: $0.layer, reason: $0.buffer.purpose, mostBytes: $0.buffer.mostBytes)
    }
  }

  /// The tensors that are alive at the peak, in the order of the plan's blocks.
  private static func tensorsAtThePeak(
    _ lowered: LoweredProgram, _ plan: MemoryPlan
  ) -> [PeakTensor] {
    // Of buffers that share bytes, the one whose value is there at the peak: the last one made.
    var made: [BufferID: Int] = [:]
    for (time, step) in lowered.steps.enumerated() {
      for argument in step.arguments where argument.access != .read {
        made[argument.buffer] = made[argument.buffer] ?? time
      }
    }
    return plan.blocks.filter { $0.life.contains(plan.peakStep) }.map { block in
      let present = block.buffers.filter { made[$0, default: -1] <= plan.peakStep }
      let buffer = lowered.buffers[(present.last ?? block.buffers[0]).index]
      return PeakTensor(
        name: buffer.name, bytes: block.bytes, use: buffer.use.rawValue, origin: buffer.origin)
    }
  }

  private static func refusals(_ lowered: LoweredProgram, _ plan: MemoryPlan) -> [Decision] {
    let granted = Set(plan.decisions.filter { $0.refusal == nil }.map(\.sharing.output))
    return plan.decisions.compactMap { decision in
      guard let reason = decision.refusal, !granted.contains(decision.sharing.output) else {
        return nil
      }
      let step = lowered.steps[decision.step]
      return Decision(
        action: "apart", variable: lowered.buffers[decision.sharing.output.index].name,
        layer: step.layer, source: step.source.map { "\($0)" } ?? "",
        reason: "not over \(lowered.buffers[decision.sharing.input.index].name): \(reason)",
        bytes: lowered.buffers[decision.sharing.output.index].bytes)
    }
  }

  private static func detours(_ lowered: LoweredProgram) -> [Decision] {
    lowered.steps.compactMap { step in
      guard let note = step.note else { return nil }
      let output = step.arguments.first { $0.access != .read }
      return Decision(
        action: "avoid", variable: output.map { lowered.buffers[$0.buffer.index].name } ?? "",
        layer: step.layer, source: step.source.map { "\($0)" } ?? "",
        reason: "\(step.name) by \(note)", bytes: 0)
    }
  }

  private static func conversions(_ lowered: LoweredProgram) -> [Decision] {
    lowered.steps.filter { $0.purpose == .conversion }.map { step in
      func first(_ access: StepAccess) -> PlanBuffer {
        let argument = step.arguments.first { $0.access == access }
        return lowered.buffers[argument!.buffer.index]
      }
      return Decision(
        action: "convert", variable: first(.read).name, layer: step.layer,
        source: step.source.map { "\($0)" } ?? "", reason: step.name, bytes: first(.write).bytes)
    }
  }
}
