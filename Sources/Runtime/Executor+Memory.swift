import ABNGraph
import ABNTensors

/// The sum of two sizes, Int.max where it is larger.
func saturatingSum(_ a: Int, _ b: Int) -> Int {
  let (sum, overflow) = a.addingReportingOverflow(b)
  return overflow ? .max : sum
}

extension Program {
  /// Bytes that a run needs whatever its plan is: all that lives on in the scope, and the largest
  /// other value. The shapes must be known.
  var leastBytes: Int {
    var largest = 0
    var persistent = Set<VariableID>()
    for op in operators {
      let typeOnly = op.kind.readsTypeOnly
      let read = op.inputs.enumerated().filter { !typeOnly.contains($0.offset) }
      for id in read.map(\.element) + op.outputs {
        if self[id].isPersistable {
          persistent.insert(id)
        } else {
          largest = max(largest, self[id].type.bytes)
        }
      }
    }
    return persistent.reduce(largest) { saturatingSum($0, self[$1].type.bytes) }
  }
}

extension Executor {
  /// The error for a program that needs more memory than there is: with a batch that fits, if the
  /// batch is what can be chosen.
  func tooLarge(
    _ program: Program, feed: [String: Shape], fetches: [VariableID], needed: Int, limit: Int
  ) -> ABNError {
    let batch = Self.batchSize(of: feed, in: program)
    let fitting = batch.flatMap { batch in
      largestBatch(below: batch, needing: needed, limit: limit) { size in
        let smaller = feed.mapValues { shape in
          Shape([size] + shape.dimensions.dropFirst())
        }
        return try? neededBytes(program, feed: smaller, fetches: fetches, limit: limit)
      }
    }
    return ABNError(
      .system, "memory of the program", got: "\(describeBytes(needed)) (\(needed) bytes)",
      wanted: "at most the \(describeBytes(limit)) that there are",
      fix: fitting.map { "A batch of \($0) fits." }
        ?? (batch == nil
          ? "Choose smaller sizes." : "No batch fits: choose a smaller network or smaller inputs."))
  }

  /// The size that all feeds have in front where the program leaves it open; nil where there is
  /// none, or nothing below it.
  private static func batchSize(of feed: [String: Shape], in program: Program) -> Int? {
    guard let first = feed.values.first, first.rank > 0, first[0] > 1,
      feed.allSatisfy({ name, shape in
        shape.rank > 0 && shape[0] == first[0]
          && program.variable(named: name)?.shape.dimensions.first == Shape.unknown
      })
    else { return nil }
    return first[0]
  }

  /// A batch that fits, near the largest that does; nil where none does.
  ///
  /// What a batch needs grows about linearly: a straight line through what is known says where to
  /// look next, twelve times at most.
  private func largestBatch(
    below batch: Int, needing needed: Int, limit: Int, _ planned: (Int) -> Int?
  ) -> Int? {
    var fits = (size: 0, bytes: 0)
    var exceeds = (size: batch, bytes: needed)
    for _ in 0..<12 where exceeds.size - fits.size > max(1, fits.size / 64) {
      let share = Double(limit - fits.bytes) / Double(max(1, exceeds.bytes - fits.bytes))
      let guess = fits.size + Int(Double(exceeds.size - fits.size) * share)
      let size = min(max(guess, fits.size + 1), exceeds.size - 1)
      guard let bytes = planned(size) else { break }
      if bytes <= limit { fits = (size, bytes) } else { exceeds = (size, bytes) }
    }
    return fits.size > 0 ? fits.size : nil
  }
}
