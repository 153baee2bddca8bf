/// Which buffer of a request: an index into its table.
public struct BufferID: Hashable, Sendable, Comparable {
  /// The position in `PlanRequest.buffers`.
  public let index: Int
  /// The buffer at this position.
  package init(_ index: Int) { self.index = index }
  public static func < (a: BufferID, b: BufferID) -> Bool { a.index < b.index }
}

/// What the bytes are for: the lines of the memory report.
package enum BufferUse: String, Sendable, Hashable, CaseIterable {
  /// Lives outside the arena, from run to run.
  case persistent
  /// Made once from what is persistent, outside the arena too, and kept from run to run.
  case constant
  /// Filled by the caller before the first step.
  case feed
  /// Made by the forward pass.
  case activation
  /// Made by the backward pass.
  case gradient
  /// Used inside one step.
  case scratch

  /// Whether its bytes are part of the arena.
  package var isInArena: Bool { self != .persistent && self != .constant }
}

/// Bytes that steps read and write.
public struct PlanBuffer: Sendable {
  /// For reports.
  public var name: String
  /// Its size.
  public var bytes: Int
  /// What it is for.
  package var use: BufferUse
  /// Whether the caller reads it after the last step.
  package var isFetched: Bool
  /// The layer and source line that asked for it, for reports.
  package var origin: String

  /// A buffer of `bytes` bytes.
  package init(
    name: String, bytes: Int, use: BufferUse, isFetched: Bool = false, origin: String = ""
  ) {
    self.origin = origin
    self.name = name
    self.bytes = bytes
    self.use = use
    self.isFetched = isFetched
  }
}

/// An in-place hint of a step: `output` in the bytes of `input`.
public struct BufferSharing: Sendable, Hashable {
  /// What sharing means for the input's value.
  package enum Kind: Sendable, Hashable {
    /// The input's value is gone.
    case overwrite
    /// Both have the same bytes from then on.
    case view
  }
  /// The buffer that the step writes.
  public let output: BufferID
  /// The buffer that the step reads.
  public let input: BufferID
  /// Overwrite or view.
  package let kind: Kind

  /// `output` in the bytes of `input`.
  package init(output: BufferID, input: BufferID, _ kind: Kind) {
    self.output = output
    self.input = input
    self.kind = kind
  }
}

/// A step as the planner sees it.
package struct PlanStep: Sendable {
  /// For reports.
  package var name: String
  /// The buffers it reads.
  package var reads: [BufferID]
  /// The buffers it writes, scratch included.
  package var writes: [BufferID]
  /// Outputs that it could store over inputs, best first.
  package var sharing: [BufferSharing]

  /// A step that touches these buffers.
  package init(
    name: String, reads: [BufferID], writes: [BufferID], sharing: [BufferSharing] = []
  ) {
    self.name = name
    self.reads = reads
    self.writes = writes
    self.sharing = sharing
  }
}

/// Everything the planner knows: steps in order, and the bytes they touch. No tensors, no kernels.
package struct PlanRequest: Sendable {
  /// All buffers.
  package var buffers: [PlanBuffer]
  /// The steps in the order in which they run.
  package var steps: [PlanStep]

  /// A request.
  package init(buffers: [PlanBuffer], steps: [PlanStep]) {
    self.buffers = buffers
    self.steps = steps
  }

  /// Why nothing can be planned: a buffer that the table has not, or one of fewer than 0 bytes; nil
  /// where all is well.
  package var fault: String? {
    if let buffer = buffers.first(where: { $0.bytes < 0 }) {
      return "buffer \"\(buffer.name)\" of \(buffer.bytes) bytes"
    }
    for step in steps {
      let ids = step.reads + step.writes + step.sharing.flatMap { [$0.output, $0.input] }
      if let id = ids.first(where: { !buffers.indices.contains($0.index) }) {
        return "step \"\(step.name)\" with buffer number \(id.index) of \(buffers.count)"
      }
    }
    return nil
  }

  /// The steps during which each buffer holds a value: -1 before the first (feeds), `steps.count`
  /// after the last (fetches). Nil for a buffer that nothing touches.
  func lifetimes() -> [ClosedRange<Int>?] {
    var lives = [ClosedRange<Int>?](repeating: nil, count: buffers.count)
    func touch(_ id: BufferID, _ time: Int) {
      let life = lives[id.index] ?? time...time
      lives[id.index] = min(life.lowerBound, time)...max(life.upperBound, time)
    }
    for (time, step) in steps.enumerated() {
      for id in step.reads { touch(id, time) }
      for id in step.writes { touch(id, time) }
    }
    for (index, buffer) in buffers.enumerated() {
      if buffer.use == .feed && lives[index] != nil { touch(BufferID(index), -1) }
      if buffer.isFetched { touch(BufferID(index), steps.count) }
    }
    return lives
  }
}
