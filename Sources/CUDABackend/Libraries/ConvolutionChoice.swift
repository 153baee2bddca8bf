import ABNRuntime
import ABNTensors

/// Which of cuDNN's engines runs a convolution: all are timed once for a card, a product and the
/// versions, and the choice is kept from process to process.
enum ConvolutionChoice {
  /// The most scratch memory that an engine may take.
  static let workspaceLimit = 256 << 20
  /// The library's proposals come the most promising first: the later ones are rarely fast.
  private static let mostTimed = 16

  /// The plan of a product; nil where the library has none that computes it as asked.
  static func plan(
    _ product: ConvolutionProduct, _ library: CuDNN, _ device: CUDADevice
  ) throws -> ConvolutionPlan? {
    let candidates = try ConvolutionPlan.candidates(product, library)
    let key =
      "\(device.card.name) \(device.card.architecture), driver \(device.driverVersion), "
      + "cuDNN \(library.version): \(product.described)"
    if let known = CUDACache.read("convolution", key: key),
      let choice = Choice(String(decoding: known, as: UTF8.self)),
      candidates.indices.contains(choice.position),
      candidates[choice.position].engine == choice.engine,
      let plan = try candidates[choice.position].plan(workspaceLimit: workspaceLimit)
    {
      return plan
    }
    var plans: [(position: Int, plan: ConvolutionPlan)] = []
    for (position, candidate) in candidates.enumerated() where plans.count < mostTimed {
      guard let plan = try candidate.plan(workspaceLimit: workspaceLimit) else { continue }
      plans.append((position, plan))
    }
    guard !plans.isEmpty, let index = try fastest(plans.map(\.plan), product, device) else {
      return nil
    }
    let best = plans[index]
    let choice = Choice(position: best.position, engine: best.plan.engine)
    CUDACache.write("convolution", key: key, Array(choice.text.utf8))
    return best.plan
  }

  /// What is kept: the place among the library's proposals, and which engine stood there.
  private struct Choice {
    let position, engine: Int

    init(position: Int, engine: Int) { (self.position, self.engine) = (position, engine) }

    init?(_ text: String) {
      let numbers = text.split(separator: " ").compactMap { Int($0) }
      guard numbers.count == 2 else { return nil }
      self.init(position: numbers[0], engine: numbers[1])
    }

    var text: String { "\(position) \(engine)" }
  }

  /// The position of the fastest plan, timed on random numbers; nil where none of them runs.
  private static func fastest(
    _ plans: [ConvolutionPlan], _ product: ConvolutionProduct, _ device: CUDADevice
  ) throws -> Int? {
    let memory = try CUDAMemory.memory(of: device)
    func buffer(_ sizes: [Int]) throws -> MemoryPiece {
      let count = sizes.reduce(1, *)
      let piece = try MemoryPiece(count * product.dtype.bytes, memory)
      try RandomNumbers.fill(piece.base, count, product.dtype, device, seed: UInt32(count % 997))
      return piece
    }
    let (x, w, y) = (try buffer(product.x), try buffer(product.w), try buffer(product.y))
    let scratch = try MemoryPiece(plans.map(\.workspaceBytes).max()!, memory)
    func run(_ plan: ConvolutionPlan) throws {
      try plan.run(x: x.base, w: w.base, y: y.base, workspace: scratch.base, on: device.stream)
    }
    // An engine may decline at its first run what its plan promised. That run is not timed: the
    // library loads its kernels then.
    let running = plans.indices.filter { index in
      (try? run(plans[index])) != nil && (try? device.synchronize()) != nil
    }
    guard running.count > 1 else { return running.first }
    let timer = try DeviceTimer(device)
    var best = (index: running[0], milliseconds: Float.infinity)
    for index in running {
      func time() throws -> Float { try timer.milliseconds { try run(plans[index]) } }
      var times = try (0..<3).map { _ in try time() }
      // What is slow once is not timed again.
      if times.min()! > 2 * best.milliseconds { continue }
      for _ in 0..<4 { times.append(try time()) }
      let median = times.sorted()[times.count / 2]
      if median < best.milliseconds { best = (index, median) }
    }
    return best.index
  }
}

/// Bytes of the card for as long as the object lives.
final class MemoryPiece {
  let base: UnsafeMutableRawPointer
  private let bytes: Int
  private let memory: CUDAMemory

  init(_ bytes: Int, _ memory: CUDAMemory) throws {
    self.bytes = max(bytes, 16)
    self.memory = memory
    base = try memory.allocate(self.bytes)
  }

  deinit { memory.deallocate(base, bytes: bytes) }
}

/// Times work on the device's stream.
final class DeviceTimer {
  private let device: CUDADevice
  private let start: CUDAHandle
  private let end: CUDAHandle

  init(_ device: CUDADevice) throws {
    self.device = device
    func event() throws -> CUDAHandle {
      var made: CUDAHandle = nil
      try device.driver.check(device.driver.makeEvent(&made, 0), "event")
      return made
    }
    (start, end) = (try event(), try event())
  }

  deinit {
    _ = device.driver.destroyEvent(start)
    _ = device.driver.destroyEvent(end)
  }

  /// The milliseconds that what `body` puts on the stream takes.
  func milliseconds(_ body: () throws -> Void) throws -> Float {
    try device.streamLock { try time(body) }
  }

  private func time(_ body: () throws -> Void) throws -> Float {
    let driver = device.driver
    try driver.check(driver.recordEvent(start, device.stream), "time")
    try body()
    try driver.check(driver.recordEvent(end, device.stream), "time")
    try driver.check(driver.synchronizeEvent(end), "time")
    var time: Float = 0
    try driver.check(driver.elapsed(&time, start, end), "time")
    return time
  }
}

/// Numbers to time with: zeros would make some kernels faster than they are.
enum RandomNumbers {
  /// Fills `count` elements with numbers in -0.5 ..< 0.5.
  static func fill(
    _ base: UnsafeMutableRawPointer, _ count: Int, _ dtype: DType, _ device: CUDADevice,
    seed: UInt32
  ) throws {
    let type = try dtype.deviceType()
    let kernel = try device.kernel(
      KernelSource([.random], entry: "fillRandom", defines: ["-DT=\(type)"]))
    let launch = try KernelLaunch(
      kernel, blocks: max(1, min(4096, (count + 255) / 256)), threads: 256,
      [.address(DeviceAddress(UInt(bitPattern: base))), .i64(Int64(count)), .u32(seed)])
    try device.streamLock {
      try device.activate()
      try launch.run(device)
    }
  }
}

extension DType {
  /// The type's name in device code.
  func deviceType() throws -> String {
    switch self {
    case .float32: "f32"
    case .float64: "f64"
    case .float16: "f16"
    case .bfloat16: "bf16"
    default:
      throw ABNError(
        .dtype, "kernel", got: "\(self)", wanted: "a floating-point type",
        fix: "Run this program on the processor.")
    }
  }
}
