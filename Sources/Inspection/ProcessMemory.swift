import ABNRuntime
import ABNTensors

/// Resident memory of this process, as the kernel counts it.
package enum ProcessMemory {
  /// The largest resident size so far (`VmHWM`), in bytes; nil where /proc does not tell.
  package static var peakBytes: Int? { MachineMemory.peakBytes }

  /// The resident size now (`VmRSS`), in bytes.
  package static var residentBytes: Int? { MachineMemory.residentBytes }

  /// The memory of the machine, or of the container where that has less, in bytes; nil where the
  /// system does not tell.
  package static var machineBytes: Int? { MachineMemory.bytes }

  /// Checks a planned peak against the memory that it is for: the machine's, or what is free of an
  /// accelerator's.
  ///
  /// - Throws: as `require(plannedPeakBytes:heldBytes:machineBytes:largestBatch:)`.
  package static func require(
    plannedPeakBytes: Int, in memory: any BackendMemory, largestBatch: (Int) throws -> Int?
  ) throws {
    guard let free = memory.bytesFree else {
      return try require(plannedPeakBytes: plannedPeakBytes, largestBatch: largestBatch)
    }
    guard plannedPeakBytes > free else { return }
    let fitting = try largestBatch(free)
    throw ABNError(
      .system, "memory of the device", got: "a planned peak of \(describeBytes(plannedPeakBytes))",
      wanted: "at most the \(describeBytes(free)) that are free", fix: advice(fitting))
  }

  private static func advice(_ fitting: Int?) -> String {
    fitting.map { "The largest batch that fits is \($0)." }
      ?? "No batch of 2 images or more fits: choose a smaller model or smaller images."
  }

  /// Checks a planned peak against the machine: an arena that is too large would be mapped, and the
  /// process ended by the kernel in the middle of a step.
  ///
  /// - Parameters:
  ///   - heldBytes: what the process holds beside the plan: its code, compiled steps, and data.
  ///   - largestBatch: the largest batch whose plan takes at most so many bytes; asked only where
  ///     the given one does not fit.
  /// - Throws: `ABNError(.system)` where it is more than the machine has, with the largest batch
  ///   that fits.
  package static func require(
    plannedPeakBytes: Int, heldBytes: Int = residentBytes ?? 0,
    machineBytes: Int? = machineBytes, largestBatch: (Int) throws -> Int?
  ) throws {
    guard let machineBytes, plannedPeakBytes > machineBytes - heldBytes else { return }
    let fitting = try largestBatch(machineBytes - heldBytes)
    throw ABNError(
      .system, "memory",
      got:
        "a planned peak of \(describeBytes(plannedPeakBytes)), beside \(describeBytes(heldBytes)) "
        + "that are in use",
      wanted: "at most the \(describeBytes(machineBytes)) of this machine",
      fix: advice(fitting))
  }
}
