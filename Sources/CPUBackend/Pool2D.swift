import ABNDNNL
import ABNGraph
import ABNOperators
import ABNRuntime
import ABNTensors

extension Pool2D {
  /// The window in oneDNN's words; nil for windows of differing sizes, which it does not have.
  fileprivate func dnnlWindow(_ x: Shape, _ y: Shape) throws -> DNNLPooling? {
    let input = spatialAxes.map { x[$0] }
    let algorithm: DNNLPooling.Algorithm =
      function == .max
      ? .max : exclusive ? .averageExcludingPadding : .averageIncludingPadding
    switch extent {
    case .global:
      return DNNLPooling(algorithm, kernel: input, strides: [1, 1], paddingBefore: [0, 0])
    case .adaptive(let size):
      guard zip(input, size).allSatisfy({ $0 % $1 == 0 }) else { return nil }
      let kernel = zip(input, size).map { $0 / $1 }
      return DNNLPooling(algorithm, kernel: kernel, strides: kernel, paddingBefore: [0, 0])
    case .window(let window):
      let sides = try (0..<2).map { try window.sides($0, input: input[$0]) }
      return DNNLPooling(
        algorithm, kernel: window.kernel, strides: window.stride,
        paddingBefore: sides.map(\.before), paddingAfter: sides.map(\.after))
    }
  }

  /// The descriptor of an image variable.
  fileprivate func descriptor(
    _ shape: Shape, _ dtype: DType, _ physical: PhysicalLayout
  ) throws -> DNNLDescriptor {
    layout == .nhwc
      ? try DNNLDescriptor([shape[0], shape[3], shape[1], shape[2]], dtype, .channelsLast)
      : try DNNLDescriptor(shape.dimensions, dtype, physical.dnnlFormat)
  }

  /// Throws unless oneDNN keeps its winners in the bytes of the second output.
  fileprivate func requireWorkspace(_ primitive: DNNLPrimitive, bytes: Int) throws {
    let needed = primitive.descriptor(.workspace)?.byteCount ?? 0
    guard needed <= bytes else {
      throw ABNError(
        .system, "oneDNN \(DNNL.versionString) pooling", got: "a workspace of \(needed) bytes",
        wanted: "at most \(bytes)", fix: "Report this version of oneDNN.")
    }
  }
}

extension Pool2D: CPULowerable {
  var walk: ImageWalk { .channels(layout) }

  func lower(_ c: inout LoweringContext) throws {
    let (x, y) = (c.inputType(0), c.outputType(0))
    if x.dtype == .float32, let window = try dnnlWindow(x.shape, y.shape) {
      let physical = c.layout(ofInput: 0)
      let primitive = try DNNLPrimitive.poolingForward(
        window, source: descriptor(x.shape, x.dtype, physical),
        destination: descriptor(y.shape, y.dtype, physical))
      var arguments = [try c.read(0, in: physical), c.write(0, in: physical)]
      if function == .max {
        try requireWorkspace(primitive, bytes: c.outputType(1).bytes)
        arguments.append(c.write(1, in: physical))
      }
      let scratch = c.addScratchpad(of: primitive, to: &arguments)
      let run = dnnlRun(primitive, slots: [0, 1, function == .max ? 2 : nil, scratch])
      c.step(
        arguments,
        run: guarded(
          run, by: try PlainPooling(self, x.shape, physical), x, y,
          wide: function == .max && c.outputType(1).dtype == .int32))
      return
    }
    let plain = try PlainPooling(self, x.shape)
    var arguments = [try c.read(0), c.write(0)]
    if function == .max { arguments.append(c.write(1)) }
    let wide = function == .max && c.outputType(1).dtype == .int32
    func run<T: CPUFloat>(_: T.Type) -> @Sendable (StepPointers) -> Void {
      switch (function, wide) {
      case (.average, _): plain.average(T.self)
      case (.max, false): plain.max(T.self, UInt8.self)
      case (.max, true): plain.max(T.self, Int32.self)
      }
    }
    c.step(arguments, run: try c.float(x.dtype, run(Float.self), run(Double.self)))
  }
}

