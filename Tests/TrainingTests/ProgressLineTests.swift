import ABNTestSupport
import Foundation
import InPlaceABN
import Testing

@testable import ABNTraining

@Suite struct ProgressLineTests {
  private func record(_ step: Int, of stepsPerEpoch: Int) -> StepRecord {
    Records.step(step, stepsPerEpoch: stepsPerEpoch)
  }

  /// At every width the line has room, and what is worth most is in it.
  @Test func everyWidth() throws {
    for (epochs, steps, step) in [(3, 7, 1), (300, 1562, 99_000), (9_999_999, 9_999_999, 7)] {
      var text = ProgressText(
        Records.run("r", epochs: epochs, stepsPerEpoch: steps), seconds: { 1234 },
        peakBytes: { 5 << 30 })
      text.add(record(step, of: steps))
      let long = text.line
      for part in ["epoch ", "step ", "loss ", "lr ", "images/s", "data wait 1 %", " left"] {
        #expect(long.contains(part), "\(long)")
      }
      for columns in 0...200 {
        let line = text.line(columns: columns)
        #expect(line.count <= columns, "\(columns): \(line)")
        if columns >= long.count { #expect(line == long) }
        #expect(columns < 25 || line.contains("epoch "), "\(columns): \(line)")
      }
      // A terminal of 80 columns has all that is asked for.
      if epochs == 3 {
        let line = text.line(columns: 79)
        for part in ["epoch 1/3", "1/7", "loss 2.000", "acc 0.0 %", "1001/s", "wait 1 %", " left"] {
          #expect(line.contains(part), "\(line)")
        }
      }
      text.validate(done: 20, count: 50)
      #expect(text.line(columns: 79).contains("validating 20/50"))
      text.finish(Records.epoch(step / steps + 1, stepsPerEpoch: steps))
      if epochs == 3 {
        let line = text.line(columns: 79)
        for part in [
          "epoch 1/3", "loss 1.000", "held out: loss 0.125 acc 12.5 % top5 12.5 %  best",
        ] {
          #expect(line.contains(part), "\(line)")
        }
      }
      for columns in 40...200 {
        let line = text.line(columns: columns)
        #expect(line.count <= columns && line.contains("held out: loss"), "\(columns): \(line)")
      }
    }
  }

  @Test func numbers() throws {
    var text = ProgressText(Records.run("r", resumedStep: 2), seconds: { 10 })
    for step in 3...7 { text.add(record(step, of: 7)) }
    let loss = (3...7).reduce(0) { $0 + 2 / Double($1) } / 5
    #expect(text.line.contains(String(format: "step 7/7  loss %.4f", loss)), "\(text.line)")
    // Five steps took ten seconds, fourteen are left.
    #expect(text.line.contains("  0:28 left  "), "\(text.line)")
    // Accuracies that are not there are no zeros.
    let accuracy = [4.0, 5, 7].reduce(0) { $0 + 1 - 1 / $1 } / 3
    #expect(text.line.contains(String(format: "accuracy %.2f %%", accuracy * 100)), "\(text.line)")
    text.finish(Records.epoch(1))
    #expect(
      text.line.hasSuffix("held out: loss 0.1250 accuracy 12.50 % top5 12.50 %  best"),
      "\(text.line)")
    #expect(text.line.contains("loss 1.0000  accuracy 50.00 %"), "\(text.line)")
    text.add(record(8, of: 7))
    #expect(text.line.contains("epoch 2/3  step 1/7  loss 0.2500"), "\(text.line)")
  }

  /// Elsewhere than on a terminal a line a pass, whole.
  @Test func noTerminal() throws {
    var written = ""
    let line = ProgressLine(isTerminal: false, columns: { 20 }, write: { written += $0 })
    line.began(Records.run("r"))
    for step in 1...7 { line.step(record(step, of: 7)) }
    line.validating(done: 1, count: 2)
    #expect(written.isEmpty)
    line.epoch(Records.epoch(1))
    line.ended(Records.end)
    #expect(written.hasPrefix("epoch 1/3  step 7/7  loss 1.0000  accuracy 50.00 %"))
    #expect(written.hasSuffix("best\n") && written.count { $0 == "\n" } == 1)
  }

  /// A terminal that breaks its lines anew when its width changes, as most do.
  private struct Screen {
    private var width: Int
    /// Rows, and whether the next one is the rest of the same line.
    private var rows = [(text: "", goesOn: false)]
    private var row = 0
    private var column = 0

    init(width: Int) { self.width = width }

    /// What stands there, without the breaks of its width.
    var lines: [String] {
      var lines = [""]
      for row in rows {
        lines[lines.count - 1] += row.text
        if !row.goesOn { lines.append("") }
      }
      return lines.dropLast()
    }

    var columns: Int { width }

    mutating func resize(_ width: Int) {
      self.width = width
      rows = lines.flatMap { line -> [(text: String, goesOn: Bool)] in
        var pieces: [(text: String, goesOn: Bool)] = []
        var rest = Substring(line)
        repeat {
          pieces.append((String(rest.prefix(width)), rest.count > width))
          rest = rest.dropFirst(width)
        } while !rest.isEmpty
        return pieces
      }
      row = rows.count - 1
      column = rows[row].text.count
    }

    mutating func write(_ text: String) {
      var rest = Substring(text)
      while let first = rest.first {
        if let match = rest.prefixMatch(of: /\u{1B}\[(\d*)([AJK])/) {
          rest = rest[match.range.upperBound...]
          if match.2 == "A" { row -= Int(match.1) ?? 1 }
          if match.2 == "J" { rows.removeSubrange((row + 1)...) }
          if match.2 != "A" { rows[row] = (String(rows[row].text.prefix(column)), false) }
          continue
        }
        rest = rest.dropFirst()
        switch first {
        case "\r": column = 0
        case "\n": advance()
        default:
          if column == width {
            rows[row].goesOn = true
            advance()
          }
          rows[row].text = String(rows[row].text.prefix(column)) + String(first)
          column += 1
        }
      }
    }

    private mutating func advance() {
      (row, column) = (row + 1, 0)
      if row == rows.count { rows.append(("", false)) }
    }
  }

  /// Whatever the widths, what stands on the screen are the lines that stay, and the last one.
  @Test func resizing() throws {
    for seed in soakSeed..<soakSeed + UInt64(20 * soakFactor) {
      let random = CounterRandom(seed: seed, stream: 0x7072)
      var screen = Screen(width: 80)
      let line = ProgressLine(
        isTerminal: true, columns: { screen.columns }, write: { text in screen.write(text) },
        interval: .zero)
      line.began(Records.run("r", epochs: 3, stepsPerEpoch: 2))
      screen.write("$ abn train\n")
      for epoch in 1...3 {
        for step in 2 * epoch - 1...2 * epoch {
          line.step(record(step, of: 2))
          screen.resize(20 + Int(random.bits(UInt64(step)) % 100))
          #expect(screen.lines.count == epoch + 1, "seed \(seed): \(screen.lines)")
        }
        line.epoch(Records.epoch(epoch, stepsPerEpoch: 2))
      }
      let lines = screen.lines
      #expect(lines.count == 5 && lines[0] == "$ abn train" && lines[4].isEmpty, "\(lines)")
      #expect(lines[1...3].allSatisfy { $0.contains("held out") }, "seed \(seed): \(lines)")
    }
  }
}
