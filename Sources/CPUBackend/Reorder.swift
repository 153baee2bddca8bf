import ABNDNNL
import ABNGraph
import ABNPlanning
import ABNRuntime
import ABNTensors

/// Runs a primitive with a step's pointers; `slots[i]` is the step argument of slot i, nil for a
/// slot that is not used.
///
/// - Returns: the work of a step; it throws where oneDNN fails after a successful set-up, as in an
///   exhausted system.
func dnnlRun(
  _ primitive: DNNLPrimitive, slots: [Int?]
) -> @Sendable (StepPointers) throws -> Void {
  precondition(slots.count == primitive.arguments.count)
  return { p in
    try withUnsafeTemporaryAllocation(of: UnsafeMutableRawPointer?.self, capacity: slots.count) {
      pointers in
      for (slot, argument) in slots.enumerated() {
        pointers.initializeElement(at: slot, to: argument.map { p[$0] })
      }
      try primitive.execute(UnsafePointer(pointers.baseAddress!))
    }
  }
}

extension LoweringContext {
  /// Appends a step that converts a tensor of this type from one layout to another.
  mutating func appendReorder(
    _ type: TensorType, from source: (buffer: BufferID, layout: PhysicalLayout),
    to target: (buffer: BufferID, layout: PhysicalLayout)
  ) throws {
    let run: @Sendable (StepPointers) throws -> Void
    if type.dtype != .float32 {
      // oneDNN 2.6 has no reorder of float16, float64, int64 and bool for the processor.
      let nest = BlockedNest(type.shape)
      let copy = StridedCopy(
        nest.shape, from: nest.strides(source.layout), to: nest.strides(target.layout),
        elementBytes: type.dtype.bytes)
      run = { p in copy.run(from: p[0], to: p[1]) }
    } else {
      let dims = type.shape.dimensions
      let primitive = try DNNLPrimitive.reorder(
        from: DNNLDescriptor(dims, type.dtype, source.layout.dnnlFormat),
        to: DNNLDescriptor(dims, type.dtype, target.layout.dnnlFormat))
      precondition(primitive.scratchpadBytes == 0, "a reorder between plain and blocked layouts")
      run = dnnlRun(primitive, slots: [0, 1, nil])
    }
    append(
      Step(
        name: "reorder \(source.layout) to \(target.layout)", layer: op.layer,
        source: op.source, arguments: [.read(source.buffer), .write(target.buffer)],
        sharing: [], purpose: .conversion, op: position, run: run))
  }
}

/// A shape [N, C, ...] whose channels are blocked, as [N, C / unit, unit / 8, 8, spatial]: a nest
/// that every layout walks with strides of its own.
private struct BlockedNest {
  private let channels, spatial, unit: Int
  let shape: Shape

  init(_ shape: Shape) {
    channels = shape[1]
    spatial = shape.dimensions.dropFirst(2).reduce(1, *)
    unit = channels % 16 == 0 ? 16 : 8
    self.shape = [shape[0], channels / unit, unit / 8, 8, spatial]
  }

  func strides(_ layout: PhysicalLayout) -> [Int] {
    let outer = [channels * spatial, unit * spatial]
    return switch layout {
    case .plain: outer + [8 * spatial, spatial, 1]
    case .blocked(let block): outer + [block == 8 ? 8 * spatial : 8, 1, block]
    }
  }
}
