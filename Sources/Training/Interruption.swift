import Foundation
import Synchronization

private let flag = Atomic<Bool>(false)

/// Ctrl-C as a wish to stop: training ends after the current step and saves.
public enum Interruption {
  /// Whether somebody has asked to stop.
  public static var isRequested: Bool { flag.load(ordering: .relaxed) }

  /// Turns the first SIGINT or SIGTERM into a wish; a second one ends the process at once.
  public static func install() {
    // Whoever started this process may have blocked them, and blocks are inherited.
    var signals = sigset_t()
    sigemptyset(&signals)
    for number in [SIGINT, SIGTERM] { sigaddset(&signals, number) }
    pthread_sigmask(SIG_UNBLOCK, &signals, nil)
    for number in [SIGINT, SIGTERM] {
      signal(number) { received in
        if flag.exchange(true, ordering: .relaxed) {
          signal(received, SIG_DFL)
          raise(received)
        }
      }
    }
  }

  /// Asks to stop, as Ctrl-C does.
  public static func request() { flag.store(true, ordering: .relaxed) }

  /// Forgets the wish.
  public static func reset() { flag.store(false, ordering: .relaxed) }
}
