import ABNRuntime
import ABNTensors

/// An argument of a kernel.
enum KernelArgument: Sendable {
  /// The address of the step's argument at this position.
  case pointer(Int)
  /// An address within it, so many bytes behind its start.
  case offset(Int, bytes: Int)
  /// The address 0.
  case null
  /// An address that is known when the step is made.
  case address(DeviceAddress)
  case i32(Int32)
  case u32(UInt32)
  case i64(Int64)
  case f32(Float)
  case f64(Double)
  /// A struct, as its bytes.
  case bytes([UInt8])
  /// Memory of the host that the card reaches, asked for when the kernel runs first.
  case host(HostRows)
  /// A struct of these, each at a multiple of its size.
  case fields([KernelArgument])

  /// A struct of plain numbers.
  static func value<T: BitwiseCopyable>(_ value: T) -> KernelArgument {
    .bytes(withUnsafeBytes(of: value) { Array($0) })
  }
}

/// A kernel with its grid and arguments.
struct KernelLaunch: Sendable {
  let kernel: CUDAKernel
  let blocks: UInt32
  let threads: UInt32
  let shared: UInt32
  /// Whether all blocks must be resident at once.
  let isCooperative: Bool
  /// The arguments' bytes one behind the other, and where each starts.
  private let bytes: [UInt8]
  private let starts: [Int]
  /// Which of them are addresses of the step's arguments.
  private let pointers: [(start: Int, argument: Int, offset: Int)]
  private let hosts: [(start: Int, rows: HostRows)]

  init(
    _ kernel: CUDAKernel, blocks: Int, threads: Int, shared: Int = 0, isCooperative: Bool = false,
    _ arguments: [KernelArgument]
  ) throws {
    guard blocks >= 1, blocks <= Int(Int32.max), threads >= 1, threads <= 1024 else {
      throw ABNError(
        .unsupported, "grid of \(kernel.name)", got: "\(blocks) blocks of \(threads) threads",
        wanted: "1...2147483647 blocks of 1...1024 threads")
    }
    self.kernel = kernel
    self.blocks = UInt32(blocks)
    self.threads = UInt32(threads)
    self.shared = UInt32(shared)
    self.isCooperative = isCooperative
    var packing = KernelArgumentBytes()
    for argument in arguments {
      packing.begin()
      packing.append(argument)
    }
    bytes = packing.bytes
    starts = packing.starts
    pointers = packing.pointers
    hosts = packing.hosts
    if shared > 0 { try kernel.reserve(shared: shared) }
  }

  /// Puts the kernel on a stream, over a step's arguments.
  func run(_ device: CUDADevice, _ arguments: StepPointers) throws {
    try run(device) { UInt64(UInt(bitPattern: arguments[$0])) }
  }

  /// Puts the kernel on a stream, where no argument is a step's.
  func run(_ device: CUDADevice) throws {
    precondition(pointers.isEmpty)
    try run(device) { _ in 0 }
  }

  private func run(_ device: CUDADevice, _ address: (Int) -> UInt64) throws {
    try withUnsafeTemporaryAllocation(byteCount: max(bytes.count, 16), alignment: 16) { room in
      bytes.withUnsafeBytes { room.copyMemory(from: $0) }
      for (start, argument, offset) in pointers {
        room.storeBytes(
          of: address(argument) &+ UInt64(offset), toByteOffset: start, as: UInt64.self)
      }
      for (start, rows) in hosts {
        room.storeBytes(of: try rows.address(device), toByteOffset: start, as: UInt64.self)
      }
      try withUnsafeTemporaryAllocation(
        of: UnsafeMutableRawPointer?.self, capacity: max(starts.count, 1)
      ) { places in
        for (index, start) in starts.enumerated() {
          places.initializeElement(at: index, to: room.baseAddress! + start)
        }
        try launch(device, places.baseAddress!)
      }
    }
  }

  private func launch(
    _ device: CUDADevice, _ places: UnsafeMutablePointer<UnsafeMutableRawPointer?>
  ) throws {
    let driver = device.driver
    let status =
      isCooperative
      ? driver.launchCooperative(
        kernel.function, blocks, 1, 1, threads, 1, 1, shared, device.stream, places)
      : driver.launch(
        kernel.function, blocks, 1, 1, threads, 1, 1, shared, device.stream, places, nil)
    try driver.check(status, "launch of \(kernel.name), \(blocks) blocks of \(threads)")
  }
}
