import ABNGraph
import ABNOperators
import ABNRuntime
import ABNTensors

/// Sums over some axes of a tensor, in float64 and in an order that depends on the shape alone: see
/// reduce.cu.
struct Summation {
  private var kept: Nest
  private var summed: Nest
  /// Whether neighbouring threads make neighbouring outputs.
  private let isAcross: Bool
  /// Whether words are chunks.
  private let isWide: Bool
  private let lanes: Int
  private let input: DType

  /// The sum over `axes` of a tensor with these strides; the result is row-major over the others.
  init(_ shape: Shape, strides: [Int], over axes: Set<Int>, _ input: DType) throws {
    let keptAxes = (0..<shape.rank).filter { !axes.contains($0) }
    // In the order of memory.
    let summedAxes = (0..<shape.rank).filter(axes.contains).sorted { strides[$0] > strides[$1] }
    kept = try Nest(keptAxes.map { shape[$0] }, keptAxes.map { strides[$0] })
    summed = try Nest(summedAxes.map { shape[$0] }, summedAxes.map { strides[$0] })
    self.input = input
    lanes = 16 / input.bytes
    isAcross = kept.first.last! == 1 && summed.first.last! != 1
    isWide =
      kept.divides(by: lanes, first: isAcross, second: false)
      && summed.divides(by: lanes, first: !isAcross, second: false)
    if isWide {
      kept.divide(by: lanes, first: isAcross, second: false)
      summed.divide(by: lanes, first: !isAcross, second: false)
    }
  }

  /// How the sums are shared out.
  private var shares: (parts: Int, pieces: Int) {
    let (outputs, count) = (kept.count, summed.count)
    let parts =
      isAcross
      ? min(256 / powerOfTwo(atLeast: min(outputs, 32)), powerOfTwo(atLeast: count))
      : min(256, powerOfTwo(atLeast: count / 4))
    let tiles = max(1, (outputs * parts + 255) / 256)
    // Enough blocks for a large card, and for each thread of them a few words.
    let most = max(1, count / (parts * 16))
    return (parts, max(1, min(1024 / tiles, most)))
  }

  /// Appends a step: argument 1 = factor * the sums of argument 0.
  func append(
    to c: inout CUDAContext, from: StepArgument, to: StepArgument, factor: Double = 1
  ) throws {
    let (parts, pieces) = shares
    guard pieces > 1 else {
      let launch = try self.launch(
        c, from: 0, to: 1, output: input, parts: parts, pieces: 1, factor: factor)
      c.launch([from, to], [launch])
      return
    }
    let count = kept.count * (isWide && isAcross ? lanes : 1)
    let scratch = c.scratch(bytes: pieces * count * 8)
    let rest = try Summation(
      [pieces, count], strides: [count, 1], over: [0], .float64)
    let launches = [
      try launch(
        c, from: 0, to: 2, output: .float64, parts: parts, pieces: pieces, factor: 1),
      try rest.launch(
        c, from: 2, to: 1, output: input, parts: rest.shares.parts, pieces: 1, factor: factor),
    ]
    c.launch([from, to, scratch], launches)
  }

  private func launch(
    _ c: CUDAContext, from: Int, to: Int, output: DType, parts: Int, pieces: Int, factor: Double
  ) throws -> KernelLaunch {
    let (outputs, count) = (kept.count, summed.count)
    var defines = ["-DT=\(try c.elementName(input))", "-DO=\(try c.elementName(output))"]
    if isWide { defines.append(isAcross ? "-DACROSS" : "-DALONG") }
    let kernel = try c.kernel([.walk, .reduce], "sum", defines + c.width(outputs, count))
    var sums = KernelStruct()
    sums.append(outputs, count, (count + pieces - 1) / pieces)
    for value in [pieces, parts, isAcross ? 1 : 0, 0] { sums.append(UInt32(value)) }
    sums.append(factor)
    sums.append(kept)
    sums.append(summed)
    let blocks = (outputs * parts + 255) / 256 * pieces
    return try KernelLaunch(
      kernel, blocks: min(max(blocks, 1), 1 << 22), threads: 256,
      [.pointer(from), .pointer(to), sums.argument])
  }
}

