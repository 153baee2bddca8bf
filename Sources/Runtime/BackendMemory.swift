import ABNGraph
import ABNTensors

/// The memory in which a backend's steps find their arguments: the host's, or an accelerator's.
///
/// The runtime adds offsets to its addresses and hands them to steps. It never reads or writes
/// through them: all that goes in or comes out is copied by these functions. Steps are begun in
/// order; a memory whose steps run on after they were begun has `copyIn`, `copyOut`, `fill` and
/// `synchronize` wait for them, so that for the caller everything happens in order.
public protocol BackendMemory: AnyObject, Sendable {
  /// How much one program may need, in bytes; nil where that is not known.
  var capacity: Int? { get }

  /// Bytes that are free now, where it is not the memory of the process; nil where it is.
  var bytesFree: Int? { get }

  /// Room for `bytes` bytes, at least one, at a multiple of 64. They are zero.
  ///
  /// - Throws: `ABNError(.system)` where there is not so much.
  func allocate(_ bytes: Int) throws -> UnsafeMutableRawPointer

  /// Gives back what `allocate` gave, of as many bytes.
  func deallocate(_ address: UnsafeMutableRawPointer, bytes: Int)

  /// Copies bytes of the host. When it returns, the host may change them.
  func copyIn(_ source: UnsafeRawBufferPointer, to target: UnsafeMutableRawPointer) throws

  /// Copies bytes to the host, after all steps begun so far. When it returns, they are there.
  func copyOut(_ source: UnsafeRawPointer, to target: UnsafeMutableRawBufferPointer) throws

  /// Sets `count` bytes to `byte`.
  func fill(_ target: UnsafeMutableRawPointer, with byte: UInt8, count: Int) throws

  /// Waits until all steps begun so far have ended.
  ///
  /// - Throws: what one of them failed with.
  func synchronize() throws

  /// Whether `stage` copies while steps run.
  var stages: Bool { get }

  /// Begins to copy bytes of the host to where no step that runs looks, beside the steps. When it
  /// returns, the host may change them.
  func stage(_ source: UnsafeRawBufferPointer, to target: UnsafeMutableRawPointer) throws

  /// Copies bytes within the memory, as a step: behind the steps begun before it, and behind the
  /// copies that were staged.
  func copyStaged(
    _ source: UnsafeRawPointer, to target: UnsafeMutableRawPointer, count: Int) throws

  /// Whether `record` records.
  var recordsSteps: Bool { get }

  /// Records the steps that `steps` begins, without running them, so that all of them are begun by
  /// one call later: at the same addresses, over whatever stands there then.
  ///
  /// - Returns: nil where this memory's steps are not recorded; then `steps` was not called.
  func record(_ steps: () throws -> Void) throws -> (any RecordedSteps)?
}

/// Steps that were recorded once: see `BackendMemory.record`.
public protocol RecordedSteps: AnyObject {
  /// Begins all of them.
  func run() throws
}

extension BackendMemory {
  /// nil: the process's own.
  package var bytesFree: Int? { nil }

  /// No: what is staged is copied at once.
  package var stages: Bool { false }

  /// Copies them.
  package func stage(
    _ source: UnsafeRawBufferPointer, to target: UnsafeMutableRawPointer
  ) throws { try copyIn(source, to: target) }

  /// Copies them.
  package func copyStaged(
    _ source: UnsafeRawPointer, to target: UnsafeMutableRawPointer, count: Int
  ) throws {
    try copyIn(UnsafeRawBufferPointer(start: source, count: count), to: target)
  }

  /// No.
  package var recordsSteps: Bool { false }

  /// None.
  package func record(_ steps: () throws -> Void) throws -> (any RecordedSteps)? { nil }

  /// A copy of bytes of this memory as a tensor.
  ///
  /// - Throws: `ABNError(.system)` where the host has no room for it; what the copy throws.
  func tensor(at address: UnsafeRawPointer, _ type: TensorType) throws -> Tensor {
    var tensor = try Tensor(uninitialized: type.shape, dtype: type.dtype).checked()
    try tensor.withUnsafeMutableBytes { if !$0.isEmpty { try copyOut(address, to: $0) } }
    return tensor
  }

  /// Copies the elements of a tensor into this memory.
  func copyIn(_ tensor: Tensor, to address: UnsafeMutableRawPointer) throws {
    try tensor.withUnsafeBytes { if !$0.isEmpty { try copyIn($0, to: address) } }
  }
}

/// Bytes of a memory, given back with the last reference to them.
final class MemoryBlock: @unchecked Sendable {
  // Sendable: nothing changes after init, and the bytes belong to whoever runs steps on them.
  let memory: any BackendMemory
  let base: UnsafeMutableRawPointer
  let bytes: Int

  /// Room for so many bytes, which are zero.
  init(_ wanted: Int, in memory: any BackendMemory) throws {
    self.memory = memory
    bytes = max(wanted, 1)
    base = try memory.allocate(bytes)
  }

  deinit { memory.deallocate(base, bytes: bytes) }
}
