import ABNGraph
import ABNOperators
import ABNTensors

/// An optimizer as a value: what a command line or a recipe says of it.
package struct OptimizerSettings: Sendable, Equatable, Codable {
  /// The rule of the updates.
  package enum Name: String, Sendable, Codable, CaseIterable {
    /// Plain steps against the gradient.
    case sgd
    /// Steps along a velocity, with Nesterov's look ahead.
    case momentum
    case adam
    /// Adam with decay apart from the gradient.
    case adamw
    /// AdamW with steps as long as each parameter's norm says.
    case lamb

    /// Whether `momentum` means anything to it.
    package var hasMomentum: Bool { self == .momentum }
    /// Whether `betas` mean anything to it.
    package var hasBetas: Bool { [.adam, .adamw, .lamb].contains(self) }
  }

  package var name = Name.momentum
  /// The highest rate of the schedule.
  package var learningRate = 0.1
  /// Of `momentum`, in 0 ..< 1.
  package var momentum = 0.9
  /// Of `adam`, `adamw` and `lamb`: the shares of the two moments that stay, each in 0 ..< 1.
  package var betas = Betas()
  /// Added to the root of the second moment; nil: 1e-8, and 1e-6 of `lamb`.
  package var epsilon: Double?
  /// Of `sgd`, `momentum` and `adam` an L2 penalty on the gradient; of the others decay apart from
  /// it.
  package var weightDecay = 0.0
  /// Whether scales and shifts of normalizations, biases and slopes decay too; see
  /// `ParameterRules.isWeight`.
  package var decaysNormAndBias = false
  /// See `ParameterRules.layerDecay`.
  package var layerDecay = 1.0
  package var clip = ClipSettings.none

  /// Momentum of 0.9 with a rate of 0.1.
  package init() {}

  /// The shares of Adam's two moments.
  package struct Betas: Sendable, Equatable, Codable, CustomStringConvertible {
    package var first: Double
    package var second: Double

    package init(_ first: Double = 0.9, _ second: Double = 0.999) {
      (self.first, self.second) = (first, second)
    }

    /// Two numbers with a comma between them: `0.9,0.999`.
    ///
    /// - Throws: `ABNError(.attribute)` for anything else.
    package init(parsing text: String) throws {
      let numbers = text.split(separator: ",", omittingEmptySubsequences: false).map {
        Double($0.trimmed)
      }
      guard numbers.count == 2, let first = numbers[0], let second = numbers[1] else {
        throw ABNError(
          .attribute, "betas", got: quoted(text), wanted: "two numbers in 0 ..< 1, as 0.9,0.999")
      }
      self.init(first, second)
    }

    package var description: String { "\(first),\(second)" }
  }

  /// The optimizer, for a schedule of its rate.
  ///
  /// - Throws: `ABNError(.attribute)` for a number out of range.
  package func make(schedule: any LearningRateConvertible) throws -> ConfiguredOptimizer {
    let clip = try clip.gradientClip
    let penalty: Regularizer? = weightDecay == 0 ? nil : .l2(weightDecay)
    let decays = decays
    let (beta1, beta2) = (betas.first, betas.second)
    var rules = ParameterRules()
    rules.decays = decays
    rules.layerDecay = layerDecay
    try rules.validate()
    let base: any Optimizer =
      switch name {
      case .sgd: SGD(learningRate: schedule, regularization: penalty, gradientClip: clip)
      case .momentum:
        Momentum(
          learningRate: schedule, momentum: momentum, useNesterov: true, regularization: penalty,
          gradientClip: clip)
      case .adam:
        Adam(
          learningRate: schedule, beta1: beta1, beta2: beta2, epsilon: epsilon ?? 1e-8,
          regularization: penalty, gradientClip: clip)
      case .adamw:
        AdamW(
          learningRate: schedule, beta1: beta1, beta2: beta2, epsilon: epsilon ?? 1e-8,
          weightDecay: weightDecay, gradientClip: clip, decays: decays)
      case .lamb:
        Lamb(
          learningRate: schedule, beta1: beta1, beta2: beta2, epsilon: epsilon ?? 1e-6,
          weightDecay: weightDecay, gradientClip: clip, adapts: decays)
      }
    try penalty?.validate()
    try clip?.validate()
    try base.validate()
    return ConfiguredOptimizer(base: base, rules: rules)
  }

  private var decays: @Sendable (Variable) -> Bool {
    let all = decaysNormAndBias
    return { all || ParameterRules.isWeight($0) }
  }
}