/// dx = factor * dy, broadcast: argument 0 to argument 1.
///
/// - Parameters:
///   - strides: those of dy along the axes of dx; 0 where it is broadcast.
///   - order: how dx stands in memory.
func spread(
  _ c: CUDAContext, _ dx: TensorType, strides: [Int], in order: ImageOrder, factor: Double
) throws -> KernelLaunch {
  let own = order.strides(dx.shape)
  let axes = own.indices.sorted { own[$0] > own[$1] }
  let nest = try Nest(
    axes.map { dx.shape[$0] }, axes.map { strides[$0] }, axes.map { own[$0] })
  let count = dx.shape.elementCount
  let lanes = dx.bytes % 16 == 0 ? 16 / dx.dtype.bytes : 1
  let kernel = try c.kernel(
    [.walk, .broadcast], "spread",
    ["-DT=\(try c.elementName(dx.dtype))", "-DLANES=\(lanes)"] + c.width(count))
  var walk = KernelStruct()
  walk.append(nest)
  return try KernelLaunch(
    kernel, blocks: KernelLaunch.blocks(count / lanes), threads: 256,
    [.pointer(0), .pointer(1), .i64(Int64(count / lanes)), .f64(factor), walk.argument])
}

extension Reduce: CUDALowerable {
  var walk: ImageWalk { .anyOrder }

  func lower(_ c: inout CUDAContext) throws {
    let (x, order) = (c.inputType(0), c.order(ofInput: 0))
    let axes = try reducedAxes(rank: x.shape.rank)
    let count = axes.reduce(1) { $0 * x.shape[$1] }
    let sum = try Summation(x.shape, strides: order.strides(x.shape), over: axes, x.dtype)
    try sum.append(
      to: &c, from: c.read(0, in: order), to: c.write(0),
      factor: function == .mean ? 1 / Double(count) : 1)
  }
}

extension ReduceGradient: CUDALowerable {
  var walk: ImageWalk { .anyOrder }

  func lower(_ c: inout CUDAContext) throws {
    // The next reader is the gradient of what made x.
    let (dx, order) = (c.outputType(0), c.order(ofInput: 0))
    let axes = try forward.reducedAxes(rank: dx.shape.rank)
    let count = axes.reduce(1) { $0 * dx.shape[$1] }
    let kept = Shape((0..<dx.shape.rank).map { axes.contains($0) ? 1 : dx.shape[$0] })
    let strides = (0..<dx.shape.rank).map { axes.contains($0) ? 0 : kept.strides[$0] }
    let arguments = [try c.read(1), c.write(0, in: order)]
    c.launch(
      arguments,
      [
        try spread(
          c, dx, strides: strides, in: order,
          factor: forward.function == .mean ? 1 / Double(count) : 1)
      ])
  }
}

extension SumToShape: CUDALowerable {
  var walk: ImageWalk { .anyOrder }

  func lower(_ c: inout CUDAContext) throws {
    let (x, target, order) = (c.inputType(0), c.inputType(1).shape, c.order(ofInput: 0))
    let aligned = try Elementwise(.add, axis: axis).alignedShape(target, to: x.shape)
    let missing = x.shape.rank - aligned.rank
    let axes = Set(
      (0..<x.shape.rank).filter {
        $0 < missing || (aligned[$0 - missing] == 1 && x.shape[$0] != 1)
      })
    guard !axes.isEmpty else {
      let copy = try StridedCopy.bytes(x.bytes, c, from: 0, to: 1)
      let arguments = [try c.read(0), c.write(0)]
      c.step(arguments) { device, p in
        if p[0] != p[1] { try copy.run(device, p) }
      }
      return
    }
    let sum = try Summation(x.shape, strides: order.strides(x.shape), over: axes, x.dtype)
    try sum.append(to: &c, from: c.read(0, in: order), to: c.write(0))
  }
}
