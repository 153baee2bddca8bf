import ABNGraph
import ABNLayers
import ABNOperators
import ABNOptimizers
import ABNTensors
import Foundation
import Testing

@Suite struct OptimizerSettingsTests {
  /// A network with weights, biases, scales and shifts, and the updates that settings give it.
  private func updates(_ settings: OptimizerSettings) throws -> [String: any ParameterUpdate] {
    let builder = ProgramBuilder(seed: 1)
    let updated = try builder.build {
      let x = try data("x", shape: [-1, 3, 8, 8])
      var y = try conv2d(x, numFilters: 4, filterSize: 3, name: "stem")
      y = try inplaceABN(y, act: .leakyReLU(slope: 0.1), name: "bn")
      y = try conv2d(y, numFilters: 4, filterSize: 3, name: "second")
      let loss = try mean(fc(y, size: 2, name: "head"))
      return try settings.make(schedule: settings.learningRate).minimize(loss)
    }
    let program = builder.main
    return Dictionary(
      uniqueKeysWithValues: program.operators.compactMap { op in
        (op.kind as? any ParameterUpdate).map { (program[op.inputs[0]].name, $0) }
      }.filter { name, _ in updated.contains { $0.parameter.name == name } })
  }

  @Test func penaltyIsForWeights() throws {
    var settings = OptimizerSettings()
    settings.weightDecay = 0.3
    for name in [OptimizerSettings.Name.sgd, .momentum, .adam] {
      settings.name = name
      for decaysAll in [false, true] {
        settings.decaysNormAndBias = decaysAll
        let found = try updates(settings)
        #expect(found.count == 8)
        for (parameter, update) in found {
          let isWeight = parameter.contains(".w_0") && !parameter.hasPrefix("bn")
          #expect(
            update.treatment.l2 == (isWeight || decaysAll ? 0.3 : 0), "\(name): \(parameter)")
        }
      }
    }
  }

  @Test func decayApartIsForWeights() throws {
    var settings = OptimizerSettings()
    settings.weightDecay = 0.3
    settings.betas = .init(0.8, 0.95)
    settings.name = .adamw
    for (parameter, update) in try updates(settings) {
      let adam = try #require(update as? AdamUpdate)
      let isWeight = parameter.contains(".w_0") && !parameter.hasPrefix("bn")
      #expect(adam.decay == (isWeight ? 0.3 : 0) && adam.treatment.l2 == 0)
      #expect(adam.beta1 == 0.8 && adam.beta2 == 0.95 && adam.epsilon == 1e-8)
    }
    settings.name = .lamb
    for (parameter, update) in try updates(settings) {
      let lamb = try #require(update as? LambUpdate)
      let isWeight = parameter.contains(".w_0") && !parameter.hasPrefix("bn")
      #expect(lamb.decay == (isWeight ? 0.3 : 0) && lamb.isAdapted == isWeight)
      #expect(lamb.epsilon == 1e-6)
    }
  }

  @Test func layersLearnByDepth() throws {
    var settings = OptimizerSettings()
    settings.layerDecay = 0.5
    let found = try updates(settings).mapValues(\.multiplier)
    let wanted = [
      "stem.w_0": 0.25, "stem.b_0": 0.25, "bn.w_0": 0.25, "bn.b_0": 0.25, "second.w_0": 0.5,
      "second.b_0": 0.5, "head.w_0": 1, "head.b_0": 1,
    ]
    #expect(found == wanted)
    settings.layerDecay = 1
    #expect(try updates(settings).values.allSatisfy { $0.multiplier == 1 })
  }

  @Test func aParametersOwnPenaltyStays() throws {
    let builder = ProgramBuilder()
    var settings = OptimizerSettings()
    settings.weightDecay = 0.1
    try builder.build {
      let x = try data("x", shape: [-1, 3])
      let bias = ParamAttr(name: "b", regularizer: .l1(0.7))
      try settings.make(schedule: 0.1).minimize(mean(fc(x, size: 2, biasAttr: bias)))
    }
    let program = builder.main
    let update = program.operators.first {
      $0.inputs.first.map { program[$0].name } == "b" && $0.role == .optimize
    }
    #expect((update?.kind as? MomentumUpdate)?.treatment.regularizer == .l1(0.7))
  }

  @Test func clipping() throws {
    let cases: [(String, ClipSettings, String)] = [
      ("none", .none, "none"), ("value:0.5", .value(0.5), "value:0.5"),
      ("norm:2", .norm(2), "norm:2.0"), ("global: 5", .globalNorm(5), "global:5.0"),
      ("1", .globalNorm(1), "global:1.0"),
    ]
    for (text, wanted, description) in cases {
      let clip = try ClipSettings(parsing: text)
      #expect(clip == wanted && clip.description == description)
      #expect(try ClipSettings(parsing: description) == clip)
    }
    var settings = OptimizerSettings()
    settings.clip = .value(0.5)
    for update in try updates(settings).values {
      #expect(update.treatment.minimum == -0.5 && update.treatment.maximum == 0.5)
    }
    settings.clip = .globalNorm(1)
    #expect(try updates(settings).values.allSatisfy(\.treatment.isScaled))
    for text in ["norm", "none:1", "value:-1", "value:nan", "0", "-3", "norm:", "norm:1e99"] {
      let error = #expect(throws: ABNError.self) { try ClipSettings(parsing: text) }
      #expect(error?.category == .attribute, "\(text)")
    }
    let error = #expect(throws: ABNError.self) { try ClipSettings(parsing: "globl:1") }
    #expect(error?.description.contains("Did you mean \"global\"?") == true)
  }

  @Test func names() throws {
    let error = #expect(throws: ABNError.self) {
      try OptimizerSettings.Name.named("adamww", as: "--optimizer")
    }
    #expect(error?.description.contains("Did you mean \"adamw\"?") == true)
    #expect(try OptimizerSettings.Betas(parsing: "0.8, 0.99") == .init(0.8, 0.99))
    for text in ["0.8", "a,b", "0.1,0.2,0.3", ""] {
      #expect(throws: ABNError.self) { try OptimizerSettings.Betas(parsing: text) }
    }
  }

  @Test func survivesCoding() throws {
    var settings = OptimizerSettings()
    (settings.name, settings.clip, settings.epsilon) = (.lamb, .norm(3), 1e-5)
    let data = try JSONEncoder().encode(settings)
    #expect(try JSONDecoder().decode(OptimizerSettings.self, from: data) == settings)
  }

  @Test func numbersOutOfRange() throws {
    let changes: [(inout OptimizerSettings) -> Void] = [
      { $0.momentum = 1 }, { ($0.name, $0.betas) = (.adam, .init(1, 0.9)) },
      { ($0.name, $0.epsilon) = (.lamb, 0) }, { $0.weightDecay = -1 }, { $0.layerDecay = 0 },
      { $0.layerDecay = 1.1 }, { $0.clip = .norm(.nan) },
    ]
    for (index, change) in changes.enumerated() {
      var settings = OptimizerSettings()
      change(&settings)
      let error = #expect(throws: ABNError.self) { try settings.make(schedule: 0.1) }
      #expect(error?.category == .attribute, "\(index)")
    }
  }
}

