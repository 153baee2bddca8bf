import Foundation
import InPlaceABN

extension ProgressLine {
  /// The progress of a run on standard error.
  static func onStandardError() -> ProgressLine {
    ProgressLine(isTerminal: Terminal.canGoBack, columns: { Terminal.columns }, write: writeError)
  }
}

/// The terminal at standard error.
enum Terminal {
  /// Whether a line can be written over: a terminal that cannot go back to its beginning gets
  /// lines, too.
  static var canGoBack: Bool {
    let kind = ProcessInfo.processInfo.environment["TERM"] ?? ""
    return isatty(2) == 1 && kind != "dumb" && !kind.isEmpty
  }

  /// The width, which may change at any time; 80 where it is not known.
  static var columns: Int { columns(of: 2) ?? 80 }

  /// The width of the terminal at a descriptor; nil where there is none.
  static func columns(of descriptor: Int32) -> Int? {
    var size = winsize()
    guard ioctl(descriptor, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0 else { return nil }
    return Int(size.ws_col)
  }
}
