#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif
import ABNTensors

/// One range of addresses for all temporaries of a run. Pages become resident when first touched.
final class Arena {
  private(set) var base: UnsafeMutableRawPointer?
  private(set) var bytes = 0
  /// Changes when the addresses do.
  private(set) var generation = 0

  /// Makes the arena at least this large; its contents are lost when it grows.
  func reserve(_ wanted: Int) throws {
    guard wanted > bytes else { return }
    release()
    let mapped = mmap(
      nil, wanted, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
    guard let mapped, mapped != MAP_FAILED else {
      throw ABNError(
        .system, "arena", got: "\(String(cString: strerror(errno))) for \(wanted) bytes",
        wanted: "that many bytes of address space", fix: "Use a smaller batch.")
    }
    base = mapped
    bytes = wanted
    generation += 1
  }

  private func release() {
    if let base { munmap(base, bytes) }
    base = nil
    bytes = 0
  }

  deinit { release() }
}
