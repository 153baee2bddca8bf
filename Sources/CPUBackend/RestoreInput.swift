import ABNKernels
import ABNOperators
import ABNRuntime

extension RestoreInput: CPULowerable {
  var walk: ImageWalk { .channels(forward.norm.layout) }
  static var takes16Bits: Bool { true }

  func lower(_ c: inout LoweringContext) throws {
    let layout = c.layout(ofInput: 0)
    let kernel = try forward.norm.kernel(c.inputType(0), layout, forward.activation)
    let rescue = try c.sideBuffer(ofInput: 3, as: RescueBuffer.self)
    let hasSlopes = forward.activation == .prelu
    var arguments = [
      try c.read(0, in: layout), c.write(0, in: layout), try c.read(1), try c.read(2),
      try c.read(3), c.scratch(bytes: max(64, kernel.scratchBytes)),
    ]
    if hasSlopes { arguments.append(try c.read(4)) }
    c.step(arguments, resources: [.read(rescue)]) { p in
      let parameters = ABNParameters(
        scale: p[2], bias: p[3], slopes: hasSlopes ? UnsafeRawPointer(p[6]) : nil,
        slopeCount: hasSlopes ? 1 : 0)
      try checkedKernel {
        try kernel.restore(
          source: p[0], destination: p[1],
          state: ABNLayerState(kernel, parameters, saved: p[4], rescue),
          workspace: ABNWorkspace(scratch: p[5], team: Parallel.team))
      }
    }
  }
}
