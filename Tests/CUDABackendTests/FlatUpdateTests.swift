import ABNGraph
import ABNOperators
import ABNTensors
import Testing

/// Updates of parameters, counters and what is drawn by them, on the card as on the processor.
@Suite(.enabled(if: FlatCase.card != nil, "no card, and none is stood in for"))
struct FlatUpdateTests {
  private static let shape: Shape = [37, 29]
  private static let types: [DType] = [.float32, .float64, .bfloat16, .float16]

  private static func treatment(_ regularizer: Regularizer? = nil, scaled: Bool = false)
    -> GradientTreatment
  {
    var treatment = GradientTreatment()
    treatment.regularizer = regularizer
    treatment.isScaled = scaled
    if scaled { (treatment.minimum, treatment.maximum) = (-1.5, 1.25) }
    return treatment
  }

  private static func update(
    _ name: String, _ values: FlatCase.Values = .any, rate: DType = .float32, states: Int,
    powers: Bool = false, scale: Double? = nil, _ kind: any ParameterUpdate
  ) -> FlatCase {
    let second: FlatCase.Values = if case .any = values { .any } else { .positive }
    let state: [FlatCase.Input] = (0..<states).map {
      .state(shape, $0 == 1 ? second : values, sums: true)
    }
    let inputs: [FlatCase.Input] =
      [.state(shape, values), .like(shape, values), .scalar(0.1, rate)] + state
      + (powers
        ? [.scalar(0.9, .float64, isState: true), .scalar(0.999, .float64, isState: true)] : [])
      + (scale.map { [.scalar($0, .float64)] } ?? [])
    return FlatCase(name, inputs, runs: 3) { _ in kind }
  }

  static let kinds: [FlatCase] = [
    update("sgd", states: 0, SGDUpdate()),
    update("sgd, rate in float64", rate: .float64, states: 0, SGDUpdate(multiplier: 0.3)),
    update("sgd, scaled", states: 0, scale: 0.7, SGDUpdate(treatment(.l1(0.01), scaled: true))),
    update(
      "sgd, scaled by next to nothing", states: 0, scale: 1e-40, SGDUpdate(treatment(scaled: true))),
    update("momentum", states: 1, MomentumUpdate(momentum: 0.9)),
    update(
      "momentum with decay", .moderate, states: 1,
      MomentumUpdate(momentum: 0.9, treatment(.l2(1e-4)))),
    update("nesterov", .moderate, states: 1, MomentumUpdate(momentum: 0.9, useNesterov: true)),
    update(
      "nesterov, scaled", states: 1, scale: 0.25,
      MomentumUpdate(momentum: 0.9, useNesterov: true, treatment(.l2(1e-3), scaled: true))),
    update(
      "adam", .moderate, states: 2, powers: true,
      AdamUpdate(beta1: 0.9, beta2: 0.999, epsilon: 1e-8)),
    update(
      "adam of any numbers", states: 2, powers: true,
      AdamUpdate(beta1: 0.9, beta2: 0.999, epsilon: 0)),
    update(
      "adamw, scaled", .moderate, states: 2, powers: true, scale: 0.5,
      AdamUpdate(
        beta1: 0.9, beta2: 0.99, epsilon: 1e-8, decay: 0.1, treatment(scaled: true),
        multiplier: 2)),
    FlatCase(
      "average",
      [.state(shape, .moderate)] + (0..<3).map { _ in .state(shape, .moderate, sums: true) }
        + [
          .scalar(3, .int64, isState: true), .scalar(2, .int64, isState: true),
          .scalar(16382, .int64, isState: true),
        ], runs: 6
    ) { _ in AverageAccumulate(rate: 0.5, minimumWindow: 6, maximumWindow: 8) },
    FlatCase(
      "mean in the parameter's place",
      [.state(shape, .moderate), .state(shape, .moderate)]
        + (0..<3).map { _ in .state(shape, .moderate, sums: true) }
        + [.scalar(3, .int64, isState: true), .scalar(4, .int64, isState: true)]
    ) { _ in ApplyAverage() },
    FlatCase(
      "no mean yet",
      [.state(shape, .moderate), .state(shape, .moderate)]
        + (0..<3).map { _ in .state(shape, .moderate, sums: true) }
        + [.scalar(0, .int64, isState: true), .scalar(0, .int64, isState: true)]
    ) { _ in ApplyAverage() },
    update(
      "lamb without a ratio", .moderate, states: 2, powers: true, scale: 0.5,
      LambUpdate(
        beta1: 0.9, beta2: 0.99, epsilon: 1e-6, decay: 0.1, isAdapted: false,
        treatment(.l1(0.01), scaled: true), multiplier: 2)),
    FlatCase("gradients added up", [.like(shape), .state(shape, sums: true)], runs: 3) { _ in
      AccumulateGradient()
    },
    FlatCase(
      "mean of three gradients", [.like(shape, .moderate), .state(shape, .moderate, sums: true)],
      runs: 2
    ) { _ in MeanGradient(count: 3) },
    FlatCase(
      "first exponential average",
      [.like(shape), .state(shape, sums: true), .scalar(1, .int64)]
    ) { _ in ExponentialAverageUpdate(decay: 0.999) },
    FlatCase(
      "early exponential average",
      [.like(shape, .moderate), .state(shape, .moderate, sums: true), .scalar(20, .int64)],
      runs: 3
    ) { _ in ExponentialAverageUpdate(decay: 0.999) },
    FlatCase(
      "late exponential average",
      [.like(shape, .moderate), .state(shape, .moderate, sums: true), .scalar(0x1p40, .int64)],
      runs: 3
    ) { _ in ExponentialAverageUpdate(decay: 0.999) },
    FlatCase(
      "exponential average in the parameter's place",
      [.state(shape), .state(shape), .state(shape, sums: true), .scalar(1, .int64)]
    ) { _ in ApplyExponentialAverage() },
    FlatCase(
      "no exponential average yet",
      [.state(shape), .state(shape), .state(shape, sums: true), .scalar(0, .int64)]
    ) { _ in ApplyExponentialAverage() },
    FlatCase("parameter as before", [.state(shape), .state(shape)]) { _ in RestoreParameter() },
    FlatCase("increment", [.scalar(41, .int64, isState: true)], runs: 3) { _ in Increment() },
  ]

