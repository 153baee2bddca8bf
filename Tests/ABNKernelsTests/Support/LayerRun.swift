@testable import ABNKernels

/// The input of one layer, channel by channel, already rounded to its types.
struct LayerInput {
  var geometry: ABNGeometry
  var element: ABNElement
  var activation: ABNActivation
  var epsilon = 1e-5
  var x: [[Double]]
  var dz: [[Double]]
  var scale: [Double]
  var bias: [Double]
  var slopes: [Double] = []
  var given: (mean: [Double], variance: [Double])?

  /// Random values: x around a mean and deviation of its own for each channel.
  init(
    _ geometry: ABNGeometry, _ element: ABNElement, _ activation: ABNActivation, seed: UInt64 = 1,
    mean: Double = 0.5, deviation: Double = 1.5
  ) {
    var source = Source(state: seed)
    self.geometry = geometry
    self.element = element
    self.activation = activation
    let m = geometry.countPerChannel
    x = (0..<geometry.channels).map { _ in
      let centre = mean * source.uniform(0.9, 1.1)
      return (0..<m).map { _ in element.rounded(centre + deviation * source.normal()) }
    }
    dz = (0..<geometry.channels).map { _ in
      (0..<m).map { _ in element.rounded(source.normal()) }
    }
    let number = element.statistics
    scale = (0..<geometry.channels).map { _ in
      number.rounded(source.uniform(0.5, 1.5) * (source.next() & 1 == 0 ? 1 : -1))
    }
    bias = (0..<geometry.channels).map { _ in number.rounded(source.uniform(-1, 1)) }
    if activation == .prelu {
      slopes = (0..<geometry.channels).map { _ in number.rounded(source.uniform(0.05, 0.5)) }
    }
  }

  /// Adds given statistics.
  func withGivenStatistics() -> LayerInput {
    var copy = self
    var source = Source(state: 77)
    let number = element.statistics
    copy.given = (
      x.map { _ in number.rounded(source.uniform(-0.5, 1)) },
      x.map { _ in number.rounded(source.uniform(0.5, 3)) }
    )
    return copy
  }

  var reference: ReferenceLayer {
    ReferenceLayer(
      x: x, dz: dz, scale: scale, bias: bias, slopes: slopes, activation: activation,
      epsilon: epsilon, given: given)
  }
}

/// What one run of the kernels gives, channel by channel.
struct LayerResult {
  var stored: [[Double]] = []
  var z: [[Double]] = []
  var dx: [[Double]] = []
  var restored: [[Double]] = []
  var dscale: [Double] = []
  var dbias: [Double] = []
  var dslope: [Double] = []
  var mean: [Double] = []
  var inverse: [Double] = []
  var moving: (mean: [Double], variance: [Double]) = ([], [])
  var rescued = 0
  var isRescued: [Bool] = []
  var asideCount = 0
  var isIntact = true
  var paddingIsZero = true
  /// Bytes of z, dx, gradients and statistics, for comparisons bit by bit.
  var bytes: [UInt8] = []
}

/// Runs forward, backward and restore on real buffers.
struct LayerRun {
  var input: LayerInput
  var set: ABNInstructionSet = .baseline
  var team = KernelTeam.serial
  /// Keeps x and uses the backward pass from x.
  var outOfPlace = false
  var rescues = true
  var momentum = 0.9
  /// `ABNKernel.caches`.
  var caches = Caches()
  /// `ABNKernel.leastDirectCount`: 1 for all channels that may, a large one for none.
  var leastDirectCount = 512
  /// What the moving statistics begin with.
  var moving: (mean: [Double], variance: [Double])?
  /// What the padded lanes of tensors hold before the calls.
  var padding = 0.0
  /// dx and x restored go to buffers of their own, and z over y, instead of the other way round.
  var isApart = false

