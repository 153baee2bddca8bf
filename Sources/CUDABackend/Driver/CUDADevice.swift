import ABNTensors
import Synchronization

/// One card, with everything that programs share on it: context, stream, compiled kernels.
package final class CUDADevice: @unchecked Sendable {
  // Sendable: all is set in init but the table of kernels, which has a lock; the handles may be
  // used from any thread, with the context made current there first.
  let driver: CUDADriver
  let card: CUDACard
  let compiler: NVRTC
  /// The driver's version, as 1000 * major + 10 * minor.
  let driverVersion: Int
  let ordinal: Int
  private let context: CUDAHandle
  /// Where all steps are put, in order.
  let stream: CUDAHandle
  /// Held by whoever puts something on the stream.
  let streamLock = StreamLock()
  /// `counterCount` numbers of 32 bits for the barriers of kernels, zero at first and left by every
  /// kernel as `groupBarrier` of device.cuh says. Kernels of one stream use them one after the
  /// other.
  let counters: DeviceAddress
  static let counterCount = 1 << 16
  /// A number that kernels set where something is wrong with the data: memory of the host, so that
  /// it is looked at without a copy.
  private let fault: UnsafeMutablePointer<UInt32>
  private let products = Mutex<CuBLASLt?>(nil)
  private let convolutions = Mutex<CuDNN?>(nil)
  private let kernels = Mutex<[KernelSource: CUDAKernel]>([:])
  private static let known = Mutex<[Int: CUDADevice]>([:])

  /// The device number `ordinal`, the same object for every caller.
  ///
  /// - Throws: `ABNError(.system)` for a missing driver, compiler or card, with what brings it.
  package static func device(_ ordinal: Int) throws -> CUDADevice {
    try known.withLock { known in
      if let found = known[ordinal] { return found }
      let made = try CUDADevice(ordinal)
      known[ordinal] = made
      return made
    }
  }

  private init(_ ordinal: Int) throws {
    self.ordinal = ordinal
    driver = try CUDADriver()
    driverVersion = try driver.versionNumber()
    guard driverVersion >= 12000 else {
      throw ABNError(
        .system, "NVIDIA's driver",
        got: "CUDA \(driverVersion / 1000).\(driverVersion % 1000 / 10)", wanted: "12.0 or newer",
        fix: "Install a newer driver.")
    }
    var count: Int32 = 0
    try driver.check(driver.deviceCount(&count), "number of devices")
    guard (0..<Int(count)).contains(ordinal) else {
      throw ABNError(
        .attribute, "device cuda:\(ordinal)", got: "\(count) cards",
        wanted: count == 0 ? "a card" : "a number in 0..<\(count)",
        fix: "abn devices lists what there is.")
    }
    var handle: Int32 = 0
    try driver.check(driver.device(&handle, Int32(ordinal)), "device \(ordinal)")
    card = try CUDACard(driver, ordinal: handle)
    guard card.major >= 8 else {
      throw ABNError(
        .unsupported, "device cuda:\(ordinal)", got: "\(card.name), \(card.architecture)",
        wanted: "compute capability 8.0 or newer", fix: "Use another card, or the processor.")
    }
    compiler = try NVRTC(driverVersion: driverVersion)
    var made: CUDAHandle = nil
    try driver.check(driver.retainContext(&made, handle), "context of device \(ordinal)")
    context = made
    try driver.check(driver.setContext(context), "context of device \(ordinal)")
    // 1: does not wait for the default stream, which libraries may use.
    try driver.check(driver.makeStream(&made, 1), "stream")
    stream = made
    var address: DeviceAddress = 0
    try driver.check(driver.allocate(&address, 4 * Self.counterCount), "counters of barriers")
    counters = address
    try driver.check(driver.fill(address, 0, 4 * Self.counterCount, stream), "counters of barriers")
    var host: UnsafeMutableRawPointer?
    try driver.check(driver.allocateHost(&host, 64, 3), "memory that the card reaches")
    fault = host!.bindMemory(to: UInt32.self, capacity: 16)
    fault.pointee = 0
  }

  /// Makes the context the calling thread's.
  func activate() throws { try driver.check(driver.setContext(context), "context") }

  /// Waits for everything that was put on the stream.
  func synchronize() throws {
    // A stream that is being recorded cannot be waited for.
    try streamLock {
      try activate()
      try driver.check(driver.synchronizeStream(stream), "work on \(card.name)")
    }
    guard fault.pointee != 0 else { return }
    fault.pointee = 0
    throw ABNError(
      .data, "in-place layer on \(card.name)",
      got: "more channels than there is room for that z cannot give back (scale zero or tiny)",
      wanted: "memory of the host for them", fix: "Report it: there is to be room for all.")
  }

  /// Where kernels set that number.
  var faultAddress: DeviceAddress { DeviceAddress(UInt(bitPattern: fault)) }

  /// The kernel, compiled when it is asked for the first time.
  func kernel(_ source: KernelSource) throws -> CUDAKernel {
    try kernels.withLock { known in
      if let found = known[source] { return found }
      let made = try CUDAKernel(source, on: self)
      known[source] = made
      return made
    }
  }

  /// cuDNN, looked up when the first convolution is lowered.
  func cuDNN() throws -> CuDNN {
    try activate()
    return try convolutions.withLock { known in
      let found = try known ?? CuDNN()
      known = found
      return found
    }
  }

  /// cuBLASLt, looked up when the first product is lowered.
  func cuBLASLt() throws -> CuBLASLt {
    try activate()
    return try products.withLock { known in
      let found = try known ?? CuBLASLt()
      known = found
      return found
    }
  }

  /// Free and total bytes of the card now.
  func memoryInfo() throws -> (free: Int, total: Int) {
    try activate()
    var (free, total) = (0, 0)
    try driver.check(driver.memoryInfo(&free, &total), "memory of \(card.name)")
    return (free, total)
  }
}
