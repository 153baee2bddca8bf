import ABNPlanning
import ABNTensors

extension LoweredProgram {
  /// The bytes that a step reads and writes; scratch, which stays in the cache, is not counted.
  public func traffic(of step: Step) -> (read: Int, written: Int) {
    var (read, written) = (0, 0)
    for argument in step.arguments {
      let buffer = buffers[argument.buffer.index]
      if step.purpose == .work && buffer.use == .scratch { continue }
      if argument.access != .write { read += buffer.bytes }
      if argument.access != .read { written += buffer.bytes }
    }
    return (read, written)
  }
}

/// One run as a file that Perfetto and chrome://tracing open: a JSON object in the trace event format,
/// one complete event ("ph": "X") for each step, times in microseconds.
public struct StepTrace: Sendable {
  /// One step of the run.
  public struct Event: Sendable, Hashable {
    /// The kind, and which of its steps.
    public let name: String
    /// The layer that it came from.
    public let layer: String
    /// The line of that layer, as `File.swift:12`; empty where it has none.
    public let source: String
    /// work or conversion.
    public let category: String
    /// Seconds since the run's first step began.
    public let start: Double
    /// How long it took, in seconds.
    public let seconds: Double
    /// Floating-point operations.
    public let flops: Int
    /// Bytes read and written.
    public let bytes: Int
  }

  /// The steps in order.
  public let events: [Event]

  /// The course of one run of a lowered program.
  ///
  /// - Throws: `ABNError(.program)` for a profile of another program.
  public init(_ lowered: LoweredProgram, _ profile: StepProfile) throws {
    guard lowered.steps.count == profile.times.count else {
      throw ABNError(
        .program, "trace", got: "a profile of \(profile.times.count) steps",
        wanted: "one of the program's \(lowered.steps.count)")
    }
    events = zip(lowered.steps, profile.times).map { step, time in
      let traffic = lowered.traffic(of: step)
      return Event(
        name: step.name, layer: step.layer, source: step.source.map { "\($0)" } ?? "",
        category: step.purpose == .work ? "work" : "conversion", start: time.lowerBound,
        seconds: time.upperBound - time.lowerBound, flops: step.flops,
        bytes: traffic.read + traffic.written)
    }
  }

  /// The file's text.
  public var json: String {
    func number(_ seconds: Double) -> String {
      // Nanoseconds are what the clock counts.
      let nanoseconds = Int((seconds * 1e9).rounded())
      let rest = String(nanoseconds % 1000)
      return "\(nanoseconds / 1000).\(String(repeating: "0", count: 3 - rest.count))\(rest)"
    }
    let lines = events.map { event in
      let rates =
        event.seconds > 0
        ? (Double(event.flops) / event.seconds / 1e9, Double(event.bytes) / event.seconds / 1e9)
        : (0, 0)
      return """
        {"name": \(quoted(event.name)), "cat": "\(event.category)", "ph": "X", "pid": 1, "tid": 1, \
        "ts": \(number(event.start)), "dur": \(number(event.seconds)), "args": {"layer": \
        \(quoted(event.layer)), "source": \(quoted(event.source)), "flops": \(event.flops), \
        "bytes": \(event.bytes), "GFLOP/s": \(rates.0), "GB/s": \(rates.1)}}
        """
    }
    return """
      {"displayTimeUnit": "ms", "traceEvents": [
      \(lines.joined(separator: ",\n"))
      ]}

      """
  }
}
