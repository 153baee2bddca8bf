import ABNTensors
import Foundation
import Testing

@testable import ABNFormats

@Suite("A file appears whole or not at all")
struct AtomicFileTests {
  let folder: TemporaryFolder

  init() throws { folder = try TemporaryFolder() }

  @Test func writesANewFileAndLeavesNothingElse() throws {
    let path = folder.file("a.txt")
    try AtomicFile.write("eins, zwei, drei", to: path)
    #expect(try String(contentsOfFile: path, encoding: .utf8) == "eins, zwei, drei")
    #expect(try folder.contents == ["a.txt"])
  }

  @Test func writesThroughTheBufferInOrder() throws {
    let small = (0..<1000).map { UInt8(truncatingIfNeeded: $0 &* 7) }
    let large = (0..<3_000_000).map { UInt8(truncatingIfNeeded: $0 >> 3) }
    let path = folder.file("b")
    var expected: [UInt8] = []
    try AtomicFile.write(to: path) { writer in
      for part in [small, large, small, small, large, []] {
        try writer.write(part)
        expected += part
        #expect(writer.position == expected.count)
      }
    }
    #expect(try contents(of: path) == expected)
  }

  @Test func replacesAFileAndKeepsItsPermissions() throws {
    let path = folder.file("c")
    try AtomicFile.write([1, 2, 3, 4], to: path)
    try FileManager.default.setAttributes([.posixPermissions: 0o640], ofItemAtPath: path)
    try AtomicFile.write([9], to: path)
    #expect(try contents(of: path) == [9])
    let attributes = try FileManager.default.attributesOfItem(atPath: path)
    #expect(attributes[.posixPermissions] as? Int == 0o640)
  }

  @Test func followsALink() throws {
    let (path, link) = (folder.file("d"), folder.file("link"))
    try AtomicFile.write([1], to: path)
    try FileManager.default.createSymbolicLink(atPath: link, withDestinationPath: path)
    try AtomicFile.write([2], to: link)
    #expect(try contents(of: path) == [2])
    #expect(try FileManager.default.destinationOfSymbolicLink(atPath: link) == path)
  }

  @Test func aMistakeOfTheBodyLeavesTheOldFile() throws {
    struct Mistake: Error {}
    let path = folder.file("e")
    try AtomicFile.write([1, 2, 3], to: path)
    #expect(throws: Mistake.self) {
      try AtomicFile.write(to: path) { writer in
        try writer.write([UInt8](repeating: 7, count: 5_000_000))
        throw Mistake()
      }
    }
    #expect(try contents(of: path) == [1, 2, 3])
    #expect(try folder.contents == ["e"])
  }

  @Test func refusesWhatIsNoFileAndNamesThePath() throws {
    let missing = folder.file("no-such-folder/f")
    #expect(expectError(.file) { try AtomicFile.write([1], to: missing) }!.what.contains(missing))
    let error = expectError(.file) { try AtomicFile.write([1], to: folder.path) }
    #expect(error!.got == "a folder")
    expectError(.file) { try AtomicFile.write([1], to: "/dev/null") }
    expectError(.file) { try AtomicFile.write([1], to: "") }
    #expect(try folder.contents == [])
  }

  /// A disk that takes `room` bytes and then fails with `code`.
  private func brokenCalls(room: Int, code: Int32) -> FileCalls {
    var left = room
    var calls = FileCalls.system
    let real = calls.write
    calls.write = { descriptor, bytes, count in
      if left == 0 {
        errno = code
        return -1
      }
      let written = real(descriptor, bytes, min(count, left))
      left -= written
      return written
    }
    return calls
  }

  @Test(arguments: [0, 1, 999_999, 1_048_576, 2_999_999])
  func aFullDiskLeavesTheOldFile(room: Int) throws {
    let path = folder.file("g")
    try AtomicFile.write([1, 2, 3], to: path)
    let error = expectError(.file) {
      try AtomicFile.write(to: path, calls: brokenCalls(room: room, code: ENOSPC)) { writer in
        for _ in 0..<3000 { try writer.write([UInt8](repeating: 5, count: 1000)) }
      }
    }
    #expect(error!.what.contains(path))
    #expect(error!.got == "No space left on device")
    #expect(try contents(of: path) == [1, 2, 3])
    #expect(try folder.contents == ["g"])
  }

  @Test func shortAndInterruptedWritesGoOn() throws {
    var calls = FileCalls.system
    let real = calls.write
    var turn = 0
    calls.write = { descriptor, bytes, count in
      turn += 1
      if turn % 3 == 0 {
        errno = EINTR
        return -1
      }
      return real(descriptor, bytes, min(count, 1 + turn * 1000))
    }
    let bytes = (0..<300_000).map { UInt8(truncatingIfNeeded: $0 &* 31) }
    try AtomicFile.write(to: folder.file("h"), calls: calls) { try $0.write(bytes) }
    #expect(try contents(of: folder.file("h")) == bytes)
    #expect(turn > 20)
  }

  @Test func aFailureOfFlushOrRenameLeavesTheOldFile() throws {
    let path = folder.file("i")
    try AtomicFile.write([1], to: path)
    func fail(_ code: Int32) -> Int32 {
      errno = code
      return -1
    }
    var calls = FileCalls.system
    calls.sync = { _ in fail(EIO) }
    expectError(.file) { try AtomicFile.write(to: path, calls: calls) { try $0.write([2]) } }
    #expect(try contents(of: path) == [1])
    calls = .system
    calls.rename = { _, _ in fail(EACCES) }
    expectError(.file) { try AtomicFile.write(to: path, calls: calls) { try $0.write([2]) } }
    #expect(try contents(of: path) == [1])
    #expect(try folder.contents == ["i"])
  }

  /// The real system call fails: a process of its own may not write more than 64 KiB to a file.
  @Test func aRealLimitLeavesTheOldFile() async {
    await #expect(processExitsWith: .success) {
      let folder = try TemporaryFolder()
      let path = folder.file("j")
      try AtomicFile.write([1, 2, 3], to: path)
      signal(SIGXFSZ, SIG_IGN)
      var limit = rlimit(rlim_cur: 65536, rlim_max: 65536)
      try #require(setrlimit(__rlimit_resource_t(RLIMIT_FSIZE.rawValue), &limit) == 0)
      let error = expectError(.file) {
        try AtomicFile.write([UInt8](repeating: 1, count: 3_000_000), to: path)
      }
      #expect(error?.got == "File too large")
      #expect(try contents(of: path) == [1, 2, 3])
      #expect(try folder.contents == ["j"])
    }
  }
}
