import ABNRuntime
import ABNTensors
import Synchronization

/// The memory of a card.
final class CUDAMemory: BackendMemory {
  let device: CUDADevice
  private static let known = Mutex<[Int: CUDAMemory]>([:])

  private let staging: Staging

  private init(_ device: CUDADevice) throws {
    self.device = device
    staging = try Staging(device)
  }

  /// The memory of a card, the same object for every backend: what one program leaves there is
  /// where another one looks for it.
  static func memory(of device: CUDADevice) throws -> CUDAMemory {
    try known.withLock { known in
      if let found = known[device.ordinal] { return found }
      let made = try CUDAMemory(device)
      known[device.ordinal] = made
      return made
    }
  }

  /// What is free on the card now and what this process holds there is not told apart by the
  /// driver; so it is all that the card has.
  var capacity: Int? { device.card.totalBytes }

  var bytesFree: Int? { try? device.memoryInfo().free }

  func allocate(_ bytes: Int) throws -> UnsafeMutableRawPointer {
    try device.activate()
    var address: DeviceAddress = 0
    let status = device.driver.allocate(&address, bytes)
    guard status == 0, let pointer = UnsafeMutableRawPointer(bitPattern: UInt(address)) else {
      let free = (try? device.memoryInfo().free).map { "\($0) bytes free of " } ?? ""
      throw ABNError(
        .system, "memory of \(device.card.name)",
        got: "\(device.driver.text(of: status)): \(free)\(device.card.totalBytes)",
        wanted: "\(bytes) bytes", fix: "Use a smaller batch, or end what else holds the card.")
    }
    try fill(pointer, with: 0, count: bytes)
    return pointer
  }

  func deallocate(_ address: UnsafeMutableRawPointer, bytes: Int) {
    // What is still running may use the bytes.
    try? device.synchronize()
    _ = device.driver.free(place(address))
  }

  func copyIn(_ source: UnsafeRawBufferPointer, to target: UnsafeMutableRawPointer) throws {
    guard let base = source.baseAddress, !source.isEmpty else { return }
    try device.streamLock {
      try device.activate()
      try device.driver.check(
        device.driver.copyIn(place(target), base, source.count, device.stream),
        "copy to \(device.card.name)")
    }
    // The driver may still read pageable memory after the call.
    try synchronize()
  }

  func copyOut(_ source: UnsafeRawPointer, to target: UnsafeMutableRawBufferPointer) throws {
    guard let base = target.baseAddress, !target.isEmpty else { return }
    try device.streamLock {
      try device.activate()
      try device.driver.check(
        device.driver.copyOut(base, place(source), target.count, device.stream),
        "copy from \(device.card.name)")
    }
    try synchronize()
  }

  func fill(_ target: UnsafeMutableRawPointer, with byte: UInt8, count: Int) throws {
    guard count > 0 else { return }
    try device.streamLock {
      try device.activate()
      try device.driver.check(
        device.driver.fill(place(target), byte, count, device.stream), "filling \(count) bytes")
    }
  }

  func synchronize() throws { try device.synchronize() }

  var stages: Bool { true }

  func stage(_ source: UnsafeRawBufferPointer, to target: UnsafeMutableRawPointer) throws {
    try staging.stage(source, to: place(target))
  }

  func copyStaged(
    _ source: UnsafeRawPointer, to target: UnsafeMutableRawPointer, count: Int
  ) throws {
    try staging.copy(place(source), to: place(target), count: count)
  }

  var recordsSteps: Bool { true }

  func record(_ steps: () throws -> Void) throws -> (any RecordedSteps)? {
    try device.streamLock { try CUDAGraph(device, steps) }
  }

  private func place(_ pointer: UnsafeRawPointer) -> DeviceAddress {
    DeviceAddress(UInt(bitPattern: pointer))
  }
}

/// Steps that were recorded once, and are begun by one call.
final class CUDAGraph: RecordedSteps {
  private let device: CUDADevice
  private let executable: CUDAHandle

  /// Records what `steps` puts on the device's stream.
  init(_ device: CUDADevice, _ steps: () throws -> Void) throws {
    self.device = device
    let driver = device.driver
    try device.activate()
    // 2: relaxed, as libraries may ask the driver for something that cannot be recorded.
    try driver.check(driver.beginCapture(device.stream, 2), "recording steps")
    var graph: CUDAHandle = nil
    do {
      try steps()
    } catch {
      _ = driver.endCapture(device.stream, &graph)
      if graph != nil { _ = driver.destroyGraph(graph) }
      throw error
    }
    try driver.check(driver.endCapture(device.stream, &graph), "recorded steps")
    defer { _ = driver.destroyGraph(graph) }
    var made: CUDAHandle = nil
    try driver.check(driver.instantiate(&made, graph, 0), "recorded steps")
    executable = made
  }

  deinit {
    try? device.synchronize()
    _ = device.driver.destroyExecutableGraph(executable)
  }

  func run() throws {
    try device.streamLock {
      try device.activate()
      try device.driver.check(
        device.driver.launchGraph(executable, device.stream), "launch of recorded steps")
    }
  }
}
