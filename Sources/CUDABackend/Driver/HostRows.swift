import ABNTensors
import Synchronization

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

/// Memory of the host that kernels read and write, slowly: for what finds no room on the card. It
/// is asked for when a kernel runs that may need it; where the card reaches any memory of the
/// process, no page of it is taken before it is written.
final class HostRows: @unchecked Sendable {
  // Sendable: the address is behind a lock and does not change once it is there.
  let bytes: Int
  private let state = Mutex<UInt>(0)
  nonisolated(unsafe) private var release: (() -> Void)?

  init(bytes: Int) { self.bytes = bytes }

  deinit { release?() }

  /// The address, for the card.
  func address(_ device: CUDADevice) throws -> DeviceAddress {
    guard bytes > 0 else { return 0 }
    return try state.withLock { address in
      if address == 0 {
        let base = try device.card.readsHostMemory ? mapped() : pinned(device)
        address = UInt(bitPattern: base)
      }
      return DeviceAddress(address)
    }
  }

  private func mapped() throws -> UnsafeMutableRawPointer {
    let base = mmap(
      nil, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
    guard let base, base != MAP_FAILED else { throw failure(String(cString: strerror(errno))) }
    let bytes = bytes
    release = { munmap(base, bytes) }
    return base
  }

  private func pinned(_ device: CUDADevice) throws -> UnsafeMutableRawPointer {
    var base: UnsafeMutableRawPointer?
    // Portable and mapped: with one address space for host and card it is the card's address too.
    let status = device.driver.allocateHost(&base, bytes, 3)
    guard status == 0, let base else { throw failure(device.driver.text(of: status)) }
    release = {
      try? device.synchronize()
      _ = device.driver.freeHost(base)
    }
    return base
  }

  private func failure(_ reason: String) -> ABNError {
    ABNError(
      .system, "room for channels whose scale is zero", got: "\(reason) for \(bytes) bytes",
      wanted: "that much memory of the host", fix: "Use a smaller batch.")
  }
}
