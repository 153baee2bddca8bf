import ABNGraph
import ABNOperators
import ABNTensors

/// What one parameter's update does: its traits and the optimizer's settings put together.
struct ParameterPlan {
  let parameter: Variable
  let multiplier: Double
  let treatment: GradientTreatment
  let clip: GradientClip?

  /// - Parameters:
  ///   - rules: which parameters the optimizer's penalty is for.
  ///   - layerMultiplier: what the layer's rate is multiplied with.
  init(
    _ parameter: Variable, _ optimizer: some Optimizer, _ rules: ParameterRules,
    layerMultiplier: Double
  ) throws {
    let traits = parameter.parameterTraits ?? ParameterTraits()
    do {
      guard traits.learningRate.magnitude <= Schedule.largestRate else {
        throw ABNError(
          .attribute, "learning rate", got: "\(traits.learningRate)",
          wanted: "a finite number that float32 holds")
      }
      try traits.regularizer?.validate()
      try traits.gradientClip?.validate()
    } catch let error as ABNError {
      throw error.located(in: "parameter \(quoted(parameter.name))", at: parameter.source)
    }
    let clip = traits.gradientClip ?? optimizer.gradientClip
    var treatment = GradientTreatment()
    treatment.regularizer =
      traits.regularizer ?? (rules.decays(parameter) ? optimizer.regularization : nil)
    switch clip {
    case .value(let minimum, let maximum):
      treatment.minimum = minimum
      treatment.maximum = maximum
    case .norm, .globalNorm: treatment.isScaled = true
    case nil: break
    }
    self.parameter = parameter
    self.clip = clip
    self.treatment = treatment
    multiplier = traits.learningRate * layerMultiplier
  }
}

/// The norm that each group of gradients may have.
struct ClipGroups {
  private var limits: [String: Double] = [:]

  /// - Throws: `ABNError(.attribute)` where two parameters of a group ask for different norms.
  init(_ plans: [ParameterPlan]) throws {
    for plan in plans {
      guard case .globalNorm(let norm, let group) = plan.clip else { continue }
      if let other = limits[group], other != norm {
        throw ABNError(
          .attribute, "global norm of group \(quoted(group))",
          got: "\(norm) for \(quoted(plan.parameter.name))",
          wanted: "\(other), as the parameters before it",
          fix: "Give the parameters one norm, or groups of their own.")
      }
      limits[group] = norm
    }
  }

  /// Appends the operators that compute what each gradient is multiplied with.
  func appendScales(
    _ updated: [(plan: ParameterPlan, gradient: Variable)], _ builder: ProgramBuilder,
    _ source: SourceLocation
  ) throws -> [VariableID: Variable] {
    var scales: [VariableID: Variable] = [:]
    var groups: [String: (parameters: [VariableID], norms: [Variable])] = [:]
    func append(_ kind: any OperatorKind, _ inputs: [Variable], _ layer: String) throws -> Variable
    {
      try builder.append(kind, inputs, role: .optimize, layer: layer, source: source)[0]
    }
    for (plan, gradient) in updated where plan.treatment.isScaled {
      let (id, layer) = (plan.parameter.id, plan.parameter.name)
      let norm = try append(SquaredNorm(), [gradient], layer)
      switch plan.clip {
      case .norm(let limit): scales[id] = try append(ClipScale(limit: limit), [norm], layer)
      case .globalNorm(_, let group):
        groups[group, default: ([], [])].parameters.append(id)
        groups[group]!.norms.append(norm)
      case .value, nil: break
      }
    }
    for (group, members) in groups.sorted(by: { $0.key < $1.key }) {
      let scale = try append(ClipScale(limit: limits[group]!), members.norms, group)
      for id in members.parameters { scales[id] = scale }
    }
    return scales
  }
}

extension Regularizer {
  /// Throws unless the coefficient is a number of at least 0 that float32 holds.
  func validate() throws {
    switch self {
    case .l1(let coefficient), .l2(let coefficient):
      guard coefficient >= 0, coefficient <= Schedule.largestRate else {
        throw ABNError(
          .attribute, "regularization", got: "\(coefficient)",
          wanted: "a finite coefficient of at least 0 that float32 holds")
      }
    }
  }
}

extension GradientClip {
  /// Throws unless the bounds can be kept.
  func validate() throws {
    switch self {
    case .value(let minimum, let maximum):
      let largest = Schedule.largestRate
      guard minimum <= maximum, minimum <= largest, maximum >= -largest else {
        throw ABNError(
          .attribute, "gradient clip", got: "\(minimum)...\(maximum)",
          wanted: "a minimum that is not above the maximum, with numbers of float32 between them")
      }
    case .norm(let limit), .globalNorm(let limit, _): _ = try ClipScale(limit: limit)
    }
  }
}