@Suite struct ScheduleSettingsTests {
  @Test func courses() throws {
    func values(
      _ name: ScheduleSettings.Name, _ change: (inout ScheduleSettings) -> Void = { _ in }
    )
      throws -> [Double]
    {
      var settings = ScheduleSettings(name, totalSteps: 100)
      change(&settings)
      let schedule = try settings.make(peak: 2)
      return [0, 50, 100].map { (schedule.value(step: $0) * 1e6).rounded() / 1e6 }
    }
    #expect(try values(.constant) == [2, 2, 2])
    #expect(try values(.cosine) == [2, 1, 0])
    #expect(try values(.cosine) { $0.finalShare = 0.5 } == [2, 1.5, 1])
    #expect(try values(.linear) == [2, 1, 0])
    #expect(try values(.poly) { $0.power = 2 } == [2, 0.5, 0])
    #expect(try values(.step) == [2, 0.2, 0.02])
    #expect(try values(.step) { ($0.stepEvery, $0.stepFactor) = (25, 0.5) } == [2, 0.5, 0.125])
    #expect(try values(.exponential) == [2, 0.2, 0.02])
    let cycle = try ScheduleSettings(.oneCycle, totalSteps: 101).make(peak: 2)
    #expect(cycle == .oneCycle(peak: 2, steps: 101))
    #expect(cycle.value(step: 30) == 2)
  }

  @Test(arguments: ScheduleSettings.Name.allCases) func warmUps(_ name: ScheduleSettings.Name)
    throws
  {
    var settings = ScheduleSettings(name, totalSteps: 101)
    settings.warmupSteps = 10
    let schedule = try settings.make(peak: 2)
    let values = (0...101).map { schedule.value(step: $0) }
    #expect(values[0] > 0)
    #expect(values[10] == values.max())
    #expect(zip(values[0...10], values[1...10]).allSatisfy { $0 < $1 })
    #expect(zip(values[10...], values[11...]).allSatisfy { $0 >= $1 })
    if name != .oneCycle {
      // A straight line of equal steps.
      #expect(abs(values[1] - 2 * values[0]) < 1e-12)
      #expect(abs(values[0] * 11 - values[10]) < 1e-12)
    }
    settings.warmupSteps = 0
    #expect(try settings.make(peak: 2).value(step: 0) == 2)
  }

  @Test func refusals() throws {
    let changes: [(inout ScheduleSettings) -> Void] = [
      { $0.totalSteps = 0 }, { $0.warmupSteps = -1 }, { $0.warmupSteps = 101 },
      { ($0.name, $0.warmupSteps) = (.cosine, 100) }, { ($0.name, $0.finalShare) = (.cosine, 2) },
      { ($0.name, $0.stepEvery) = (.step, 0) },
    ]
    for (index, change) in changes.enumerated() {
      var settings = ScheduleSettings(totalSteps: 100)
      change(&settings)
      #expect(throws: ABNError.self, "\(index)") { try settings.make(peak: 1) }
    }
    let error = #expect(throws: ABNError.self) {
      try ScheduleSettings.Name.named("onecycle", as: "--schedule")
    }
    #expect(error?.description.contains("Did you mean \"one-cycle\"?") == true)
  }
}