/// An optimizer with rules for its parameters: what `OptimizerSettings` make.
package struct ConfiguredOptimizer: Sendable {
  /// What makes the updates.
  package let base: any Optimizer
  /// What differs from parameter to parameter.
  package let rules: ParameterRules

  /// As `Optimizer.minimize`, by the rules.
  ///
  /// - Parameter microBatches: the runs of an update; above 1 `Program.accumulatingGradients` gives
  ///   the program of all but the last.
  @discardableResult
  package func minimize(
    _ loss: Variable, parameters: [Variable]? = nil, microBatches: Int = 1,
    builder: ProgramBuilder = .current, file: StaticString = #fileID, line: UInt = #line
  ) throws -> [(parameter: Variable, gradient: Variable)] {
    try base.minimize(
      loss, parameters: parameters, rules: rules, microBatches: microBatches, builder: builder,
      file: file, line: line)
  }
}

/// A bound on gradients as a value: `none`, `value:0.5`, `norm:1`, `global:5`; a number alone
/// bounds the norm of all gradients together, as `global` does.
package enum ClipSettings: Sendable, Equatable, CustomStringConvertible {
  case none
  /// Each element into -limit ... limit.
  case value(Double)
  /// The norm of each parameter's gradient.
  case norm(Double)
  /// The norm of all gradients together.
  case globalNorm(Double)

  private static let names = ["none", "value", "norm", "global"]

  /// Reads what `description` gives.
  ///
  /// - Throws: `ABNError(.name)` that names the nearest word, `.attribute` for a limit that is no
  ///   number above 0.
  package init(parsing text: String) throws {
    let parts = text.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
    let word = parts[0].trimmed
    if parts.count == 1, let limit = Double(word) {
      self = .globalNorm(try Self.limit(limit, text))
      return
    }
    guard Self.names.contains(word) else {
      throw ABNError(unknown: word, "clip", names: Self.names)
    }
    if word == "none", parts.count == 1 {
      self = .none
      return
    }
    guard word != "none", parts.count == 2, let number = Double(parts[1].trimmed) else {
      throw Self.error(text)
    }
    let limit = try Self.limit(number, text)
    self = word == "value" ? .value(limit) : word == "norm" ? .norm(limit) : .globalNorm(limit)
  }

  private static func limit(_ number: Double, _ text: String) throws -> Double {
    guard number > 0, number <= Schedule.largestRate else { throw error(text) }
    return number
  }

  private static func error(_ text: String) -> ABNError {
    ABNError(
      .attribute, "clip", got: quoted(text),
      wanted: "none, or value, norm or global with a number above 0, as norm:1")
  }

  package var description: String {
    switch self {
    case .none: "none"
    case .value(let limit): "value:\(limit)"
    case .norm(let limit): "norm:\(limit)"
    case .globalNorm(let limit): "global:\(limit)"
    }
  }

  /// What an optimizer takes.
  var gradientClip: GradientClip? {
    get throws {
      let clip: GradientClip? =
        switch self {
        case .none: nil
        case .value(let limit): .value(min: -limit, max: limit)
        case .norm(let limit): .norm(limit)
        case .globalNorm(let limit): .globalNorm(limit)
        }
      try clip?.validate()
      return clip
    }
  }
}

extension ClipSettings: Codable {
  package init(from decoder: any Decoder) throws {
    try self.init(parsing: decoder.singleValueContainer().decode(String.self))
  }

  package func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    try container.encode(description)
  }
}

extension StringProtocol {
  /// Without the spaces around it.
  fileprivate var trimmed: String {
    String(drop { $0 == " " }.reversed().drop { $0 == " " }.reversed())
  }
}
