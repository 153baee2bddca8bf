import ABNGraph
import ABNTensors

/// What a machine can do at best with memory: the rates that a step is held against.
package struct MachineRates: Sendable, Hashable {
  /// Bytes a second of reading memory.
  package let readRate: Double
  /// Bytes a second of changing memory in place, reads and writes counted.
  package let inPlaceRate: Double

  /// Rates in bytes a second.
  package init(readRate: Double, inPlaceRate: Double) {
    self.readRate = readRate
    self.inPlaceRate = inPlaceRate
  }

  /// The least time in which so many bytes are read and written, in seconds: what can be read and
  /// written in pairs at the rate of in-place changes, the rest at the rate of reading.
  package func seconds(reading: Int, writing: Int) -> Double {
    let pairs = min(reading, writing)
    return Double(2 * pairs) / inPlaceRate + Double(reading + writing - 2 * pairs) / readRate
  }
}

/// A backend that measures what its machine could do at best: the floor that benchmarks hold the
/// steps of a program against.
package protocol FloorMeasuring: Backend {
  /// The rates of the memory, measured now on all threads.
  func machineRates() throws -> MachineRates

  /// The time of each operator of a program that is held against itself alone and not against the
  /// bytes that it moves (convolutions, say), in seconds, by the operator's position in the
  /// program.
  func secondsAlone(of program: Program) throws -> [Int: Double]
}

extension Backend {
  /// The backend as one that measures floors.
  ///
  /// - Throws: `ABNError(.unsupported)` for one that does not.
  package func measuringFloors() throws -> any FloorMeasuring {
    if let measuring = self as? any FloorMeasuring { return measuring }
    throw ABNError(
      .unsupported, "floor", got: "the backend \(quoted(name)), which cannot measure its machine",
      wanted: "a backend that conforms to FloorMeasuring", fix: "Leave the floor out.")
  }
}
