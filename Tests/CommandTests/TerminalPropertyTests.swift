import ABNTestSupport
import Foundation
import InPlaceABN
import Testing

/// The line of progress on a terminal: it never reaches the last column, so that the next one covers it.
@Suite(.serialized) struct TerminalPropertyTests {
  /// What the command writes to a terminal of this width.
  private func output(_ columns: Int, _ words: [String]) throws -> String {
    let place = try Workplace()
    var (main, side) = (Int32(-1), Int32(-1))
    var size = winsize(ws_row: 24, ws_col: UInt16(columns), ws_xpixel: 0, ws_ypixel: 0)
    try #require(openpty(&main, &side, nil, nil, &size) == 0)
    defer { close(main) }
    let process = Process()
    process.executableURL = URL(filePath: Workplace.command)
    process.arguments = words
    process.currentDirectoryURL = URL(filePath: place.path)
    process.environment = ProcessInfo.processInfo.environment.merging(["TERM": "xterm"]) { $1 }
    process.standardInput = FileHandle.nullDevice
    process.standardOutput = FileHandle.nullDevice
    process.standardError = FileHandle(fileDescriptor: side)
    try process.run()
    close(side)
    var bytes: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 4096)
    while true {
      let count = read(main, &buffer, buffer.count)
      // The other side is closed when the command has ended.
      if count <= 0 { break }
      bytes += buffer[..<count]
    }
    process.waitUntilExit()
    #expect(process.terminationStatus == 0)
    return String(decoding: bytes, as: UTF8.self)
  }

  private func check(_ columns: Int) throws {
    let text = try output(
      columns,
      ["train", "--model", "mlp", "--epochs", "3", "--output", "run", "--batch-size", "16"])
    let lines = text.components(separatedBy: "\r\u{1B}[K").dropFirst()
    #expect(lines.count > 3, "\(text)")
    for line in lines {
      let row = line.replacingOccurrences(of: "\r\n", with: "")
      #expect(row.count < columns, "\(columns) columns: \(row)")
      // The first to stay, and at the end of a pass what came out.
      let isCut = row.count == columns - 1
      #expect(isCut || row.contains(line == row ? "epoch " : "held out"), "\(columns): \(line)")
    }
    // A line of an epoch stays.
    #expect(lines.count { $0.hasSuffix("\r\n") } == 3, "\(text)")
  }

  @Test func eightyColumns() throws { try check(80) }

  @Test func anyWidth() throws {
    let random = CounterRandom(seed: soakSeed, stream: 0x7465)
    for number in 0..<UInt64(soakFactor) { try check(2 + Int(random.bits(number)) % 140) }
  }
}