extension Pool2D {
  /// oneDNN's step, and the plain one for numbers that oneDNN does not pool as float64 would.
  ///
  /// oneDNN's max passes over NaN and has no winner where nothing is above the lowest finite
  /// number, so that the image is looked through first; its average adds in float32, where a sum of
  /// finite numbers can overflow, so that the result is looked through. Winners are counted alike
  /// by both, and the gradient does not ask who counted.
  fileprivate func guarded(
    _ fast: @escaping @Sendable (StepPointers) throws -> Void, by plain: PlainPooling,
    _ x: TensorType, _ y: TensorType, wide: Bool
  ) -> @Sendable (StepPointers) throws -> Void {
    let (xCount, yCount) = (x.shape.elementCount, y.shape.elementCount)
    if function == .average {
      let slow = plain.average(Float.self)
      return { p in
        try fast(p)
        if !holds(p(1, as: Float.self), yCount, DNNLPooling.areFinite) { slow(p) }
      }
    }
    let slow = wide ? plain.max(Float.self, Int32.self) : plain.max(Float.self, UInt8.self)
    return { p in
      if holds(p(0, as: Float.self), xCount, DNNLPooling.areAboveLowest) {
        try fast(p)
      } else {
        slow(p)
      }
    }
  }
}

/// Whether something is true of all numbers of an array.
private func holds(
  _ x: UnsafePointer<Float>, _ count: Int,
  _ areAll: @Sendable (UnsafePointer<Float>, _ count: Int) -> Bool
) -> Bool {
  let most = 256
  let grain = max(16384, (count + most - 1) / most)
  return withUnsafeTemporaryAllocation(of: Bool.self, capacity: most) { answers in
    answers.initialize(repeating: true)
    nonisolated(unsafe) let own = answers.baseAddress!
    nonisolated(unsafe) let x = x
    Parallel.ranges(count, grain: grain) { range in
      own[range.lowerBound / grain] = areAll(x + range.lowerBound, range.count)
    }
    return !answers.contains(false)
  }
}

extension Pool2DGradient: CPULowerable {
  var walk: ImageWalk { .channels(forward.layout) }

  func lower(_ c: inout LoweringContext) throws {
    let (dy, dx) = (c.inputType(0), c.outputType(0))
    let isMax = forward.function == .max
    // Winners are places: others would be outside of dx.
    let maker = isMax ? c.maker(ofInput: 2) : nil
    guard !isMax || (maker?.kind as? Pool2D)?.extent == forward.extent,
      maker.map({ c.program[$0.inputs[0]].shape == dx.shape }) ?? true
    else {
      throw ABNError(
        .program, "winners", got: "another variable", wanted: "what the pooling made",
        fix: "Have differentiation append the operator.")
    }
    if dx.dtype == .float32, let window = try forward.dnnlWindow(dx.shape, dy.shape) {
      let physical = c.layout(ofInput: isMax ? 2 : 0)
      let source = try forward.descriptor(dx.shape, dx.dtype, physical)
      let destination = try forward.descriptor(dy.shape, dy.dtype, physical)
      let primitive = try DNNLPrimitive.poolingBackward(
        window, source: source, destination: destination, diffSource: source,
        diffDestination: destination)
      var arguments = [try c.read(0, in: physical), c.write(0, in: physical)]
      if isMax { arguments.append(try c.read(2, in: physical)) }
      let scratch = c.addScratchpad(of: primitive, to: &arguments)
      c.step(arguments, run: dnnlRun(primitive, slots: [0, isMax ? 2 : nil, 1, scratch]))
      return
    }
    let plain = try PlainPooling(forward, dx.shape)
    var arguments = [try c.read(0), c.write(0)]
    if isMax { arguments.append(try c.read(2)) }
    let wide = isMax && c.inputType(2).dtype == .int32
    func run<T: CPUFloat>(_: T.Type) -> @Sendable (StepPointers) -> Void {
      switch (isMax, wide) {
      case (false, _): plain.averageGradient(T.self)
      case (true, false): plain.maxGradient(T.self, UInt8.self)
      case (true, true): plain.maxGradient(T.self, Int32.self)
      }
    }
    c.step(arguments, run: try c.float(dx.dtype, run(Float.self), run(Double.self)))
  }
}

extension Pool2D {
  /// The windows along both axes of the result.
  fileprivate func windowBytes(_ y: Shape) -> Int {
    spatialAxes.reduce(0) { $0 + MemoryLayout<(first: Int, end: Int)>.stride * y[$1] }
  }
}

extension Pool2D: TableReader {
  func tableBytes(_ shapes: [Shape]) -> Int { windowBytes(shapes[1]) }
}

extension Pool2DGradient: TableReader {
  func tableBytes(_ shapes: [Shape]) -> Int { forward.windowBytes(shapes[0]) }
}

/// Pooling as written, for float64, for adaptive windows of differing sizes, and for numbers that
/// oneDNN does not pool right. One thread makes all of one image channel, so that gradients of
/// overlapping windows are added in a fixed order.
private struct PlainPooling: Sendable {
  let rows, columns: [(first: Int, end: Int)]
  let height, width, channels, batch: Int
  /// Neighbouring elements that belong to different channels: pixels are that far apart.
  let block: Int
  let exclusive: Bool

