import ABNGraph
import ABNOperators
import ABNPasses
import ABNTensors

/// A rule that changes parameters against the gradient of a loss, as operators of the program.
///
/// A conforming type says which update kind a parameter gets and what that kind keeps from run to
/// run; `minimize` does the rest, the same for all.
public protocol Optimizer: Sendable {
  /// The learning rate; each parameter multiplies it with `ParameterTraits.learningRate`.
  var learningRate: LearningRate { get }
  /// The penalty on parameters that have none of their own.
  var regularization: Regularizer? { get }
  /// The bound on gradients of parameters that have none of their own.
  var gradientClip: GradientClip? { get }
  /// The state of one parameter, in the order of the kind's `stateTypes`: kept under the name
  /// `<parameter>_<suffix>_<n>`, first set to `initial` everywhere.
  var state: [(suffix: String, initial: Double)] { get }

  /// Checks the optimizer's own numbers.
  ///
  /// - Throws: `ABNError(.attribute)` for one out of range.
  func validate() throws

  /// The kind that updates `parameter`.
  ///
  /// - Parameters:
  ///   - treatment: clipping and penalty, which the kind applies to the gradient first.
  ///   - multiplier: what the kind multiplies the learning rate with.
  func update(
    of parameter: Variable, treatment: GradientTreatment, multiplier: Double
  ) -> any ParameterUpdate
}

extension Optimizer {
  /// Appends the backward pass of `loss` and one update for each parameter to the main program, and
  /// the first values of the optimizer's state to the startup program.
  ///
  /// Clipping comes first, then the penalty, then the update; a parameter's own traits take
  /// precedence over the optimizer's clip and penalty. All forward and backward operators read
  /// the parameters as they were before the run. Updates stand as early as that allows, so that
  /// gradients of different parameters share memory; a clip by global norm has to wait for all
  /// gradients of its group.
  ///
  /// - Parameters:
  ///   - loss: one floating-point element.
  ///   - parameters: those to update; nil: all of the program. Those that are not trainable, or on
  ///     which the loss does not depend, stay as they are.
  ///   - builder: the programs to change.
  /// - Returns: each updated parameter with its gradient, before clipping and penalty.
  /// - Throws: `ABNError(.attribute)` for a number out of range, `.program` for a loss with several
  ///   elements or where nothing is left to update.
  @discardableResult
  public func minimize(
    _ loss: Variable, parameters: [Variable]? = nil, builder: ProgramBuilder = .current,
    file: StaticString = #fileID, line: UInt = #line
  ) throws -> [(parameter: Variable, gradient: Variable)] {
    try minimize(
      loss, parameters: parameters, rules: ParameterRules(), builder: builder, file: file,
      line: line)
  }

  /// As `minimize(_:parameters:builder:)`, by rules that differ from parameter to parameter, and
  /// from the mean gradient of several runs.
  ///
  /// - Parameters:
  ///   - microBatches: the runs of an update. Above 1 the main program is that of the last of them:
  ///     it updates from the mean of its gradients and of those that the runs of
  ///     `Program.accumulatingGradients` before have added up. Of equal micro-batches that is the
  ///     update of one batch as large as all of them, but for what a normalization takes from its
  ///     batch. Schedules count updates.
  /// - Throws: as `minimize`; `ABNError(.attribute)` for less than one micro-batch.
  @discardableResult
  package func minimize(
    _ loss: Variable, parameters: [Variable]? = nil, rules: ParameterRules, microBatches: Int = 1,
    builder: ProgramBuilder = .current, file: StaticString = #fileID, line: UInt = #line
  ) throws -> [(parameter: Variable, gradient: Variable)] {
    let source = SourceLocation(fileID: file, line: line)
    do {
      return try minimize(loss, parameters, rules, microBatches, builder, source)
    } catch let error as ABNError {
      throw error.located(in: "\(Self.self) of \(quoted(loss.name))", at: source)
    }
  }

