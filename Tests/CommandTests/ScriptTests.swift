import Foundation
import Testing

/// The scripts, with tools beside them that only tell what they are asked.
@Suite struct ScriptTests {
  private static let root = URL(filePath: #filePath).deletingLastPathComponent()
    .deletingLastPathComponent().deletingLastPathComponent().path

  /// Paths among the arguments are those of the caller, wherever the script is.
  @Test(arguments: ["", "a folder with spaces"]) func trainRunsWhereItIsCalled(_ name: String)
    throws
  {
    let place = try Workplace()
    let folder = name.isEmpty ? place.path : place.path + "/" + name
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    func tool(_ name: String, _ text: String) throws {
      try place.write("tools/\(name)", Array("#!/bin/sh\n\(text)\n".utf8))
      chmod(place.path + "/tools/\(name)", 0o755)
    }
    try tool("clang", "exit 0")
    try tool("swift", #"case "$*" in *--show-bin-path*) echo "\#(place.path)/tools" ;; esac"#)
    try tool("abn", #"echo "in $(pwd): $*" >> "\#(place.path)/log""#)
    let process = Process()
    process.executableURL = URL(filePath: "/bin/sh")
    process.arguments = [
      "-c", #"PATH="$1:$PATH"; shift; exec "$@""#, "sh", place.path + "/tools",
      Self.root + "/scripts/train", "--data", "mnist:my data", "--output", "out",
    ]
    process.currentDirectoryURL = URL(filePath: folder)
    process.standardOutput = FileHandle.nullDevice
    try process.run()
    process.waitUntilExit()
    #expect(process.terminationStatus == 0)
    let lines = String(decoding: try place.data("log"), as: UTF8.self).split(separator: "\n")
    let real = URL(filePath: folder).resolvingSymlinksInPath().path
    #expect(
      lines.first
        == "in \(real): train --data digits --model lenet --norm inplace --data mnist:my data --output out"
    )
    #expect(lines.count == 3 && lines.allSatisfy { $0.hasPrefix("in \(real): ") }, "\(lines)")
  }
}
