import ABNData
import ABNInspection
import ABNModelFiles
import ABNRuntime
import ABNTensors

extension Trainer {
  /// What a step, an evaluation and the batches that wait need.
  ///
  /// - Throws: `ABNError(.system)` where that is more than there is, or than the budget.
  func plannedMemory(
    _ task: some TrainingTask, _ made: RunPrograms, _ data: TrainingData, _ executor: Executor
  ) throws -> TrainingMemory {
    let programs = made.all
    func memory(_ executor: Executor, _ batchSize: Int) throws -> TrainingMemory {
      try TrainingMemory(
        programs, executor, loader: data.loader, batchSize: batchSize, average: made.average
      ) {
        try task.compileEvaluation(
          programs, data.test, batchSize: $1, workers: settings.workers, executor: $0)
      }
    }
    func compact(_ batchSize: Int) throws -> Int {
      try memory(
        Executor(backend: backend, mode: .compact, keepsConstants: false, memoryLimit: .none),
        batchSize
      ).peakBytes
    }
    let planned = try memory(executor, settings.batchSize)
    try ProcessMemory.require(plannedPeakBytes: planned.peakBytes, in: backend.memory) {
      try programs.largestBatchSize(fitting: $0, below: settings.batchSize, planned: compact)
    }
    if let budget = settings.memoryBudget, planned.peakBytes > budget {
      let fitting = try programs.largestBatchSize(
        fitting: budget, below: settings.batchSize, planned: compact)
      throw ABNError(
        .system, "memory budget", got: "a planned peak of \(describeBytes(planned.peakBytes))",
        wanted: "at most \(describeBytes(budget))",
        fix: fitting.map { "The largest batch that fits is \($0); --batch-size auto takes it." }
          ?? "Choose a smaller model or smaller images.")
    }
    return planned
  }

  /// The largest batch of at most `settings.batchSize` images that the budget allows.
  func batchSize(_ task: some TrainingTask, _ dataset: Dataset) throws -> Int {
    let budget =
      try settings.memoryBudget ?? backend.memory.bytesFree ?? ProcessMemory.machineBytes.map {
        $0 - (ProcessMemory.residentBytes ?? 0)
      }
      ?? {
        throw ABNError(
          .system, "--batch-size auto", got: "a system that does not tell its memory",
          wanted: "a memory budget", fix: "Say how much: --memory-budget 4GiB.")
      }()
    let made = try programs(task, rates: settings.rates(stepsPerEpoch: 1))
    let most = min(settings.batchSize, dataset.train.count)
    let data = try data(of: dataset, batchSize: most)
    return try AutomaticBatchSize.largest(
      budget: budget, images: most
    ) { size in
      let executor = Executor(
        backend: backend, mode: .compact, keepsConstants: false, memoryLimit: .none)
      return try TrainingMemory(
        made.all, executor, loader: data.loader, batchSize: size, average: made.average
      ) {
        try task.compileEvaluation(
          made.all, dataset.test, batchSize: $1, workers: settings.workers, executor: $0)
      }
      .peakBytes
    }
  }

  /// Looks for a learning rate, from the weights that a run would begin with: see
  /// `LearningRateFinder`. Nothing is saved.
  package func findLearningRate(_ finder: LearningRateFinder) throws -> LearningRateFinder {
    try settings.validate()
    let (dataset, task) = try prepared()
    let data = try data(of: dataset)
    let programs = try programs(task, rates: finder.schedule)
    let executor = Executor(backend: backend, keepsConstants: false, memoryLimit: .none)
    _ = try plannedMemory(task, programs, data, executor)
    let scope = Scope()
    try executor.run(programs.all.startup, scope: scope)
    _ = try firstState(programs.all, scope)
    var finder = finder
    var (epoch, step) = (0, 0)
    while finder.wantsMore, !Interruption.isRequested {
      for batch in data.loader.epoch(epoch) where finder.wantsMore {
        step += 1
        let isLast = step.isMultiple(of: settings.accumulate)
        let loss = try executor.run(
          isLast ? programs.all.training : programs.accumulating ?? programs.all.training,
          feed: task.feed(batch), fetch: [programs.all.loss], scope: scope)[0].doubles[0]
        if isLast { finder.add(loss: loss) }
        Interruption.noteStep()
      }
      epoch += 1
    }
    return finder
  }
}