  init(_ kind: Pool2D, _ x: Shape, _ physical: PhysicalLayout = .plain) throws {
    let axes = kind.spatialAxes
    (height, width) = (x[axes[0]], x[axes[1]])
    rows = try kind.windows(0, input: height)
    columns = try kind.windows(1, input: width)
    (batch, channels) = (x[0], x[kind.layout.channelAxis(rank: 4)])
    block = kind.layout == .nhwc ? channels : physical.block
    exclusive = kind.exclusive
  }

  /// Calls `body` for each window of each channel of each image with the offset of its output and
  /// a function from a pixel to its offset in the input.
  private func forEach(
    _ begin: @Sendable (_ pixel: (Int, Int) -> Int) -> Void = { _ in },
    _ body:
      @Sendable (
        _ output: Int, _ row: (first: Int, end: Int), _ column: (first: Int, end: Int),
        _ pixel: (Int, Int) -> Int
      ) -> Void
  ) {
    Parallel.run(batch * channels) { part in
      let (n, c) = part.quotientAndRemainder(dividingBy: channels)
      let step = block
      func base(_ pixels: Int) -> Int {
        (n * channels + c / block * block) * pixels + c % block
      }
      let first = base(height * width)
      let pixel = { (i: Int, j: Int) in first + (i * width + j) * step }
      begin(pixel)
      let out = base(rows.count * columns.count)
      for (i, row) in rows.enumerated() {
        for (j, column) in columns.enumerated() {
          body(out + (i * columns.count + j) * step, row, column, pixel)
        }
      }
    }
  }

  private func inside(_ range: (first: Int, end: Int), _ size: Int) -> Range<Int> {
    max(0, range.first)..<max(max(0, range.first), min(size, range.end))
  }

  /// The divisor of a window's sum.
  private func count(_ row: (first: Int, end: Int), _ column: (first: Int, end: Int)) -> Int {
    exclusive
      ? inside(row, height).count * inside(column, width).count
      : (row.end - row.first) * (column.end - column.first)
  }

  func average<T: CPUFloat>(_: T.Type) -> @Sendable (StepPointers) -> Void {
    { p in
      nonisolated(unsafe) let (x, y) = (p(0, as: T.self), p(1, as: T.self))
      forEach { output, row, column, pixel in
        var sum = 0.0
        for i in inside(row, height) {
          for j in inside(column, width) { sum += Double(x[pixel(i, j)]) }
        }
        y[output] = T(sum / Double(max(1, count(row, column))))
      }
    }
  }

  func averageGradient<T: CPUFloat>(_: T.Type) -> @Sendable (StepPointers) -> Void {
    { p in
      nonisolated(unsafe) let (dy, dx) = (p(0, as: T.self), p(1, as: T.self))
      forEach({ pixel in
        for i in 0..<height { for j in 0..<width { dx[pixel(i, j)] = 0 } }
      }) { output, row, column, pixel in
        let share = dy[output] / T(max(1, count(row, column)))
        for i in inside(row, height) {
          for j in inside(column, width) { dx[pixel(i, j)] += share }
        }
      }
    }
  }

  func max<T: CPUFloat, I: FixedWidthInteger & Sendable>(
    _: T.Type, _: I.Type
  ) -> @Sendable (StepPointers) -> Void {
    { p in
      nonisolated(unsafe) let (x, y, winners) = (
        p(0, as: T.self), p(1, as: T.self), p(2, as: I.self)
      )
      forEach { output, row, column, pixel in
        var best = -T.infinity
        var winner = -1
        for i in inside(row, height) {
          for j in inside(column, width) {
            let value = x[pixel(i, j)]
            // A NaN wins and stays.
            if winner < 0 || value > best || value.isNaN && !best.isNaN {
              best = value
              winner = (i - row.first) * (column.end - column.first) + j - column.first
            }
          }
        }
        y[output] = best
        winners[output] = I(Swift.max(0, winner))
      }
    }
  }

  func maxGradient<T: CPUFloat, I: FixedWidthInteger & Sendable>(
    _: T.Type, _: I.Type
  ) -> @Sendable (StepPointers) -> Void {
    { p in
      nonisolated(unsafe) let (dy, dx, winners) = (
        p(0, as: T.self), p(1, as: T.self), p(2, as: I.self)
      )
      forEach({ pixel in
        for i in 0..<height { for j in 0..<width { dx[pixel(i, j)] = 0 } }
      }) { output, row, column, pixel in
        let (i, j) = Int(winners[output]).quotientAndRemainder(
          dividingBy: column.end - column.first)
        dx[pixel(row.first + i, column.first + j)] += dy[output]
      }
    }
  }

  private func max(_ a: Int, _ b: Int) -> Int { Swift.max(a, b) }
}
