import ABNTensors

/// One range of addresses for all temporaries of a run.
final class Arena {
  let memory: any BackendMemory
  private var block: MemoryBlock?
  /// Changes when the addresses do.
  private(set) var generation = 0

  /// An arena without bytes.
  init(_ memory: any BackendMemory) { self.memory = memory }

  var base: UnsafeMutableRawPointer? { block?.base }

  /// Makes the arena at least this large; its contents are lost when it grows.
  func reserve(_ wanted: Int) throws {
    guard wanted > block?.bytes ?? 0 else { return }
    // Before the new one is there: both may be more than there is room for.
    block = nil
    block = try MemoryBlock(wanted, in: memory)
    generation += 1
  }
}
