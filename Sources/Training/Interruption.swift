import ABNFormats
import Foundation
import Synchronization

private let flag = Atomic<Bool>(false)
private let isInstalled = Atomic<Bool>(false)
/// When a step last ended, in seconds of the monotonic clock; the longest time between two ends.
private let lastStep = Atomic<Int>(0)
private let longestStep = Atomic<Int>(0)
/// What the timer was last set to, in seconds.
private let timer = Atomic<Int>(0)
/// What the first signal says. Set before the handlers are installed.
nonisolated(unsafe) private var notice: StaticString = ""

/// Ctrl-C as a request to stop: training ends after the current step and saves.
public enum Interruption {
  /// Whether somebody has asked to stop.
  public static var isRequested: Bool { flag.load(ordering: .relaxed) }

  /// How long a request waits for the next step, at least: a step that takes longer than twice the
  /// longest before it does not end, and then the process does.
  package static let patienceSeconds = 60

  /// Turns the first SIGINT or SIGTERM into a request; a second one ends the process at once.
  ///
  /// The process ends too where no step ends within `patienceSeconds` of the first one, or of the
  /// step before, or within twice the time that the longest step took.
  ///
  /// - Parameter notice: is written to standard error at the first one.
  package static func install(notice text: StaticString = "") {
    notice = text
    Uninterrupted.prepare()
    isInstalled.store(true, ordering: .relaxed)
    noteStep()
    // Whoever started this process may have blocked them, and blocks are inherited.
    var signals = sigset_t()
    sigemptyset(&signals)
    for number in [SIGINT, SIGTERM, SIGALRM] { sigaddset(&signals, number) }
    pthread_sigmask(SIG_UNBLOCK, &signals, nil)
    for number in [SIGINT, SIGTERM] {
      signal(number) { received in
        if flag.exchange(true, ordering: .relaxed) {
          Uninterrupted.endProcess(by: received)
        } else {
          say(notice)
          armTimer()
        }
      }
    }
    signal(SIGALRM) { _ in
      say("no step has ended for long: ending without saving\n")
      Uninterrupted.endProcess(by: SIGTERM)
    }
  }

  /// Lets SIGINT, SIGTERM and SIGHUP end the process before or after a file is written, not in
  /// between. For where nobody waits for a step. Those that are ignored stay so.
  package static func endBetweenFiles() {
    Uninterrupted.prepare()
    for number in [SIGINT, SIGTERM, SIGHUP] {
      let before = signal(number) { Uninterrupted.endProcess(by: $0) }
      // SIG_IGN is a cast of 1, which Swift does not import.
      if unsafeBitCast(before, to: Int.self) == 1 { signal(number, before) }
    }
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

  /// Forgets the request.
  package static func reset() { flag.store(false, ordering: .relaxed) }
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

private func say(_ text: StaticString) {
  if text.utf8CodeUnitCount > 0 { _ = write(2, text.utf8Start, text.utf8CodeUnitCount) }
}
