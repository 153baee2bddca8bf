import ABNDNNL
import ABNGraph
import ABNKernels
import ABNOperators
import ABNRuntime
import ABNTensors

/// The x that an in-place layer keeps beside z: bytes that are asked for where a channel, or an
/// element, cannot be computed back, and kept from then on.
final class RescueBuffer: SideBuffer {
  let rescue: ABNRescue
  let mostBytes: Int
  let purpose = "x of channels whose scale, or whose deviation, is zero or tiny against their bias"

  init(_ kernel: ABNKernel) {
    rescue = ABNRescue(kernel)
    mostBytes = rescue.mostBytes
  }

  var bytes: Int { rescue.bytes }
}

extension NormalizationAttributes {
  /// The kernel for a variable that stands in a physical layout.
  func kernel(
    _ type: TensorType, _ physical: PhysicalLayout, _ activation: ABNActivation
  ) throws -> ABNKernel {
    let element: ABNElement =
      switch type.dtype {
      case .float16: .float16
      case .bfloat16: .bfloat16
      case .float32: .float32
      default: .float64
      }
    let shape = type.shape
    let axis = layout.channelAxis(rank: shape.rank)
    let place: ABNLayout =
      switch physical {
      case .plain: layout == .nchw ? .channelSecond : .channelLast
      case .blocked(let block): .blocked(block)
      }
    do {
      return try ABNKernel(
        geometry: ABNGeometry(
          outer: shape[0], channels: shape[axis],
          spatial: shape.elementCount / max(1, shape[0] * shape[axis]), layout: place),
        element: element, activation: activation, epsilon: epsilon)
    } catch {
      throw ABNError(
        .attribute, error.what, got: error.got, wanted: error.wanted, fix: error.fix)
    }
  }
}

/// Runs a kernel call whose buffers were checked when the program was compiled.
///
/// - Throws: the kernel's refusal all the same, as the error of the run.
func checkedKernel<R>(_ body: () throws -> R) throws -> R {
  do {
    return try body()
  } catch let error as KernelError {
    throw ABNError(.attribute, error.what, got: error.got, wanted: error.wanted, fix: error.fix)
  }
}

extension ABNLayerState {
  /// That of a layer whose `saved` variable, three rows of statistics, is at `base`.
  init(
    _ kernel: ABNKernel, _ parameters: ABNParameters, saved base: UnsafeMutableRawPointer,
    _ rescue: RescueBuffer? = nil
  ) {
    let row = kernel.geometry.channels * kernel.element.statisticsBytes
    self.init(
      parameters: parameters,
      saved: ABNSavedStatistics(
        mean: base, meanRemainder: base + row, inverseDeviation: base + 2 * row),
      rescue: rescue?.rescue)
  }
}

/// A forward pass, in place or apart, for both layers.
private struct NormalizationForward {
  let norm: NormalizationAttributes
  let activation: ABNActivation
  let hasSlopes: Bool
  /// Whether the gradient will read the output, so that channels may need rescue.
  let readsOutput: Bool
  /// An activation whose result is wanted beside y, as the last output.
  var outer: ABNActivation?

  func lower(_ c: inout LoweringContext) throws {
    let type = c.inputType(0)
    let layout = c.layout(ofInput: 0)
    let kernel = try norm.kernel(type, layout, activation)
    let (norm, outer) = (norm, outer)
    // Arguments: x, z, saved, scale, bias, mean, variance, scratch [, slopes] [, momentum] [,
    // act(z)].
    var arguments = [try c.read(0, in: layout), c.write(0, in: layout)]
    let channels = kernel.geometry.channels
    arguments.append(
      norm.isTest
        ? c.scratch(bytes: 3 * channels * kernel.element.statisticsBytes) : c.write(1))
    arguments += [try c.read(1), try c.read(2)]
    if norm.usesBatchStatistics {
      // Read first, so that the scope is asked for their values.
      _ = (try c.read(3), try c.read(4))
      arguments += [c.write(2), c.write(3)]
    } else {
      arguments += [try c.read(3), try c.read(4)]
    }
    arguments.append(c.scratch(bytes: max(64, kernel.scratchBytes)))
    let slopesAt = hasSlopes ? arguments.count : nil
    if hasSlopes { arguments.append(try c.read(5)) }
    let momentumAt = norm.hasMomentumInput && norm.usesBatchStatistics ? arguments.count : nil
    if momentumAt != nil { arguments.append(try c.read(c.inputCount - 1)) }
    let rescue =
      readsOutput && !norm.isTest ? RescueBuffer(kernel) : nil
    if let rescue { c.noteSideBuffer(rescue, for: c.op.outputs[1]) }
    let activatedAt = outer == nil ? nil : arguments.count
    if outer != nil { arguments.append(c.write(c.op.outputs.count - 1, in: layout)) }
    c.step(arguments, resources: rescue.map { [.write($0)] } ?? []) { p in
      let behind = activatedAt.flatMap { at in outer.map { ABNActivated($0, to: p[at]) } }
      let parameters = ABNParameters(
        scale: p[3], bias: p[4], slopes: slopesAt.map { UnsafeRawPointer(p[$0]) },
        slopeCount: slopesAt == nil ? 0 : 1)
      try checkedKernel {
        let state = ABNLayerState(kernel, parameters, saved: p[2], rescue)
        let workspace = ABNWorkspace(scratch: p[7], team: Parallel.team)
        if norm.usesBatchStatistics {
          let given = momentumAt.map { Double(p($0, as: Float.self)[0]) } ?? norm.momentum
          let momentum = (0...1).contains(given) ? given : nil
          try kernel.trainForward(
            source: p[0], destination: p[1], state: state,
            moving: ABNMovingStatistics(mean: p[5], variance: p[6], momentum: momentum ?? 0),
            workspace: workspace, activated: behind)
          if momentum == nil {
            for row in [p[5], p[6]] {
              parallelFill(row, .nan, type.dtype.accumulation, count: channels)
            }
          }
        } else {
          try kernel.globalForward(
            source: p[0], destination: p[1], state: state,
            given: ABNGivenStatistics(mean: p[5], variance: p[6]), workspace: workspace,
            activated: behind)
        }
      }
    }
  }
}

