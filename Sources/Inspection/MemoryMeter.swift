import ABNRuntime

/// What a run takes of its backend's memory: of the process, as the kernel counts it, or of an
/// accelerator, whose free bytes become fewer.
package struct MemoryMeter {
  private let memory: any BackendMemory
  /// Free when the meter was made; nil where it is the memory of the process.
  private let freeBefore: Int?

  /// Begins before the first tensor of the run.
  package init(_ memory: any BackendMemory) {
    self.memory = memory
    freeBefore = memory.bytesFree
  }

  /// What is held now and is not the run's: the resident size of the process; of an accelerator 0,
  /// as what was taken before does not count.
  package var baseBytes: Int { freeBefore == nil ? ProcessMemory.residentBytes ?? 0 : 0 }

  /// The most that was held so far. An accelerator's is what is taken now: ask while the executor
  /// holds its arena.
  package var peakBytes: Int {
    guard let freeBefore, let free = memory.bytesFree else { return ProcessMemory.peakBytes ?? 0 }
    return freeBefore - free
  }
}
