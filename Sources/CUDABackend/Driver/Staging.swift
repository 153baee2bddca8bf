import ABNTensors
import Synchronization

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

/// Copies from the host on a stream of their own, through memory of the host that the card can read
/// by itself (pinned), while steps run on the device's stream.
final class Staging: @unchecked Sendable {
  // Sendable: what changes is behind the lock.
  private let device: CUDADevice
  private let stream: CUDAHandle
  /// Recorded behind the copies that were staged; steps wait for it.
  private let staged: CUDAHandle
  /// Recorded behind the steps that read staged bytes; the next copies wait for it.
  private let taken: CUDAHandle

  /// A pinned buffer, and an event behind the copy that last read it.
  private struct Buffer {
    let base: UnsafeMutableRawPointer
    let bytes: Int
    let free: CUDAHandle
  }
  private struct State: @unchecked Sendable {
    /// By the address on the device that they are copied to.
    var buffers: [DeviceAddress: Buffer] = [:]
    var hasTaken = false
  }
  private let state = Mutex(State())

  init(_ device: CUDADevice) throws {
    self.device = device
    let driver = device.driver
    try device.activate()
    var made: CUDAHandle = nil
    // 1: does not wait for the default stream.
    try driver.check(driver.makeStream(&made, 1), "stream of copies")
    stream = made
    staged = try Self.event(driver)
    taken = try Self.event(driver)
  }

  /// An event without a time: CU_EVENT_DISABLE_TIMING.
  private static func event(_ driver: CUDADriver) throws -> CUDAHandle {
    var made: CUDAHandle = nil
    try driver.check(driver.makeEvent(&made, 2), "event")
    return made
  }

  /// Begins to copy bytes of the host; they may change when it returns.
  func stage(_ source: UnsafeRawBufferPointer, to target: DeviceAddress) throws {
    guard let base = source.baseAddress, !source.isEmpty else { return }
    try device.activate()
    let driver = device.driver
    try state.withLock { state in
      let buffer = try pinned(target, source.count, &state)
      try driver.check(driver.synchronizeEvent(buffer.free), "copies to \(device.card.name)")
      memcpy(buffer.base, base, source.count)
      if state.hasTaken {
        try driver.check(driver.wait(stream, taken, 0), "order of copies")
      }
      try driver.check(
        driver.copyIn(target, buffer.base, source.count, stream), "copy to \(device.card.name)")
      try driver.check(driver.recordEvent(buffer.free, stream), "order of copies")
      try driver.check(driver.recordEvent(staged, stream), "order of copies")
    }
  }

  /// Copies on the card, behind the steps begun so far and the copies that were staged.
  func copy(_ source: DeviceAddress, to target: DeviceAddress, count: Int) throws {
    guard count > 0 else { return }
    try device.activate()
    let driver = device.driver
    try device.streamLock {
      try state.withLock { state in
        try driver.check(driver.wait(device.stream, staged, 0), "order of copies")
        try driver.check(driver.copy(target, source, count, device.stream), "copy of feeds")
        try driver.check(driver.recordEvent(taken, device.stream), "order of copies")
        state.hasTaken = true
      }
    }
  }

  private func pinned(_ target: DeviceAddress, _ bytes: Int, _ state: inout State) throws -> Buffer
  {
    if let known = state.buffers[target], known.bytes >= bytes { return known }
    let driver = device.driver
    if let old = state.buffers.removeValue(forKey: target) {
      try driver.check(driver.synchronizeEvent(old.free), "copies to \(device.card.name)")
      _ = driver.freeHost(old.base)
      _ = driver.destroyEvent(old.free)
    }
    var base: UnsafeMutableRawPointer?
    try driver.check(
      driver.allocateHost(&base, bytes, 0), "\(bytes) bytes of pinned memory",
      fix: "Raise the limit of locked memory (ulimit -l), or use a smaller batch.")
    let made = Buffer(base: base!, bytes: bytes, free: try Self.event(driver))
    state.buffers[target] = made
    return made
  }
}
