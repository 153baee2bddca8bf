import ABNTensors
import Foundation

/// Resident memory of this process, as the kernel counts it.
public enum ProcessMemory {
  /// The largest resident size so far (`VmHWM`), in bytes; nil where /proc does not tell.
  public static var peakBytes: Int? { field("VmHWM:") }

  /// The resident size now (`VmRSS`), in bytes.
  public static var residentBytes: Int? { field("VmRSS:") }

  /// The memory of the machine, or of the container where that has less, in bytes; nil where the
  /// system does not tell.
  public static var machineBytes: Int? {
    let (pages, pageBytes) = (sysconf(Int32(_SC_PHYS_PAGES)), sysconf(Int32(_SC_PAGESIZE)))
    let physical = pages > 0 && pageBytes > 0 ? pages * pageBytes : nil
    let limits = limitFiles.compactMap {
      (try? String(contentsOfFile: $0, encoding: .utf8)).flatMap(limit(in:))
    }
    return (limits + (physical.map { [$0] } ?? [])).min()
  }

  /// Where control groups say what a container may use, in their second and first version.
  private static let limitFiles = [
    "/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes",
  ]

  /// The bytes in such a file; nil for `max`.
  static func limit(in text: String) -> Int? {
    Int(text.trimmingCharacters(in: .whitespacesAndNewlines)).flatMap { $0 > 0 ? $0 : nil }
  }

  /// Checks a planned peak against the machine: an arena that is too large would be mapped, and the
  /// process ended by the kernel in the middle of a step.
  ///
  /// - Parameters:
  ///   - heldBytes: what the process holds beside the plan: its code, compiled steps, and data.
  ///   - largestBatch: the largest batch whose plan takes at most so many bytes; asked only where the
  ///     given one does not fit.
  /// - Throws: `ABNError(.system)` where it is more than the machine has, with the largest batch that
  ///   fits.
  static func require(
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
      fix: fitting.map { "The largest batch that fits is \($0)." }
        ?? "No batch of 2 images or more fits: choose a smaller model or smaller images.")
  }

  private static func field(_ name: String) -> Int? {
    guard let text = try? String(contentsOfFile: "/proc/self/status", encoding: .utf8) else {
      return nil
    }
    for line in text.split(separator: "\n") where line.hasPrefix(name) {
      let words = line.split(separator: " ", omittingEmptySubsequences: true)
      return words.compactMap { Int($0) }.first.map { $0 * 1024 }
    }
    return nil
  }
}

/// 1536 as `1.5 KiB`.
public func describeBytes(_ bytes: Int) -> String {
  var value = Double(bytes)
  var unit = 0
  let units = ["B", "KiB", "MiB", "GiB", "TiB"]
  while abs(value) >= 1024, unit < units.count - 1 {
    value /= 1024
    unit += 1
  }
  return unit == 0 ? "\(bytes) B" : String(format: "%.1f %@", value, units[unit])
}
