import ABNCPUBackend
import ABNCUDABackend
import ABNData
import ABNGraph
import ABNInspection
import ABNModelFiles
import ABNModels
import ABNRuntime
import ABNTensors
import ABNTraining

// The rooms take any backend; whoever names none runs on the processor. Nothing above this file
// decides that.

extension Executor {
  /// An executor for the processor: see `Executor.init(backend:mode:keepsConstants:memoryLimit:)`.
  public convenience init(
    mode: PlanningMode? = nil, keepsConstants: Bool = true, memoryLimit: MemoryLimit = .machine
  ) {
    self.init(
      backend: CPUBackend(), mode: mode, keepsConstants: keepsConstants, memoryLimit: memoryLimit)
  }
}

extension CUDABackend {
  /// A backend for a card: the driver's number `device`. The values of startup programs are
  /// computed on the processor.
  ///
  /// - Throws: `ABNError(.system)` for a missing driver, library or card, with what brings it.
  public init(device: Int = 0, precision: CUDAPrecision = .float32) throws {
    try self.init(device: device, precision: precision, host: CPUBackend())
  }
}

extension Trainer {
  /// A trainer on the processor: see `Trainer.init(_:backend:report:isInterrupted:)`.
  public convenience init(
    _ settings: TrainingSettings, report: @escaping (TrainingProgress) -> Void = { _ in },
    isInterrupted: @escaping () -> Bool = { Interruption.isRequested }
  ) {
    self.init(
      settings, backend: CPUBackend(), report: report, isInterrupted: isInterrupted)
  }
}

/// Evaluates a saved model on the processor: see `evaluateModel(in:data:batchSize:backend:)`.
public func evaluateModel(
  in folder: String, data: DataSource? = nil, batchSize: Int = 128
) throws -> Evaluation {
  try evaluateModel(in: folder, data: data, batchSize: batchSize, backend: CPUBackend())
}

extension ModelFile {
  /// A model with first values drawn on the processor: see
  /// `ModelFile.init(firstValuesOf:options:image:seed:normalization:data:backend:)`.
  public init(
    firstValuesOf model: Model, options: ModelOptions, image: Shape, seed: UInt64,
    normalization: ChannelNormalization? = nil, data: String? = nil
  ) throws {
    try self.init(
      firstValuesOf: model, options: options, image: image, seed: seed,
      normalization: normalization, data: data, backend: CPUBackend())
  }

  /// The network's logits, made on the processor: see `logits(of:statistics:folder:backend:)`.
  package func logits(
    of images: Tensor, statistics: NormalizationStatistics = .moving, folder: String
  ) throws -> Tensor {
    try logits(of: images, statistics: statistics, folder: folder, backend: CPUBackend())
  }
}

extension ModelPlan {
  /// A plan for the processor: see `ModelPlan.init(of:options:image:batchSize:optimizer:backend:)`.
  public init(
    of model: Model, options: ModelOptions, image: Shape, batchSize: Int,
    optimizer: OptimizerName = .momentum
  ) throws {
    try self.init(
      of: model, options: options, image: image, batchSize: batchSize, optimizer: optimizer,
      backend: CPUBackend())
  }
}