  @Test(arguments: kinds, types) func updates(_ test: FlatCase, _ dtype: DType) throws {
    try test.check(dtype)
  }

  /// Norms are sums in another order than the processor's, of one part of 16,384 elements and of more.
  @Test(arguments: types, [[37, 29], [3, 40_000]] as [Shape])
  func ratios(_ dtype: DType, _ shape: Shape) throws {
    for decay in [0, 0.1] {
      let inputs: [FlatCase.Input] = [
        .state(shape, .moderate), .like(shape, .moderate), .scalar(0.1, .float32),
        .state(shape, .moderate, sums: true), .state(shape, .positive, sums: true),
        .scalar(0.9, .float64, isState: true), .scalar(0.999, .float64, isState: true),
      ]
      try FlatCase("lamb", inputs, ulps: 4) { _ in
        LambUpdate(beta1: 0.9, beta2: 0.999, epsilon: 1e-6, decay: decay)
      }.check(dtype)
    }
  }

  @Test(arguments: types) func norms(_ dtype: DType) throws {
    // Sums in another order than the processor's, of numbers with at most 26 digits.
    for count in [1, 255, 16384, 70001] {
      try FlatCase("squared norm of \(count)", [.like([count], .moderate)], ulps: 40) { _ in
        SquaredNorm()
      }.check(dtype)
    }
    try FlatCase("squared norm of any", [.like([777])]) { _ in SquaredNorm() }.check(dtype)
    for squares in [[0.25], [9, 16], [.infinity, 1], [.nan], [Double](repeating: 3, count: 20)] {
      try FlatCase("clip", squares.map { .scalar($0, .float64) }) { _ in try ClipScale(limit: 1.5) }
        .check(dtype)
    }
  }

  @Test(arguments: types) func masksAreTheProcessors(_ dtype: DType) throws {
    let source = CounterRandom(seed: 0x1234_5678_9abc_def0, stream: 77)
    for probability in [0, 0.3, 0.5, 1] {
      for implementation in [DropoutImplementation.upscaleInTrain, .downgradeInInfer] {
        for isTest in [false, true] {
          let dropout = try Dropout(
            probability: probability, implementation: implementation, source: source,
            isTest: isTest)
          let counter = FlatCase.Input.scalar(0x1_0000_0003, .int64, isState: true)
          try FlatCase("dropout", [.like([13, 101]), counter], runs: 2) { _ in dropout }
            .check(dtype)
          if !isTest {
            try FlatCase("its gradient", [.like([13, 101]), .scalar(5, .int64)]) { _ in
              DropoutGradient(of: dropout)
            }.check(dtype)
          }
        }
      }
    }
  }

  static let schedules: [Schedule] = [
    .constant(0.1), .piecewise(boundaries: [3, 10], values: [1, 0.5, 0.1]),
    .piecewise(boundaries: [], values: [0.7]), .step(0.3, every: 4),
    .multiStep(0.3, milestones: [2, 9]),
    .exponential(0.3, steps: 7, rate: 0.9), .exponential(0.3, steps: 7, rate: 0.9, staircase: true),
    .polynomial(0.3, steps: 9, end: 0.01, power: 2),
    .polynomial(0.3, steps: 4, end: 0.01, power: 0.5, cycle: true),
    .cosine(0.3, steps: 12, end: 0.02, every: 2),
    .warmup(steps: 5, from: 0.01, then: .cosine(0.3, steps: 12)),
    .warmup(steps: 3, to: 0.2, then: .warmup(steps: 6, then: .step(0.3, every: 2))),
    .oneCycle(peak: 0.4, steps: 12), .oneCycle(peak: 0.4, steps: 1, warmup: 1),
  ]

  @Test(arguments: schedules, [DType.float32, .float64])
  func rates(_ schedule: Schedule, _ dtype: DType) throws {
    for step in [-3, 0, 1, 3, 4, 5, 9, 11, 12, 40, 1 << 40] {
      // The card's powers and cosines may be off by 2 ulps, the processor's by 1.
      try FlatCase("\(schedule)", [.scalar(Double(step), .int64)], ulps: dtype == .float64 ? 8 : 1)
      {
        try ScheduledValue(schedule, dtype: $0)
      }.check(dtype)
    }
  }
}
