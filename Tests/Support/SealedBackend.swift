import ABNCPUBackend
import ABNGraph
import ABNRuntime
import ABNTensors
import Synchronization

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

/// Memory that the host may touch only during a step and in the memory's own copies, as that of an
/// accelerator: at all other times an access ends the process (`SIGSEGV`).
package final class SealedMemory: BackendMemory {
  /// The bytes of each block by its address.
  private let blocks = Mutex<[UInt: Int]>([:])
  private let openings = Mutex(0)

  package init() {}

  package let capacity: Int? = nil

  /// Addresses of all blocks.
  package var addresses: [UnsafeMutableRawPointer] {
    blocks.withLock { $0.keys.sorted() }.map { UnsafeMutableRawPointer(bitPattern: $0)! }
  }

  package func allocate(_ bytes: Int) throws -> UnsafeMutableRawPointer {
    let address = mmap(nil, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)!
    guard address != MAP_FAILED else {
      throw ABNError(.system, "sealed memory", got: "\(errno)", wanted: "\(bytes) bytes")
    }
    blocks.withLock { $0[UInt(bitPattern: address)] = bytes }
    return address
  }

  package func deallocate(_ address: UnsafeMutableRawPointer, bytes: Int) {
    let known = blocks.withLock { $0.removeValue(forKey: UInt(bitPattern: address)) }
    precondition(known == bytes, "given back otherwise than it was taken")
    munmap(address, bytes)
  }

  package func copyIn(_ source: UnsafeRawBufferPointer, to target: UnsafeMutableRawPointer) {
    open { target.copyMemory(from: source.baseAddress!, byteCount: source.count) }
  }

  package func copyOut(_ source: UnsafeRawPointer, to target: UnsafeMutableRawBufferPointer) {
    open { target.copyMemory(from: UnsafeRawBufferPointer(start: source, count: target.count)) }
  }

  package func fill(_ target: UnsafeMutableRawPointer, with byte: UInt8, count: Int) {
    open { _ = memset(target, Int32(byte), count) }
  }

  package func synchronize() {}

  /// Calls `body` while the blocks may be touched.
  package func open<R>(_ body: () throws -> R) rethrows -> R {
    openings.withLock { count in
      if count == 0 { protect(PROT_READ | PROT_WRITE) }
      count += 1
    }
    defer {
      openings.withLock { count in
        count -= 1
        if count == 0 { protect(PROT_NONE) }
      }
    }
    return try body()
  }

  private func protect(_ protection: Int32) {
    blocks.withLock { blocks in
      for (address, bytes) in blocks {
        mprotect(UnsafeMutableRawPointer(bitPattern: address), bytes, protection)
      }
    }
  }

  /// Whether the host could read the byte at an address now: asked of the system, which answers with an
  /// error where an access of ours would end the process.
  package static func isReadable(_ address: UnsafeRawPointer) -> Bool {
    var ends: [Int32] = [0, 0]
    precondition(pipe(&ends) == 0)
    defer { for end in ends { close(end) } }
    return write(ends[1], address, 1) == 1
  }
}

/// A backend that lowers as another one does, to steps over a memory that is sealed outside them.
package struct SealedBackend: Backend {
  package let name = "sealed"
  package let sealed = SealedMemory()
  private let inner: any Backend

  package init(_ inner: any Backend = CPUBackend()) { self.inner = inner }

  package var memory: any BackendMemory { sealed }
  package var passes: [any ProgramPass] { inner.passes }
  package var threads: Int { inner.threads }
  package var turns: (any Turns)? { inner.turns }
  package func tableBytes(of program: Program) -> Int { inner.tableBytes(of: program) }

  package func lower(_ program: Program, fetches: [VariableID]) throws -> LoweredProgram {
    var lowered = try inner.lower(program, fetches: fetches)
    for index in lowered.steps.indices {
      let run = lowered.steps[index].run
      lowered.steps[index].run = { [sealed] pointers in try sealed.open { try run(pointers) } }
    }
    return lowered
  }
}
