#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif
import ABNTensors

/// The host's memory: of every backend whose steps run on the processor.
package final class HostMemory: BackendMemory {
  /// The only one: bytes that one program leaves here are where another one looks for them.
  package static let shared = HostMemory()

  private init() {}

  /// What the machine has, or the container, or the shell's limits allow: see `MachineMemory`.
  package var capacity: Int? { MachineMemory.bytes }

  /// From this size on bytes are pages of their own, resident when first touched and zero until
  /// then, and given back to the system when they are freed.
  private static let mappedBytes = 64 << 10

  package func allocate(_ bytes: Int) throws -> UnsafeMutableRawPointer {
    if bytes < Self.mappedBytes {
      var made: UnsafeMutableRawPointer?
      let status = posix_memalign(&made, 64, bytes)
      guard status == 0, let made else { throw failure(bytes, status) }
      memset(made, 0, bytes)
      return made
    }
    let mapped = mmap(
      nil, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
    guard let mapped, mapped != MAP_FAILED else { throw failure(bytes, errno) }
    adviseLargePages(mapped, bytes)
    return mapped
  }

  package func deallocate(_ address: UnsafeMutableRawPointer, bytes: Int) {
    if bytes < Self.mappedBytes { free(address) } else { munmap(address, bytes) }
  }

  package func copyIn(_ source: UnsafeRawBufferPointer, to target: UnsafeMutableRawPointer) {
    if let base = source.baseAddress { target.copyMemory(from: base, byteCount: source.count) }
  }

  package func copyOut(_ source: UnsafeRawPointer, to target: UnsafeMutableRawBufferPointer) {
    target.baseAddress?.copyMemory(from: source, byteCount: target.count)
  }

  package func fill(_ target: UnsafeMutableRawPointer, with byte: UInt8, count: Int) {
    memset(target, Int32(byte), count)
  }

  /// Steps have ended when they return.
  package func synchronize() {}

  private func failure(_ bytes: Int, _ status: Int32) -> ABNError {
    ABNError(
      .system, "memory of a run", got: "\(String(cString: strerror(status))) for \(bytes) bytes",
      wanted: "that many bytes of address space", fix: "Use a smaller batch.")
  }

  /// Bytes of the system's large pages on x86-64 and arm64, and the size from which it is asked for
  /// them: less hardly holds a whole page, and fits the processor's table of pages anyway.
  private static let largePageBytes = 2 << 20
  private static let largeBytes = 8 << 20

  /// Fewer page faults, and a tenth less time for layers beyond the cache. Rounded inward, so that
  /// no byte outside becomes resident. Only advice: where it is not taken everything works too.
  private func adviseLargePages(_ base: UnsafeMutableRawPointer, _ bytes: Int) {
    guard bytes >= Self.largeBytes else { return }
    let page = UInt(Self.largePageBytes)
    let start = (UInt(bitPattern: base) + page - 1) / page * page
    let end = (UInt(bitPattern: base) + UInt(bytes)) / page * page
    guard start < end else { return }
    madvise(UnsafeMutableRawPointer(bitPattern: start), Int(end - start), MADV_HUGEPAGE)
  }
}
