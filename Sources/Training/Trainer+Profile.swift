import ABNData
import ABNFormats
import ABNInspection
import ABNModelFiles
import ABNModels
import ABNRuntime
import ABNTensors

extension Trainer {
  /// A step that takes longer than so many seconds is not run once more to be looked at.
  private static let longestStep = 20.0
  /// Steps are repeated for so long, for the fastest.
  private static let profileSeconds = 2.0
  /// Of a plan's picture: what a page of few megabytes has room for.
  private static let mostBlocks = 4000
  private static let mostLetters = 240

  /// Writes where memory and time of a step go into `profile.json`, after all else is saved: the
  /// steps that are timed change the weights in the scope. That it cannot be written ends no run.
  func writeProfile(_ loop: TrainingLoop<some TrainingTask>) {
    do {
      let profile = JSON.object(
        [("batchSize", .integer(settings.batchSize)), ("plans", .array(plans(loop)))]
          + stepCost(loop))
      try AtomicFile.write(
        profile.line + "\n", to: "\(loop.files.folder)/\(RunFiles.profileName)")
    } catch {
      note("where memory and time go is not shown: \(error)")
    }
  }

  /// The plans of a step with this run's normalization, and with the other one.
  private func plans(_ loop: TrainingLoop<some TrainingTask>) -> [JSON] {
    var plans: [JSON] = []
    do {
      plans.append(try plan(loop.programs, settings.norm, isOwn: true))
    } catch {
      note("the plan of a step is not shown: \(error)")
    }
    let other: NormStyle = settings.norm == .inplace ? .standard : .inplace
    if let task = loop.task.withNorm(other) {
      do {
        let made = try programs(task, rates: loop.runPrograms.rates)
        plans.append(try plan(made.all, other, isOwn: false))
      } catch {
        note("the plan with the \(other.rawValue) layer is not shown: \(error)")
      }
    }
    return plans
  }

  private func plan(
    _ programs: ClassifierPrograms, _ norm: NormStyle, isOwn: Bool
  ) throws -> JSON {
    let executable = try Executor(
      backend: backend, mode: .compact, keepsConstants: false, memoryLimit: .none
    ).compile(
      programs.training, feed: programs.feedShapes(batchSize: settings.batchSize, training: true),
      fetch: programs.stepResults)
    let report = try JSON(encoding: MemoryReport(executable, program: programs.training))
    let names = [
      "peakBytes", "arenaBytes", "parameterBytes", "optimizerBytes", "activationBytes",
      "gradientBytes", "scratchBytes", "feedBytes", "peakStep", "stepCount", "peakTensors",
    ]
    let timeline = PlanDrawing.json(
      of: executable, mostBlocks: Self.mostBlocks, mostLetters: Self.mostLetters)
    return .object(
      [("norm", .string(norm.rawValue)), ("isOwn", .bool(isOwn))]
        + names.compactMap { name in report[name].map { (name, $0) } }
        + [("timeline", timeline)])
  }

  /// The fastest of some steps on the first batch, as members of the profile: `step`, or
  /// `stepMissing` with the reason.
  private func stepCost(
    _ loop: TrainingLoop<some TrainingTask>
  ) -> [(name: String, value: JSON)] {
    let usual = Double(settings.batchSize) / max(loop.progress.imagesPerSecond, 1e-9)
    guard usual <= Self.longestStep else {
      return [
        ("stepMissing", .string("A step takes so long that none was timed part by part."))
      ]
    }
    do {
      let programs = loop.programs
      let feed = loop.task.feed(loop.data.loader.batch(0, ofEpoch: 0))
      let executable = try loop.executor.compile(
        programs.training, feed: feed.mapValues(\.shape),
        fetch: programs.stepResults)
      var best: StepCost?
      let start = ContinuousClock.now
      for _ in 0..<5 where best == nil || start.duration(to: .now) < .seconds(Self.profileSeconds) {
        let profile = try loop.executor.profile(
          programs.training, feed: feed, fetch: programs.stepResults,
          scope: loop.scope
        ).profile
        let cost = StepCost(executable, profile)
        if best.map({ cost.seconds < $0.seconds }) ?? true { best = cost }
        Interruption.noteStep()
      }
      return [("step", try JSON(encoding: best))]
    } catch {
      return [("stepMissing", .string("No step was timed: \(error)"))]
    }
  }
}
