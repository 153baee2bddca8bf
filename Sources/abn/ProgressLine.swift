import Foundation
import InPlaceABN

/// One line on standard error that is written over on a terminal; elsewhere a line an epoch.
final class ProgressLine {
  private let isTerminal: Bool
  private var last = ContinuousClock.now - .seconds(1)
  private var isOpen = false

  init() {
    // A terminal that cannot go back to the beginning of a line gets lines, too.
    let kind = ProcessInfo.processInfo.environment["TERM"] ?? ""
    isTerminal = isatty(2) == 1 && kind != "dumb" && !kind.isEmpty
  }

  func show(_ progress: TrainingProgress) {
    if !isTerminal {
      if progress.isEndOfEpoch { write(progress.line + "\n") }
    } else if progress.isEndOfEpoch || last.duration(to: .now) >= .milliseconds(100) {
      last = .now
      // A line that reaches the last column goes on in the next row, where going back does not
      // erase it.
      write("\r\u{1B}[K" + progress.line(columns: columns - 1))
      isOpen = !progress.isEndOfEpoch
      if !isOpen { write("\n") }
    }
  }

  func finish() {
    if isOpen { write("\n") }
  }

  /// The width of the terminal, which may change at any time; 80 where it is not known.
  private var columns: Int {
    var size = winsize()
    guard ioctl(2, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0 else { return 80 }
    return Int(size.ws_col)
  }

  private func write(_ text: String) { writeError(text) }
}
