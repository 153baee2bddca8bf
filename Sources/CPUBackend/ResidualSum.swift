import ABNDNNL
import ABNKernels
import ABNOperators
import ABNRuntime
import ABNTensors

/// The elements of one sample and some channels: what one member of the team works on.
private struct PlaneGroup {
  /// The first channel, and how many there are.
  let channel: Int
  let lanes: Int
  /// Where the group starts.
  let start: Int
}

/// Sample by sample, groups of channels: channel j of a group has its elements at
/// start + j * laneStride + k * step.
private struct Planes: Sendable {
  let samples: Int
  let channels: Int
  /// Elements of one sample and channel.
  let count: Int
  /// Channels of a group.
  let width: Int
  let laneStride: Int
  let step: Int

  init(_ type: Shape, channelAxis: Int, _ layout: PhysicalLayout) {
    samples = type[0]
    channels = type[channelAxis]
    count = type.elementCount / (type[0] * type[channelAxis])
    switch layout {
    case .plain where channelAxis == 1: (width, laneStride, step) = (1, count, 1)
    // 64 lanes of sums fit the first cache beside the rows.
    case .plain: (width, laneStride, step) = (min(64, channels), 1, channels)
    case .blocked(let block): (width, laneStride, step) = (block, 1, block)
    }
  }

  var groupsPerSample: Int { (channels + width - 1) / width }
  var groups: Int { samples * groupsPerSample }

  func group(_ index: Int) -> PlaneGroup {
    let (sample, group) = index.quotientAndRemainder(dividingBy: groupsPerSample)
    let channel = group * width
    let inside =
      laneStride == 1 && step == channels ? channel : channel * count
    return PlaneGroup(
      channel: channel, lanes: min(width, channels - channel),
      start: sample * channels * count + inside)
  }
}

/// The u of planes that cannot be computed back: bytes asked for when the data need them, and kept.
private final class KeptPlanes: SideBuffer, @unchecked Sendable {
  // Sendable: steps run one after the other, and members of the team touch planes of their own. The
  // tables of the planes are empty until a step runs: a program that is only planned, for a batch
  // of a hundred thousand images say, has no use for them.
  private var rows = UnsafeMutableBufferPointer<UnsafeMutableRawPointer?>(start: nil, count: 0)
  private(set) var isKept = UnsafeMutableBufferPointer<Bool>(start: nil, count: 0)
  private let planes: Int
  private let rowBytes: Int

  init(planes: Int, rowBytes: Int) {
    self.planes = planes
    self.rowBytes = rowBytes
  }

  /// Makes the tables before the first step.
  func prepare() {
    guard rows.isEmpty, planes > 0 else { return }
    rows = .allocate(capacity: planes)
    rows.initialize(repeating: nil)
    isKept = .allocate(capacity: planes)
    isKept.initialize(repeating: false)
  }

  deinit {
    for case let row? in rows { row.deallocate() }
    rows.deallocate()
    isKept.deallocate()
  }

  var mostBytes: Int { planes * rowBytes }
  let purpose = "terms of a residual sum that is large against the layer's scale"
  var bytes: Int { rows.reduce(0) { $0 + ($1 == nil ? 0 : rowBytes) } }

  func row<T>(_ plane: Int, as type: T.Type) -> UnsafeMutablePointer<T> {
    if rows[plane] == nil { rows[plane] = .allocate(byteCount: rowBytes, alignment: 64) }
    return rows[plane]!.assumingMemoryBound(to: type)
  }
}

extension ResidualSum: CPULowerable {
  var walk: ImageWalk { .channels(layer.norm.layout) }
  func lower(_ c: inout LoweringContext) throws {
    let type = c.inputType(0)
    let layout = c.layout(ofInput: 0)
    let axis = layer.norm.layout.channelAxis(rank: type.shape.rank)
    let planes = Planes(type.shape, channelAxis: axis, layout)
    let rescue = try c.sideBuffer(ofInput: 3, as: RescueBuffer.self)
    let kept = KeptPlanes(
      planes: planes.samples * planes.channels, rowBytes: planes.count * type.dtype.bytes)
    c.noteSideBuffer(kept, for: c.op.outputs[0])
    let arguments = [
      try c.read(0, in: layout), try c.read(1, in: layout), c.write(0, in: layout), try c.read(3),
    ]
    c.step(
      arguments, resources: [.read(rescue), .write(kept)],
      run: try c.float(
        type.dtype, run(planes, rescue, kept, Float.self), run(planes, rescue, kept, Double.self)))
  }