  func callAsFunction() throws -> LayerResult {
    var kernel = try ABNKernel(
      geometry: input.geometry, element: input.element, activation: input.activation,
      epsilon: input.epsilon, instructionSet: set)
    kernel.caches = caches
    kernel.leastDirectCount = leastDirectCount
    // Not read through `input` for every element, which would be copied each time.
    let (geometry, element) = (input.geometry, input.element)
    let channels = geometry.channels
    let number = element.statistics
    func tensor(_ values: [[Double]]) -> Buffer {
      let buffer = Buffer(bytes: kernel.bufferBytes)
      buffer.base.initializeMemory(as: UInt8.self, repeating: 0, count: kernel.bufferBytes)
      if padding != 0 {
        for index in 0..<geometry.elementCount { element.store(buffer.base, index, padding) }
      }
      for (channel, row) in values.enumerated() {
        for (index, value) in row.enumerated() {
          element.store(buffer.base, geometry.offset(channel, index), value)
        }
      }
      return buffer
    }
    func array(_ values: [Double]) -> Buffer {
      let buffer = Buffer(bytes: values.count * number.bytes)
      for (index, value) in values.enumerated() { number.store(buffer.base, index, value) }
      return buffer
    }
    func read(_ buffer: Buffer) -> [[Double]] {
      (0..<channels).map { channel in
        (0..<geometry.countPerChannel).map {
          element.load(buffer.base, geometry.offset(channel, $0))
        }
      }
    }
    func list(_ buffer: Buffer) -> [Double] {
      (0..<buffer.bytes / number.bytes).map { number.load(buffer.base, $0) }
    }
    let zeros = [Double](repeating: 0, count: channels)
    let x = tensor(input.x)
    let out = outOfPlace ? tensor(input.x.map { $0.map { _ in 7 } }) : x
    let gradient = tensor(input.dz)
    let scale = array(input.scale)
    let bias = array(input.bias)
    let slopes = array(input.slopes)
    let saved = [array(zeros), array(zeros), array(zeros)]
    let movingMean = array(moving?.mean ?? zeros)
    let movingVariance = array(moving?.variance ?? zeros.map { $0 + 1 })
    let gradients = [array(zeros), array(zeros), array(input.slopes)]
    let scratch = Buffer(bytes: kernel.scratchBytes)
    let parameters = ABNParameters(
      scale: scale.base, bias: bias.base, slopes: input.slopes.isEmpty ? nil : slopes.base,
      slopeCount: input.slopes.count)
    let savedStatistics = ABNSavedStatistics(
      mean: saved[0].base, meanRemainder: saved[1].base, inverseDeviation: saved[2].base)
    var result = LayerResult()
    let rescue = rescues && !outOfPlace ? ABNRescue(kernel) : nil
    let state = ABNLayerState(parameters: parameters, saved: savedStatistics, rescue: rescue)
    let workspace = ABNWorkspace(scratch: scratch.base, team: team)
    if let given = input.given {
      let mean = array(given.mean)
      let variance = array(given.variance)
      try kernel.globalForward(
        source: x.base, destination: out.base, state: state,
        given: ABNGivenStatistics(mean: mean.base, variance: variance.base), workspace: workspace)
    } else {
      try kernel.trainForward(
        source: x.base, destination: out.base, state: state,
        moving: ABNMovingStatistics(
          mean: movingMean.base, variance: movingVariance.base, momentum: momentum),
        workspace: workspace)
    }
    result.rescued = rescue?.count ?? 0
    result.asideCount = rescue?.asideCount ?? 0
    result.isRescued = (0..<channels).map { rescue?.isRescued($0) ?? false }
    result.stored = read(out)
    result.mean = zip(list(saved[0]), list(saved[1])).map { $0 + $1 }
    result.inverse = list(saved[2])
    result.moving = (list(movingMean), list(movingVariance))
    result.bytes = out.contents + saved.flatMap(\.contents)
    let activated = tensor(input.x)
    if kernel.activation.isInvertible {
      result.z = result.stored
    } else {
      if isApart {
        activated.base.copyMemory(from: out.base, byteCount: kernel.bufferBytes)
      }
      try kernel.activate(
        source: isApart ? activated.base : out.base, destination: activated.base,
        parameters: parameters, workspace: workspace)
      result.z = read(activated)
    }
    let wanted = ABNGradients(
      scale: gradients[0].base, bias: gradients[1].base,
      slopes: input.slopes.isEmpty ? nil : gradients[2].base)
    let mode: ABNStatisticsMode = input.given == nil ? .batch : .given
    let dx = isApart ? tensor(input.x.map { $0.map { _ in 7 } }) : gradient
    try kernel.backward(
      ABNBackward(
        mode: mode, kept: outOfPlace ? .input(x.base) : .output(out.base), gradient: gradient.base,
        destination: dx.base, gradients: wanted), state: state, workspace: workspace)
    result.dx = read(dx)
    result.dscale = list(gradients[0])
    result.dbias = list(gradients[1])
    result.dslope = list(gradients[2])
    result.bytes += dx.contents + gradients.flatMap(\.contents)
    let restored = isApart ? tensor(input.x.map { $0.map { _ in 7 } }) : out
    if !outOfPlace {
      try kernel.restore(
        source: out.base, destination: restored.base, state: state, workspace: workspace)
      result.restored = read(restored)
      result.bytes += restored.contents
    }
    for buffer in [x, out, gradient, dx, scratch, activated, restored] + saved
      + gradients
    {
      if !buffer.isIntact { result.isIntact = false }
    }
    if case .blocked(let size) = input.geometry.layout, channels % size != 0 {
      let last = (channels + size - 1) / size * size
      // What was written, and nothing that was only read.
      for buffer in [out, dx] + (kernel.activation.isInvertible ? [] : [activated])
        + (outOfPlace ? [] : [restored])
      {
        for channel in channels..<last {
          for index in 0..<input.geometry.countPerChannel
          where input.element.load(buffer.base, input.geometry.offset(channel, index)) != 0 {
            result.paddingIsZero = false
          }
        }
      }
    }
    return result
  }
}

/// The largest difference, of the largest magnitude of the reference; infinite if one side is not
/// a number where the other is.
func relativeError(_ a: [[Double]], _ b: [[Double]]) -> Double {
  relativeError(a.flatMap { $0 }, b.flatMap { $0 })
}

func relativeError(_ a: [Double], _ b: [Double]) -> Double {
  guard a.count == b.count else { return .infinity }
  var difference = 0.0
  var size = 0.0
  for (p, q) in zip(a, b) {
    if p.isNaN != q.isNaN || (p.isInfinite || q.isInfinite) && p != q { return .infinity }
    if p.isNaN || p == q {
      if q.isFinite { size = max(size, abs(q)) }
      continue
    }
    difference = max(difference, abs(p - q))
    size = max(size, abs(q))
  }
  return difference == 0 ? 0 : difference / max(size, Double.leastNormalMagnitude)
}