  private func minimize(
    _ loss: Variable, _ parameters: [Variable]?, _ rules: ParameterRules, _ microBatches: Int,
    _ builder: ProgramBuilder, _ source: SourceLocation
  ) throws -> [(parameter: Variable, gradient: Variable)] {
    try learningRate.validate()
    try regularization?.validate()
    try gradientClip?.validate()
    try validate()
    try rules.validate()
    guard microBatches >= 1 else {
      throw ABNError(.attribute, "microBatches", got: "\(microBatches)", wanted: "at least 1")
    }
    let program = builder.main
    if case .variable(let rate) = learningRate { _ = try program.owned(rate) }
    let trained = try program.trainable(among: parameters, loss: loss)
    let multipliers = rules.multipliers(of: program.parameters)
    let plans = try trained.map {
      try ParameterPlan($0, self, rules, layerMultiplier: multipliers[$0.id]!)
    }
    let clipGroups = try ClipGroups(plans)

    // Everything that can fail because of the caller has been checked: from here on the builder
    // changes.
    let result = try program.differentiated(loss, withRespectTo: trained)
    let updated = plans.compactMap { plan in
      result.gradients[plan.parameter.id].map { (plan: plan, gradient: $0) }
    }
    guard !updated.isEmpty else {
      throw ABNError(
        .program, "parameters", got: "a loss that depends on none of them",
        wanted: "a loss computed from at least one trainable parameter")
    }
    builder.replaceMain { $0 = result.program }
    let rate = try learningRate.variable(for: loss, in: builder, source: source)
    var used = updated
    if microBatches > 1 {
      for (index, entry) in updated.enumerated() {
        used[index].gradient = try builder.appendMean(
          of: entry.gradient, parameter: entry.plan.parameter, count: microBatches, source: source)
      }
    }
    let scales = try clipGroups.appendScales(used, builder, source)
    for (plan, gradient) in used {
      try append(plan, gradient, rate: rate, scale: scales[plan.parameter.id], builder, source)
    }
    builder.replaceMain { $0 = $0.withEarlyUpdates() }
    return updated.map { (parameter: $0.plan.parameter, gradient: $0.gradient) }
  }

  /// Appends the update of one parameter and makes its state.
  private func append(
    _ plan: ParameterPlan, _ gradient: Variable, rate: Variable, scale: Variable?,
    _ builder: ProgramBuilder, _ source: SourceLocation
  ) throws {
    let parameter = plan.parameter
    let kind = update(
      of: parameter, treatment: plan.treatment, multiplier: plan.multiplier)
    guard kind.stateTypes.count == state.count else {
      throw ABNError(
        .program, "optimizer \(Self.self)", got: "\(state.count) names of states",
        wanted: "\(kind.stateTypes.count), one for each state of \(kind.name)")
    }
    let states = try zip(kind.stateTypes, state).map { stateType, entry in
      let type = stateType == .power ? TensorType([1], .float64) : parameter.type.accumulation
      return try builder.addPersistable(
        named: builder.freeName("\(parameter.name)_\(entry.suffix)"), type: type,
        role: .state,
        initializer: FillConstant(entry.initial, type: type), layer: parameter.name,
        source: source, isNameMadeUp: true)
    }
    _ = try builder.append(
      kind, [parameter, gradient, rate] + states + (scale.map { [$0] } ?? []), role: .optimize,
      layer: parameter.name, source: source)
  }
}

extension Program {
  /// The parameters to update, each once.
  fileprivate func trainable(among given: [Variable]?, loss: Variable) throws -> [Variable] {
    guard owns(loss) else {
      throw ABNError(
        .program, "loss \(quoted(loss.name))",
        got: "a variable of another program, made at \(loss.source)",
        wanted: "a variable of the builder's main program",
        fix: "Call minimize inside the builder's build, or pass the builder.")
    }
    var seen = Set<VariableID>()
    let trained = try (given ?? parameters).filter { variable in
      guard owns(variable), let traits = self[variable.id].parameterTraits else {
        throw ABNError(
          .program, "parameters",
          got: "\(quoted(variable.name))"
            + (owns(variable) ? "" : " of another program, made at \(variable.source)"),
          wanted: "parameters of the builder's main program")
      }
      return traits.trainable && seen.insert(variable.id).inserted
    }
    guard !trained.isEmpty else {
      throw ABNError(
        .program, "parameters", got: "no trainable parameter", wanted: "at least one",
        fix: "Build layers that have parameters first, or set trainable in their ParamAttr.")
    }
    return trained.map { self[$0.id] }
  }
}