extension BatchNorm: CPULowerable {
  var walk: ImageWalk { .channels(norm.layout) }
  static var takes16Bits: Bool { true }

  func lower(_ c: inout LoweringContext) throws {
    try NormalizationForward(
      norm: norm, activation: .identity, hasSlopes: false, readsOutput: false
    ).lower(&c)
  }
}

extension BatchNormGradient: CPULowerable {
  var walk: ImageWalk { .channels(forward.norm.layout) }
  static var takes16Bits: Bool { true }

  func lower(_ c: inout LoweringContext) throws {
    let layout = c.layout(ofInput: 0)
    let kernel = try forward.norm.kernel(c.inputType(0), layout, .identity)
    let mode: ABNStatisticsMode = forward.norm.usesBatchStatistics ? .batch : .given
    let arguments = [
      try c.read(0, in: layout), try c.read(1, in: layout), c.write(0, in: layout),
      try c.read(2), try c.read(3), try c.read(4), c.write(1), c.write(2),
      c.scratch(bytes: max(64, kernel.scratchBytes)),
    ]
    c.step(arguments) { p in
      try checkedKernel {
        try kernel.backward(
          ABNBackward(
            mode: mode, kept: .input(p[0]), gradient: p[1], destination: p[2],
            gradients: ABNGradients(scale: p[6], bias: p[7])),
          state: ABNLayerState(kernel, ABNParameters(scale: p[3], bias: p[4]), saved: p[5]),
          workspace: ABNWorkspace(scratch: p[8], team: Parallel.team))
      }
    }
  }
}

extension InPlaceActivatedBatchNorm: CPULowerable {
  var walk: ImageWalk { .channels(norm.layout) }
  static var takes16Bits: Bool { true }

  func lower(_ c: inout LoweringContext) throws {
    try NormalizationForward(
      norm: norm, activation: activation, hasSlopes: activation == .prelu, readsOutput: true
    ).lower(&c)
  }
}

extension InPlaceABNWithActivation: CPULowerable {
  var walk: ImageWalk { .channels(layer.norm.layout) }
  static var takes16Bits: Bool { true }

  func lower(_ c: inout LoweringContext) throws {
    try NormalizationForward(
      norm: layer.norm, activation: .identity, hasSlopes: false, readsOutput: true,
      outer: outer.function
    ).lower(&c)
  }
}

extension InPlaceABNGradient: CPULowerable {
  var walk: ImageWalk { .channels(forward.norm.layout) }
  static var takes16Bits: Bool { true }

  func lower(_ c: inout LoweringContext) throws {
    let layout = c.layout(ofInput: 0)
    let kernel = try forward.norm.kernel(c.inputType(0), layout, forward.activation)
    let mode: ABNStatisticsMode = forward.norm.usesBatchStatistics ? .batch : .given
    let rescue = try c.sideBuffer(ofInput: 4, as: RescueBuffer.self)
    let hasSlopes = forward.activation == .prelu
    let behind = outer?.function
    var arguments = [
      try c.read(0, in: layout), try c.read(1, in: layout), c.write(0, in: layout),
      try c.read(2), try c.read(3), try c.read(4), c.write(1), c.write(2),
      c.scratch(bytes: max(64, kernel.scratchBytes)),
    ]
    if hasSlopes { arguments += [try c.read(5), c.write(3)] }
    c.step(arguments, resources: [.read(rescue)]) { p in
      let parameters = ABNParameters(
        scale: p[3], bias: p[4], slopes: hasSlopes ? UnsafeRawPointer(p[9]) : nil,
        slopeCount: hasSlopes ? 1 : 0)
      try checkedKernel {
        try kernel.backward(
          ABNBackward(
            mode: mode, kept: .output(p[0]), gradient: p[1], destination: p[2],
            gradients: ABNGradients(scale: p[6], bias: p[7], slopes: hasSlopes ? p[10] : nil),
            behind: behind),
          state: ABNLayerState(kernel, parameters, saved: p[5], rescue),
          workspace: ABNWorkspace(scratch: p[8], team: Parallel.team))
      }
    }
  }
}
