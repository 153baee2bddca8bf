import ABNFormats
import ABNPlanning
import ABNRuntime
import ABNTensors

extension LoweredProgram {
  /// The bytes that a step reads and writes; scratch, which stays in the cache, is not counted.
  package func traffic(of step: Step) -> (read: Int, written: Int) {
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

/// One run as a file that Perfetto and chrome://tracing open: a JSON object in the trace event
/// format, one complete event ("ph": "X") for each step, times in microseconds.
package struct StepTrace: Sendable {
  /// One step of the run.
  package struct Event: Sendable, Hashable {
    /// The kind, and which of its steps.
    package let name: String
    /// The layer that it came from.
    package let layer: String
    /// The line of that layer, as `File.swift:12`; empty where it has none.
    package let source: String
    /// work or conversion.
    package let category: String
    /// Seconds since the run's first step began.
    package let start: Double
    /// How long it took, in seconds.
    package let seconds: Double
    /// Floating-point operators.
    package let flops: Int
    /// Bytes read and written.
    package let bytes: Int
  }

  /// The steps in order.
  package let events: [Event]

  /// The course of one run of a lowered program.
  ///
  /// - Throws: `ABNError(.program)` for a profile of another program.
  package init(_ lowered: LoweredProgram, _ profile: StepProfile) throws {
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
  package var json: String {
    func microseconds(_ seconds: Double) -> JSON {
      // Nanoseconds are what the clock counts.
      .number((seconds * 1e9).rounded() / 1000)
    }
    func rate(_ count: Int, _ seconds: Double) -> JSON {
      .number(seconds > 0 ? Double(count) / seconds / 1e9 : 0)
    }
    let steps = events.map { event in
      JSON.object([
        ("name", .string(event.name)), ("cat", .string(event.category)), ("ph", .string("X")),
        ("pid", .integer(1)), ("tid", .integer(1)), ("ts", microseconds(event.start)),
        ("dur", microseconds(event.seconds)),
        (
          "args",
          .object([
            ("layer", .string(event.layer)), ("source", .string(event.source)),
            ("flops", .integer(event.flops)), ("bytes", .integer(event.bytes)),
            ("GFLOP/s", rate(event.flops, event.seconds)),
            ("GB/s", rate(event.bytes, event.seconds)),
          ])
        ),
      ])
    }
    return JSON.object([("displayTimeUnit", .string("ms")), ("traceEvents", .array(steps))]).line
      + "\n"
  }
}
