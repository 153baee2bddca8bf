import Foundation

/// What other programs did to this process while something was measured: whether a time is to be
/// trusted.
package struct MachineLoad: Sendable, Codable, Hashable {
  /// The processors that others used, in the mean: from 0 to the number there is; nil where Linux
  /// does not tell.
  package let otherProcessors: Double?
  /// The processors of the machine.
  package let processors: Int
  /// How long threads of this process were ready to run and had no processor, over the time times
  /// the threads; nil where Linux does not tell.
  package let waitingShare: Double?
  /// The threads that measured.
  package let threads: Int

  /// A load with these numbers.
  init(otherProcessors: Double?, processors: Int, waitingShare: Double?, threads: Int) {
    self.otherProcessors = otherProcessors
    self.processors = processors
    self.waitingShare = waitingShare
    self.threads = threads
  }

  /// Why the times are not to be trusted; nil where nothing speaks against them.
  ///
  /// Others may use the processors that the team leaves free, and a tenth of one more: the system
  /// itself takes some hundredths. Threads may wait for a thirtieth of the time.
  package var doubt: String? {
    let free = Double(max(0, processors - threads))
    if let otherProcessors, otherProcessors > free + 0.1 {
      return String(
        format: "other programs used %.1f of %d processors", otherProcessors, processors)
    }
    if let waitingShare, waitingShare > 1.0 / 30 {
      return String(
        format: "threads waited for a processor %.0f %% of the time", waitingShare * 100)
    }
    return nil
  }
}

/// Begins when it is made.
package struct LoadMeter {
  private let before = Sample()

  /// A meter that begins now.
  package init() {}

  /// The load since the beginning, for a team of so many threads.
  package func load(threads: Int) -> MachineLoad {
    let after = Sample()
    let seconds = max(after.seconds - before.seconds, 1e-3)
    var others: Double?
    if let end = after.busySeconds, let start = before.busySeconds {
      let own = after.ownSeconds - before.ownSeconds
      others = max(0, (end - start - own) / seconds)
    }
    var waiting: Double?
    if let end = after.waitedSeconds, let start = before.waitedSeconds {
      waiting = max(0, (end - start) / seconds / Double(max(threads, 1)))
    }
    return MachineLoad(
      otherProcessors: others, processors: ProcessInfo.processInfo.processorCount,
      waitingShare: waiting, threads: threads)
  }
}

/// Counters of Linux at one moment, in seconds.
private struct Sample {
  let seconds: Double
  /// All processors at work, for whomever: hosts that take the processor away are counted too.
  let busySeconds: Double?
  let ownSeconds: Double
  /// The threads of this process on a run queue.
  let waitedSeconds: Double?

  init() {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    seconds = Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
    ownSeconds = Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
    busySeconds = Self.busySeconds()
    waitedSeconds = Self.waitedSeconds()
  }

  /// The first line of /proc/stat: user, nice, system, idle, iowait, irq, softirq, steal, in ticks.
  private static func busySeconds() -> Double? {
    guard let text = try? String(contentsOfFile: "/proc/stat", encoding: .utf8),
      let line = text.split(separator: "\n").first
    else { return nil }
    let ticks = line.split(separator: " ").dropFirst().compactMap { Double($0) }
    guard ticks.count >= 8 else { return nil }
    return (ticks[0] + ticks[1] + ticks[2] + ticks[5] + ticks[6] + ticks[7])
      / Double(sysconf(Int32(_SC_CLK_TCK)))
  }

  /// The second number of each thread's schedstat: nanoseconds on a run queue.
  private static func waitedSeconds() -> Double? {
    let folder = "/proc/self/task"
    guard let threads = try? FileManager.default.contentsOfDirectory(atPath: folder) else {
      return nil
    }
    let waits = threads.compactMap { thread -> Double? in
      let path = "\(folder)/\(thread)/schedstat"
      guard let text = try? String(contentsOfFile: path, encoding: .utf8) else { return nil }
      return text.split(separator: " ").dropFirst().first.flatMap { Double($0) }
    }
    return waits.isEmpty ? nil : waits.reduce(0, +) * 1e-9
  }
}
