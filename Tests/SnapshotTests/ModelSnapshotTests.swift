import InPlaceABN
import Testing

/// What every model becomes: its program after the passes, what they decided, what is planned. A change of the layers,
/// the passes or the planner that is not meant to change a model changes none of these texts.
@Suite struct ModelSnapshotTests {
  /// Printed whole where they are in place; of the others, which are built of the same blocks, a digest.
  private static let printed = ["lenet", "resnet20", "mobilenetv2", "unet"]

  @Test(arguments: Model.all.map(\.name)) func unchanged(_ name: String) throws {
    let model = try Model.named(name)
    var text = ""
    for norm in NormStyle.allCases {
      for isTraining in [true, false] {
        text += try section(model, norm, isTraining: isTraining)
      }
    }
    try Snapshot(name: name, text: text).check()
  }

  /// A small image that the model takes.
  private func image(_ model: Model) -> Shape {
    let size = min(model.image[1], max(model.sizes.least, 32))
    return [model.image[0], size, size]
  }

  private func section(_ model: Model, _ norm: NormStyle, isTraining: Bool) throws -> String {
    let image = image(model)
    let builder = ProgramBuilder(seed: 1)
    let fetched = try builder.build {
      let images = try data("images", shape: Shape([Shape.unknown] + image.dimensions))
      let logits = try model.build(images, ModelOptions(classes: 5, norm: norm))
      guard isTraining else { return logits }
      let map = logits.shape.dimensions.dropFirst(2)
      let labels = try data("labels", shape: Shape([Shape.unknown, 1] + map), dtype: .int64)
      let loss = try mean(softmaxWithCrossEntropy(logits, labels, axis: 1))
      _ = try Momentum(learningRate: 0.1, momentum: 0.9).minimize(loss)
      return loss
    }
    var feed: [String: Shape] = ["images": Shape([2] + image.dimensions)]
    if isTraining {
      let labels = try builder.main.requireVariable(named: "labels")
      feed["labels"] = Shape([2] + labels.shape.dimensions.dropFirst())
    }
    let executable = try Executor(
      backend: PaperBackend(), mode: .compact, keepsConstants: false, memoryLimit: .none
    ).compile(
      isTraining ? builder.main : builder.main.cloned(forTest: true), feed: feed, fetch: [fetched])
    return describe(
      executable, isWhole: norm == .inplace && Self.printed.contains(model.name),
      title: "\(model.name), \(norm), \(isTraining ? "training" : "inference"), \(feed["images"]!)")
  }

  private func describe(_ executable: Executable, isWhole: Bool, title: String) -> String {
    let program = executable.program.map(printed) ?? ""
    let plan = executable.plan
    let decisions = executable.decisions.map {
      "  \($0.action.rawValue) \($0.variable), \($0.bytes) bytes, by \($0.layer)"
    }
    let granted = plan.decisions.count { $0.refusal == nil }
    let kinds = Dictionary(grouping: executable.program?.operators ?? [], by: \.kindName)
      .mapValues(\.count).sorted { $0.key < $1.key }
    var lines = [
      "== \(title)",
      "arena \(plan.arenaBytes) bytes, lower bound \(plan.lowerBoundBytes), \(plan.strategy); "
        + "peak at step \(plan.peakStep) of \(executable.lowered.steps.count), "
        + "\(plan.peakBuffers.count) buffers alive",
      "sharing: \(granted) granted, \(plan.decisions.count - granted) refused",
      "program \(digest(program)), decisions \(digest(decisions.joined(separator: "\n")))",
      "operations: " + kinds.map { "\($0.value) \($0.key)" }.joined(separator: ", "),
    ]
    let actions = Dictionary(grouping: executable.decisions, by: \.action.rawValue)
    for (action, list) in actions.sorted(by: { $0.key < $1.key }) {
      lines.append("decisions: \(list.count) \(action), \(list.reduce(0) { $0 + $1.bytes }) bytes")
    }
    if isWhole { lines += decisions + [program] }
    return lines.joined(separator: "\n") + "\n\n"
  }

  /// The program without the lines of the layers, which move with every edit of a model.
  private func printed(_ program: Program) -> String {
    "\(program)".split(separator: "\n").map { line in
      line.range(of: "  // ").map { line[..<$0.lowerBound] } ?? line
    }.joined(separator: "\n")
  }
}
