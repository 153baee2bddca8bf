import ABNFormats
import Foundation
import Synchronization

private let flag = Atomic<Bool>(false)
/// Whether it was SIGINT or SIGTERM that asked: the next one ends the process.
private let isUrgent = Atomic<Bool>(false)
private let isInstalled = Atomic<Bool>(false)
/// When a step last ended, in seconds of the monotonic clock; the longest time between two ends.
private let lastStep = Atomic<Int>(0)
private let longestStep = Atomic<Int>(0)
/// What the timer was last set to, in seconds.
private let timer = Atomic<Int>(0)
/// What the first signal says. Set before the handlers are installed, and never freed.
nonisolated(unsafe) private var notice = UnsafeRawBufferPointer(start: nil, count: 0)

/// Ctrl-C as a request to stop: training ends after the current step and saves.
public enum Interruption {
  /// Whether somebody has asked to stop.
  public static var isRequested: Bool { flag.load(ordering: .relaxed) }

  /// How long a request waits for the next step, at least: a step that takes longer than twice the
  /// longest before it does not end, and then the process does.
  package static let patienceSeconds = 60

  /// Turns the first SIGINT, SIGTERM or SIGHUP into a request; a second one ends the process at
  /// once.
  ///
  /// A terminal that is closed sends SIGHUP more than once (the system does, and the shell), and so
  /// does a service manager after SIGTERM: SIGHUP asks, and never ends. Where it is ignored, by
  /// `nohup` for one, it stays so.
  ///
  /// The process ends too where no step ends within `patienceSeconds` of the first one, or of the
  /// step before, or within twice the time that the longest step took.
  ///
  /// - Parameter notice: is written to standard error at the first one: what happens now, and what
  ///   a second one would do.
  package static func install(notice text: String = "") {
    let bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: text.utf8.count, alignment: 1)
    bytes.copyBytes(from: text.utf8)
    notice = UnsafeRawBufferPointer(bytes)
    Uninterrupted.prepare()
    isInstalled.store(true, ordering: .relaxed)
    noteStep()
    // Whoever started this process may have blocked them, and blocks are inherited.
    var signals = sigset_t()
    sigemptyset(&signals)
    for number in [SIGINT, SIGTERM, SIGHUP, SIGALRM] { sigaddset(&signals, number) }
    for number in [SIGINT, SIGTERM] {
      signal(number) { received in
        if isUrgent.exchange(true, ordering: .relaxed) {
          Uninterrupted.endProcess(by: received)
        } else {
          ask()
        }
      }
    }
    let before = signal(SIGHUP) { _ in if !flag.load(ordering: .relaxed) { ask() } }
    if isIgnored(before) { signal(SIGHUP, before) }
    signal(SIGALRM) { _ in
      say("no step has ended for long: ending without saving\n")
      Uninterrupted.endProcess(by: SIGTERM)
    }
    pthread_sigmask(SIG_UNBLOCK, &signals, nil)
  }

  /// Lets SIGINT, SIGTERM and SIGHUP end the process before or after a file is written, not in
  /// between. For where nobody waits for a step. Those that are ignored stay so.
  package static func endBetweenFiles() {
    Uninterrupted.prepare()
    for number in [SIGINT, SIGTERM, SIGHUP] {
      let before = signal(number) { Uninterrupted.endProcess(by: $0) }
      if isIgnored(before) { signal(number, before) }
    }
  }

  /// SIG_IGN is a cast of 1, which Swift does not import.
  private static func isIgnored(_ handler: (@convention(c) (Int32) -> Void)?) -> Bool {
    unsafeBitCast(handler, to: Int.self) == 1
  }

  /// What the timer of a request was last set to; 0 where it never was.
  static var timerSeconds: Int { timer.load(ordering: .relaxed) }

  /// Tells that a step has ended, or another piece of work of about that length: a request waits
  /// on.
  static func noteStep() {
    let now = monotonicSeconds()
    let before = lastStep.exchange(now, ordering: .relaxed)
    if before > 0 { longestStep.max(now - before, ordering: .relaxed) }
    if isRequested && isInstalled.load(ordering: .relaxed) { armTimer() }
  }

  /// The work is done: nobody waits any more.
  static func finish() {
    lastStep.store(0, ordering: .relaxed)
    if isRequested && isInstalled.load(ordering: .relaxed) { alarm(0) }
  }

  /// Asks to stop, as Ctrl-C does.
  package static func request() { flag.store(true, ordering: .relaxed) }
}

// What follows is called by signal handlers: no allocation, no locks.

private func monotonicSeconds() -> Int {
  var time = timespec()
  clock_gettime(CLOCK_MONOTONIC, &time)
  return time.tv_sec
}

private func armTimer() {
  let seconds = max(Interruption.patienceSeconds, 2 * longestStep.load(ordering: .relaxed))
  timer.store(seconds, ordering: .relaxed)
  alarm(UInt32(clamping: seconds))
}

private func ask() {
  flag.store(true, ordering: .relaxed)
  if let text = notice.baseAddress { _ = write(2, text, notice.count) }
  armTimer()
}

private func say(_ text: StaticString) { _ = write(2, text.utf8Start, text.utf8CodeUnitCount) }
