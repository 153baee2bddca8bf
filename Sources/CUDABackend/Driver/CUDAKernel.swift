import ABNTensors
import Synchronization

/// A kernel in the memory of a card.
final class CUDAKernel: @unchecked Sendable {
  // Sendable: nothing changes after init but the most of dynamic shared memory, behind a lock.
  let name: String
  /// Bytes of shared memory that the text declares.
  let staticShared: Int
  let function: CUDAHandle
  private unowned let device: CUDADevice
  private let reserved = Mutex(0)

  init(_ source: KernelSource, on device: CUDADevice) throws {
    self.device = device
    name = source.name
    let driver = device.driver
    let image = try KernelCache.image(of: source, device)
    try device.activate()
    var module: CUDAHandle = nil
    try image.withUnsafeBytes {
      try driver.check(driver.loadModule(&module, $0.baseAddress!), "loading \(source.name)")
    }
    var function: CUDAHandle = nil
    try driver.check(
      driver.moduleFunction(&function, module, source.entry), "function \(source.entry)")
    self.function = function
    var value: Int32 = 0
    // CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES.
    try driver.check(driver.functionAttribute(&value, 1, function), "shared memory of \(name)")
    staticShared = Int(value)
  }

  /// Allows so many bytes of dynamic shared memory, and what was allowed before.
  func reserve(shared: Int) throws {
    try reserved.withLock { most in
      guard shared > most else { return }
      // CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES.
      try device.driver.check(
        device.driver.setFunctionAttribute(function, 8, Int32(clamping: shared)),
        "\(name): \(shared) bytes of shared memory")
      most = shared
    }
  }

  /// How many blocks of so many threads and bytes of dynamic shared memory one multiprocessor can
  /// hold at once.
  func residentBlocks(threads: Int, shared: Int = 0) throws -> Int {
    try device.activate()
    try reserve(shared: shared)
    var count: Int32 = 0
    try device.driver.check(
      device.driver.residentBlocks(&count, function, Int32(threads), shared),
      "resident blocks of \(name)")
    return Int(count)
  }
}
