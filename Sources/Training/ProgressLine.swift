import ABNTensors

/// How a run goes, on a terminal as one line that is written over, elsewhere as a line a pass.
///
/// The width is asked for on each drawing, so that the line fits after the window has been resized.
/// What wraps is erased where the terminal has broken the old line into several rows, as most do
/// when they get narrower.
package final class ProgressLine: TrainingObserver {
  private let isTerminal: Bool
  private let columns: () -> Int
  private let write: (String) -> Void
  private let interval: Duration
  private var text: ProgressText?
  private var last = ContinuousClock.now - .seconds(1)
  /// The columns that the line takes that stands there and is written over; 0: there is none.
  private var drawn = 0

  /// - Parameters:
  ///   - isTerminal: whether a line can be written over.
  ///   - columns: the width of the terminal now.
  ///   - write: takes what is to be shown.
  ///   - interval: how long a line stands at least before it is written over.
  package init(
    isTerminal: Bool, columns: @escaping () -> Int, write: @escaping (String) -> Void,
    interval: Duration = .milliseconds(100)
  ) {
    self.interval = interval
    (self.isTerminal, self.columns, self.write) = (isTerminal, columns, write)
  }

  package func began(_ run: RunRecord) { text = ProgressText(run) }

  package func step(_ record: StepRecord) {
    text?.add(record)
    draw()
  }

  package func validating(done: Int, count: Int) {
    text?.validate(done: done, count: count)
    draw()
  }

  package func epoch(_ record: EpochRecord) {
    text?.finish(record)
    guard let text else { return }
    keep(text.line, text.line(columns:))
  }

  package func ended(_ record: EndRecord) { finish() }

  /// Ends the line, so that what comes next begins on one of its own.
  package func finish() {
    if drawn > 0 { write("\n") }
    drawn = 0
  }

  private func draw() {
    guard let text else { return }
    draw(text.line(columns:))
  }

  /// Shows a line until the next one, if the last one has stood there long enough.
  private func draw(_ line: (Int) -> String) {
    guard isTerminal, last.duration(to: .now) >= interval else { return }
    put(line)
  }

  /// Shows a line that stays.
  private func keep(_ whole: String, _ line: (Int) -> String) {
    guard isTerminal else { return write(whole + "\n") }
    put(line)
    write("\n")
    drawn = 0
  }

  private func put(_ line: (Int) -> String) {
    last = .now
    let width = columns()
    // A line that reaches the last column goes on in the next row, where going back does not
    // erase it.
    let text = line(max(0, width - 1))
    let rowsAbove = width > 0 ? max(0, drawn - 1) / width : 0
    let back = rowsAbove > 0 ? "\r\u{1B}[\(rowsAbove)A\u{1B}[J" : "\r\u{1B}[K"
    write(back + text)
    drawn = max(1, TerminalText.columns(of: text))
  }
}
