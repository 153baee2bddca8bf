import Foundation
import InPlaceABN
import Testing

/// A text that is compared with the one in the folder `Snapshots`, or replaces it where `ABN_RENEW_SNAPSHOTS` is 1.
struct Snapshot {
  let name: String
  let text: String

  private static let folder = URL(filePath: #filePath).deletingLastPathComponent()
    .appending(path: "Snapshots")
  private static let isRenewing = ProcessInfo.processInfo.environment["ABN_RENEW_SNAPSHOTS"] == "1"

  func check() throws {
    let file = Self.folder.appending(path: name + ".txt")
    if Self.isRenewing {
      try Data(text.utf8).write(to: file)
      return
    }
    guard let old = try? String(contentsOf: file, encoding: .utf8) else {
      Issue.record("\(name): no snapshot; scripts/snapshots makes it")
      return
    }
    guard old != text else { return }
    let (oldLines, newLines) = (lines(old), lines(text))
    let first = zip(oldLines, newLines).enumerated().first { $0.element.0 != $0.element.1 }?.offset
    let at = first ?? min(oldLines.count, newLines.count)
    let (before, after) = (
      at < oldLines.count ? oldLines[at] : "nothing", at < newLines.count ? newLines[at] : "nothing"
    )
    Issue.record(
      """
      \(name), line \(at + 1), was
        \(before)
      and is
        \(after)
      If that is meant: scripts/snapshots, and read the difference.
      """)
  }

  private func lines(_ text: String) -> [Substring] {
    text.split(separator: "\n", omittingEmptySubsequences: false)
  }
}

/// FNV-1a of a text.
func digest(_ text: String) -> String {
  var hash: UInt64 = 14_695_981_039_346_656_037
  for byte in text.utf8 { hash = (hash ^ UInt64(byte)) &* 1_099_511_628_211 }
  let digits = String(hash, radix: 16)
  return String(repeating: "0", count: 16 - digits.count) + digits
}
