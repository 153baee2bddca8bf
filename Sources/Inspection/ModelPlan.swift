import ABNFormats
import ABNGraph
import ABNModelFiles
import ABNModels
import ABNOptimizers
import ABNPlanning
import ABNRuntime
import ABNTensors

/// The optimizers by the names of the command line.
public enum OptimizerName: String, Sendable, CaseIterable {
  case sgd, momentum, adam, adamw

  /// The optimizer with its usual numbers.
  public var optimizer: any Optimizer {
    switch self {
    case .sgd: SGD(learningRate: 0.01)
    case .momentum: Momentum(learningRate: 0.01, momentum: 0.9)
    case .adam: Adam()
    case .adamw: AdamW()
    }
  }

  /// The optimizer of this name.
  ///
  /// - Throws: `ABNError(.name)` that names the nearest.
  public static func named(_ name: String) throws -> OptimizerName {
    try named(name, as: "optimizer")
  }
}

/// A model's training step, compiled but never run.
package struct ModelPlan {
  /// The numbers.
  package let report: MemoryReport
  /// The drawing.
  package let timeline: PlanTimeline
  /// How long it took to build the network, to differentiate, to lower and to plan it.
  package let seconds: Double

  /// Builds, differentiates, compiles and plans; no tensor is made.
  ///
  /// - Parameters:
  ///   - image: [C, H, W].
  ///   - backend: lowers it.
  /// - Throws: `ABNError(.attribute)` for sizes below 1 or beyond reason, and whatever is wrong
  ///   with images of this size for the model.
  package init(
    of model: Model, options: ModelOptions, image: Shape, batchSize: Int,
    optimizer: OptimizerName = .momentum, backend: any Backend
  ) throws {
    let elements = Shape([batchSize] + image.dimensions).checkedElementCount ?? .max
    // Below 2^34 elements all later products of sizes stay far from overflow.
    guard batchSize >= 1, image.dimensions.allSatisfy({ $0 >= 1 }), elements <= 1 << 34 else {
      throw ABNError(
        .attribute, "plan", got: "batch size \(batchSize), images \(image)",
        wanted: "numbers of at least 1, and at most 2^34 input elements")
    }
    let clock = ContinuousClock()
    let start = clock.now
    let programs = try ClassifierPrograms(model, options: options, image: image, seed: 1) { loss in
      _ = try optimizer.optimizer.minimize(loss)
    }
    let executable = try Executor(backend: backend, mode: .compact, memoryLimit: .none)
      .compile(
        programs.training,
        feed: try programs.feedShapes(batchSize: batchSize),
        fetch: programs.stepResults)
    seconds = start.duration(to: clock.now) / .seconds(1)
    report = MemoryReport(executable, program: programs.training)
    timeline = PlanTimeline(executable)
  }

  /// Where the arena begins in a snapshot: an address that no viewer takes for null.
  private static let snapshotBase = 1 << 40

  /// Every block's allocation and release, in order: blocks that end at a step are freed before
  /// those of the next step are made.
  func events() -> [(action: String, time: Int, block: PlanTimeline.Rectangle)] {
    var events: [(action: String, time: Int, block: PlanTimeline.Rectangle)] = []
    for block in timeline.rectangles {
      events.append(("free_requested", block.last + 1, block))
      events.append(("free_completed", block.last + 1, block))
      events.append(("alloc", block.first, block))
    }
    return events.enumerated().sorted { a, b in
      func key(
        _ event: (offset: Int, element: (action: String, time: Int, block: PlanTimeline.Rectangle))
      )
        -> (Int, Int, Int)
      {
        (event.element.time, event.element.action == "alloc" ? 1 : 0, event.offset)
      }
      return key(a) < key(b)
    }.map(\.element)
  }

  /// A memory snapshot as PyTorch's memory viewer (memory_viz) reads it: one segment, the arena, in
  /// which every block is allocated and freed at its steps; a microsecond is a step.
  package func snapshot() -> [UInt8] {
    let base = Self.snapshotBase
    func frames(_ label: String) -> PickleItem {
      .list(
        label.split(separator: "\n").prefix(8).map {
          .dictionary([
            ("name", .text(String($0))), ("filename", .text("plan")), ("line", .integer(0)),
          ])
        })
    }
    let events = events().map { event -> PickleItem in
      .dictionary([
        ("action", .text(event.action)), ("addr", .integer(base + event.block.offset)),
        ("size", .integer(event.block.bytes)), ("stream", .integer(0)),
        ("time_us", .integer(event.time + 1)), ("frames", frames(event.block.label)),
      ])
    }
    let size = max(timeline.arenaBytes, 1)
    let arena = PickleItem.dictionary([
      ("device", .integer(0)), ("address", .integer(base)), ("total_size", .integer(size)),
      ("allocated_size", .integer(0)), ("active_size", .integer(0)),
      ("requested_size", .integer(0)),
      ("stream", .integer(0)), ("segment_type", .text("large")),
      ("segment_pool_id", .tuple([.integer(0), .integer(0)])), ("is_expandable", .bool(false)),
      ("frames", .list([])),
      (
        "blocks",
        .list([
          .dictionary([
            ("address", .integer(base)), ("size", .integer(size)), ("requested_size", .integer(0)),
            ("state", .text("inactive")), ("frames", .list([])),
          ])
        ])
      ),
    ])
    return PickleWriter.bytes(
      .dictionary([
        ("segments", .list([arena])), ("device_traces", .list([.list(events)])),
        ("allocator_settings", .dictionary([])),
      ]))
  }
}
