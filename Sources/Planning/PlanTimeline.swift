/// A plan as a picture: steps from left to right, addresses from bottom to top, one rectangle for
/// each block of bytes.
package struct PlanTimeline: Sendable {
  /// One block during its life.
  package struct Rectangle: Sendable {
    /// The names of the buffers that stand there, and what asked for them.
    package let label: String
    /// What the first of them is for.
    package let use: BufferUse
    package let offset: Int
    package let bytes: Int
    /// The first and last step; -1 is before the first.
    package let first: Int
    package let last: Int
  }

  package let rectangles: [Rectangle]
  /// The names of the steps.
  package let steps: [String]
  package let arenaBytes: Int
  /// The step at which most bytes are alive.
  package let peakStep: Int
  /// The first step of the backward pass; nil where it is not known, or there is none.
  package var backwardStep: Int?

  /// The picture of a request and its plan. Blocks of buffers that the request has not are left
  /// out.
  package init(_ request: PlanRequest, _ plan: MemoryPlan) {
    rectangles = plan.blocks.compactMap { block in
      let buffers = block.buffers.filter { request.buffers.indices.contains($0.index) }
        .map { request.buffers[$0.index] }
      guard !buffers.isEmpty else { return nil }
      return Rectangle(
        label: buffers.map { $0.origin.isEmpty ? $0.name : "\($0.name): \($0.origin)" }
          .joined(separator: "\n"),
        use: buffers[0].use, offset: block.offset, bytes: block.bytes,
        first: block.life.lowerBound, last: block.life.upperBound)
    }
    steps = request.steps.map(\.name)
    arenaBytes = plan.arenaBytes
    peakStep = plan.peakStep
  }
}