  private func run<T: CPUFloat>(
    _ planes: Planes, _ rescue: RescueBuffer, _ kept: KeptPlanes, _ type: T.Type
  ) throws -> @Sendable (StepPointers) -> Void {
    let element: ABNElement = T.self == Double.self ? .float64 : .float32
    let squares = try FlatKernel(.residualSquares, in: element)
    let sum = try FlatKernel(.residualSum(slope: slope), in: element)
    // A variance of a thousandth of epsilon: what rounding leaves of a constant channel.
    let constant = T(0.9995 / layer.norm.epsilon.squareRoot())
    return { p in
      nonisolated(unsafe) let (u, v, z) = (p(0, as: T.self), p(1, as: T.self), p(2, as: T.self))
      nonisolated(unsafe) let inverse = p(3, as: T.self) + 2 * planes.channels
      kept.prepare()
      Parallel.run(planes.groups) { index in
        let group = planes.group(index)
        let first = index / planes.groupsPerSample * planes.channels + group.channel
        withUnsafeTemporaryAllocation(of: T.self, capacity: group.lanes) { sums in
          sums.initialize(repeating: 0)
          planes.squares(of: group, u, v, into: sums.baseAddress!, squares, element)
          for lane in 0..<group.lanes {
            let channel = group.channel + lane
            let bound = Self.limit * rescue.rescue.size(channel)
            let square = Double(sums[lane])
            // Written so that NaN is kept, and what left the range of T. Channels in the layer's
            // own rescue buffer need no u.
            let isInRange = square < .infinity && bound * bound >= Double(T.leastNormalMagnitude)
            let isFine =
              isInRange && square <= bound * bound * Double(planes.count)
              && !(inverse[channel] > constant)
            kept.isKept[first + lane] = !isFine && !rescue.rescue.isRescued(channel)
            if kept.isKept[first + lane] {
              planes.copy(
                lane, of: group, u, to: kept.row(first + lane, as: T.self))
            }
          }
        }
        planes.each(group) {
          sum(
            FlatOperands(
              FlatOperand(u + $0, element), FlatOperand(v + $0, element),
              FlatOperand(z + $0, element)), 0..<$1)
        }
      }
    }
  }
}

extension ResidualTerm: CPULowerable {
  var walk: ImageWalk { .channels(sum.layer.norm.layout) }
  func lower(_ c: inout LoweringContext) throws {
    let type = c.inputType(0)
    let layout = c.layout(ofInput: 0)
    let axis = sum.layer.norm.layout.channelAxis(rank: type.shape.rank)
    let planes = Planes(type.shape, channelAxis: axis, layout)
    let kept = try c.sideBuffer(ofInput: 0, as: KeptPlanes.self)
    let arguments = [
      try c.read(0, in: layout), try c.read(1, in: layout), c.write(0, in: layout),
    ]
    c.step(
      arguments, resources: [.read(kept)],
      run: try c.float(
        type.dtype, run(planes, kept, Float.self), run(planes, kept, Double.self)))
  }

  private func run<T: CPUFloat>(
    _ planes: Planes, _ kept: KeptPlanes, _ type: T.Type
  ) throws -> @Sendable (StepPointers) -> Void {
    let element: ABNElement = T.self == Double.self ? .float64 : .float32
    let term = try FlatKernel(.residualTerm(inverseSlope: 1 / sum.slope), in: element)
    return { p in
      nonisolated(unsafe) let (z, v, u) = (p(0, as: T.self), p(1, as: T.self), p(2, as: T.self))
      Parallel.run(planes.groups) { index in
        let group = planes.group(index)
        planes.each(group) {
          term(
            FlatOperands(
              FlatOperand(z + $0, element), FlatOperand(v + $0, element),
              FlatOperand(u + $0, element)), 0..<$1)
        }
        let first = index / planes.groupsPerSample * planes.channels + group.channel
        for lane in 0..<group.lanes where kept.isKept[first + lane] {
          planes.give(lane, of: group, kept.row(first + lane, as: T.self), to: u)
        }
      }
    }
  }
}

extension Planes {
  /// Calls `body` with the start and length of each stretch of neighbours of a group.
  @inline(__always)
  fileprivate func each(_ group: PlaneGroup, _ body: (Int, Int) -> Void) {
    if laneStride != 1 || step == group.lanes { return body(group.start, count * group.lanes) }
    for k in 0..<count { body(group.start + k * step, group.lanes) }
  }

  /// For each channel of a group the sum of (u + v)^2. For a decision, so element type is enough.
  fileprivate func squares<T: CPUFloat>(
    of group: PlaneGroup, _ u: UnsafePointer<T>, _ v: UnsafePointer<T>,
    into sums: UnsafeMutablePointer<T>, _ kernel: FlatKernel, _ element: ABNElement
  ) {
    // One stretch of neighbours, whose channels come round every `width` elements.
    let isOneStretch = laneStride != 1 || step == group.lanes
    if isOneStretch && 16 % width == 0 {
      let elements = count * width
      kernel.withLanes(
        FlatOperands(
          FlatOperand(u + group.start, element), FlatOperand(v + group.start, element), .none),
        0..<elements
      ) { lanes in
        for lane in 0..<16 { sums[lane % width] += T(lanes[lane]) }
      }
      return
    }
    for k in 0..<count {
      let row = group.start + k * step
      for lane in 0..<group.lanes {
        let s = u[row + lane] + v[row + lane]
        sums[lane] += s * s
      }
    }
  }

  fileprivate func copy<T>(
    _ lane: Int, of group: PlaneGroup, _ source: UnsafePointer<T>, to row: UnsafeMutablePointer<T>
  ) {
    for k in 0..<count { row[k] = source[group.start + lane * laneStride + k * step] }
  }

  fileprivate func give<T>(
    _ lane: Int, of group: PlaneGroup, _ row: UnsafePointer<T>, to target: UnsafeMutablePointer<T>
  ) {
    for k in 0..<count { target[group.start + lane * laneStride + k * step] = row[k] }
  }
}
