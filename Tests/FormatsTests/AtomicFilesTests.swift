import ABNTensors
import ABNTestSupport
import Foundation
import Testing

@testable import ABNFormats

/// A model and its summary, old or new, in a folder.
struct Pair {
  let folder: String

  func write(_ text: String?, second: String? = nil, calls: FileCalls = .system) throws {
    func contents(_ text: String) -> (FileWriter) throws -> Void { { try $0.write(text) } }
    try AtomicFiles.write(
      [
        .init("model", contents: text.map(contents)), .init("note", contents: second.map(contents)),
      ],
      in: folder, calls: calls)
  }

  /// What the two files say; nil: there is no such file.
  var state: [String?] {
    ["model", "note"].map { try? String(contentsOfFile: "\(folder)/\($0)", encoding: .utf8) }
  }

  var entries: [String] {
    ((try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []).sorted()
  }
}

@Suite("Several files appear as one", .serialized)
struct AtomicFilesTests {
  let folder: TemporaryFolder
  let pair: Pair

  init() throws {
    folder = try TemporaryFolder()
    pair = Pair(folder: folder.path)
  }

  @Test(arguments: [
    ["a", "a"], ["../a", "b"], ["a", ""], ["."], ["b", ".."], ["a/b"], ["a\0b"],
  ])
  func namesThatAreNone(_ names: [String]) throws {
    let error = #expect(throws: ABNError.self) {
      try AtomicFiles.write(
        names.map { name in .init(name) { try $0.write("x") } }, in: folder.path)
    }
    #expect(error?.category == .file && pair.entries.isEmpty)
  }

  /// Whichever of the names is there, all stay.
  @Test func nothingIsReplacedUnasked() throws {
    func write(_ text: String, replacing: Bool) throws -> Bool {
      try AtomicFiles.write(
        ["model", "note"].map { name in .init(name) { try $0.write(text) } }, in: folder.path,
        replacing: replacing)
    }
    #expect(try write("a", replacing: false))
    #expect(pair.state == ["a", "a"])
    for name in ["model", "note"] {
      #expect(try !write("b", replacing: false))
      #expect(pair.entries.allSatisfy { !$0.hasSuffix(".tmp") })
      #expect(pair.state.compactMap { $0 } == pair.entries.map { _ in "a" })
      unlink("\(folder.path)/\(name)")
    }
    #expect(try write("c", replacing: false))
    #expect(try write("d", replacing: true))
    #expect(pair.state == ["d", "d"])
  }

  @Test(arguments: [true, false]) func writesReplacesAndRemoves(unnamed: Bool) throws {
    var calls = FileCalls.system
    calls.makesUnnamedFiles = unnamed
    try AtomicFile.write("else", to: folder.file("other"))
    try pair.write("a1", second: "a2", calls: calls)
    #expect(pair.state == ["a1", "a2"])
    try pair.write("b1", second: "b2", calls: calls)
    #expect(pair.state == ["b1", "b2"])
    try pair.write("c1", calls: calls)
    #expect(pair.state == ["c1", nil])
    try pair.write("d1", calls: calls)
    #expect(pair.state == ["d1", nil])
    try pair.write(nil, second: "e2", calls: calls)
    #expect(pair.state == [nil, "e2"])
    #expect(pair.entries == ["note", "other"])
    var status = stat()
    #expect(lstat(folder.file("note"), &status) == 0 && status.st_mode & S_IFMT == S_IFREG)
  }

  @Test func keepsPermissions() throws {
    try pair.write("a1", second: "a2")
    #expect(chmod(folder.file("note"), 0o640) == 0)
    try pair.write("b1", second: "b2")
    var status = stat()
    #expect(stat(folder.file("note"), &status) == 0 && status.st_mode & 0o777 == 0o640)
  }

  /// No hard links, as on FAT; and a name that is a link to a file on another disk.
  @Test(arguments: [true, false]) func worksWithoutLinks(unnamed: Bool) throws {
    var calls = FileCalls.system
    calls.makesUnnamedFiles = unnamed
    calls.link = { _, _ in
      errno = EPERM
      return -1
    }
    try pair.write("a1", second: "a2", calls: calls)
    try pair.write("b1", second: "b2", calls: calls)
    #expect(pair.state == ["b1", "b2"])
    try pair.write("c1", calls: calls)
    #expect(pair.state == ["c1", nil])
    #expect(pair.entries == ["model"])

    let elsewhere = try TemporaryFolder()
    for name in ["model", "note"] {
      try AtomicFile.write("old", to: elsewhere.file(name))
      unlink(folder.file(name))
      try FileManager.default.createSymbolicLink(
        atPath: folder.file(name), withDestinationPath: elsewhere.file(name))
    }
    try pair.write("d1", second: "d2")
    #expect(pair.state == ["d1", "d2"])
    #expect(try contents(of: elsewhere.file("note")) == Array("d2".utf8))
    #expect(try elsewhere.contents == ["model", "note"])
    #expect(pair.entries == ["model", "note"])
  }

  /// Every call that can fail does, one after the other.
  @Test(arguments: [true, false], [true, false])
  func aFailureLeavesAllOrNothing(unnamed: Bool, hasLinks: Bool) throws {
    var isOver = false
    var number = 0
    while !isOver {
      number += 1
      try pair.write("a1", second: "a2")
      var calls = FileCalls.counting { $0 == number ? EIO : nil }
      calls.calls.makesUnnamedFiles = unnamed
      if !hasLinks {
        calls.calls.link = { _, _ in
          errno = EPERM
          return -1
        }
      }
      do {
        try pair.write("b1", second: "b2", calls: calls.calls)
        isOver = calls.count < number
        #expect(!isOver || pair.state == ["b1", "b2"])
      } catch {
        #expect(error is ABNError)
        let wanted: [[String?]] =
          hasLinks ? [["a1", "a2"], ["b1", "b2"]] : [["a1", "a2"], ["b1", "b2"], ["b1", nil]]
        #expect(wanted.contains(pair.state), "call \(number): \(pair.state)")
      }
      TemporaryFiles.removeAbandoned(in: folder.path)
      #expect(pair.entries.filter { $0 != "note" } == ["model"], "call \(number)")
    }
    #expect(number > 8)
  }

  /// Several writers of one folder: the last one's files are there, both, and nothing else.
  @Test func writersTakeTurns() throws {
    let pair = pair
    DispatchQueue.concurrentPerform(iterations: 4) { writer in
      for turn in 0..<6 {
        let text = "\(writer) \(turn)"
        #expect(throws: Never.self) { try pair.write(text, second: text) }
      }
    }
    let state = pair.state
    #expect(state[0] != nil && state[0] == state[1], "\(state)")
    #expect(pair.entries == ["model", "note"])
  }

  @Test func aMistakeOfTheContentsLeavesTheOldFiles() throws {
    struct Mistake: Error {}
    try pair.write("a1", second: "a2")
    #expect(throws: Mistake.self) {
      try AtomicFiles.write(
        [
          .init("model") { try $0.write("b1") }, .init("note") { _ in throw Mistake() },
        ], in: folder.path)
    }
    #expect(pair.state == ["a1", "a2"] && pair.entries == ["model", "note"])
  }

  /// The process is killed at each of its calls to the system: both files are old, or both new, at
  /// once and after the next run, which leaves nothing else.
  @Test func aKillLeavesAllOrNothing() async throws {
    let places = KillOrder.places
    try? FileManager.default.removeItem(atPath: places)
    defer { try? FileManager.default.removeItem(atPath: places) }
    var number = 0
    var states: Set<[String?]> = []
    while true {
      number += 1
      try pair.write("a1", second: "a2")
      try AtomicFile.write("\(number)\n\(folder.path)", to: places)
      let result = await #expect(processExitsWith: KillOrder.endings(number)) {
        try KillOrder.obey()
      }
      guard result != nil else { return }
      let state = pair.state
      #expect([["a1", "a2"], ["b1", "b2"]].contains(state), "call \(number): \(state)")
      states.insert(state)
      TemporaryFiles.removeAbandoned(in: folder.path)
      #expect(pair.state == state, "call \(number)")
      #expect(pair.entries == ["model", "note"], "call \(number)")
      if number > KillOrder.callCount { break }
    }
    #expect(states.count == 2)
  }
}

/// What a child process is to do, in a file that is named after its parent.
enum KillOrder {
  static var places: String { path(of: getpid()) }

  /// The calls of one change of two files; one more is not reached.
  static let callCount: Int = {
    let folder = try! TemporaryFolder()
    let pair = Pair(folder: folder.path)
    try! pair.write("a1", second: "a2")
    let calls = FileCalls.counting { _ in nil }
    try! pair.write("b1", second: "b2", calls: calls.calls)
    return calls.count
  }()

  static func endings(_ number: Int) -> ExitTest.Condition {
    number <= callCount ? .signal(SIGKILL) : .success
  }

  private static func path(of process: pid_t) -> String {
    FileManager.default.temporaryDirectory.path + "/abn-kill-\(process)"
  }

  /// Changes both files and ends itself at the call of the number in the order.
  static func obey() throws {
    let order = try String(contentsOfFile: path(of: getppid()), encoding: .utf8)
      .split(separator: "\n", maxSplits: 1)
    let number = try #require(Int(order[0]))
    let calls = FileCalls.counting { call in
      if call == number { kill(getpid(), SIGKILL) }
      return nil
    }
    try Pair(folder: String(order[1])).write("b1", second: "b2", calls: calls.calls)
  }
}

/// Calls to the system that are counted.
final class CountedCalls {
  fileprivate(set) var count = 0
  var calls = FileCalls.system
}

extension FileCalls {
  /// Real calls, before each of which `body` gets its number, from 1, and may give an error for it.
  static func counting(_ body: @escaping (Int) -> Int32?) -> CountedCalls {
    let counted = CountedCalls()
    func fails() -> Bool {
      counted.count += 1
      guard let code = body(counted.count) else { return false }
      errno = code
      return true
    }
    let real = FileCalls.system
    counted.calls.write = { fails() ? -1 : real.write($0, $1, $2) }
    counted.calls.sync = { fails() ? -1 : real.sync($0) }
    counted.calls.rename = { fails() ? -1 : real.rename($0, $1) }
    counted.calls.link = { fails() ? -1 : real.link($0, $1) }
    return counted
  }
}

@Suite("Temporaries without an owner")
struct TemporaryFilesTests {
  let folder: TemporaryFolder

  init() throws { folder = try TemporaryFolder() }

  @Test func namesOfTemporaries() {
    for name in [".abn-0.tmp", ".abn-7f3a90bc.tmp", ".abn-ffffffffffffffff.tmp"] {
      #expect(TemporaryFiles.isTemporary(name))
    }
    for name in [
      ".abn-.tmp", ".abn-x.tmp", ".abn-7F.tmp", ".abn-12345678901234567.tmp", "a.abn-1.tmp",
      ".abn-1.tmp2", "abn-1.tmp", ".abn-1", ".tmp", "",
    ] {
      #expect(!TemporaryFiles.isTemporary(name), "\(name)")
    }
    for _ in 0..<100 { #expect(TemporaryFiles.isTemporary(TemporaryFiles.newName())) }
  }

  @Test func onlyWhatNobodyOwnsIsRemoved() throws {
    let kept = ["model", ".writable", ".abn-mine.tmp", "x.tmp", ".abn-11.tmp"]
    try AtomicFile.write("user", to: folder.file("model"))
    try AtomicFile.write("user", to: folder.file(".writable"))
    try AtomicFile.write("user", to: folder.file(".abn-mine.tmp"))
    try AtomicFile.write("user", to: folder.file("x.tmp"))
    // A link, and what it leads to, stay.
    try FileManager.default.createSymbolicLink(
      atPath: folder.file(".abn-11.tmp"), withDestinationPath: folder.file("model"))
    try AtomicFile.write("left", to: folder.file(".abn-22.tmp"))
    mkdir(folder.file(".abn-33.tmp"), 0o777)
    mkdir(folder.file(".abn-33.tmp/new"), 0o777)
    try AtomicFile.write("left", to: folder.file(".abn-33.tmp/new/model"))
    // One that a living process holds.
    var calls = FileCalls.system
    calls.makesUnnamedFiles = false
    let pending = try PendingFile(folder.file("later"), calls: calls)
    let before = try folder.contents
    #expect(before.count == 8)
    TemporaryFiles.removeAbandoned(in: folder.path)
    let after = try folder.contents
    #expect(Set(after).isSuperset(of: kept) && after.count == 6, "\(after)")
    #expect(try contents(of: folder.file("model")) == Array("user".utf8))
    try pending.write { try $0.write("done") }
    try pending.publish()
    #expect(try contents(of: folder.file("later")) == Array("done".utf8))
  }

  /// Where files need no names nothing is there to be left behind.
  @Test func aFileHasNoNameUntilItIsComplete() throws {
    let path = folder.file("a")
    try AtomicFile.write(to: path) { writer in
      try writer.write([UInt8](repeating: 1, count: 3_000_000))
      let names = try FileManager.default.contentsOfDirectory(atPath: folder.path)
      #expect(names.allSatisfy { TemporaryFiles.isTemporary($0) })
      if !names.isEmpty { print("skipped: files of this file system always have names") }
    }
    #expect(try folder.contents == ["a"])
  }

  @Test func newFoldersAreFlushedInTheirParents() throws {
    var flushed: [String] = []
    var calls = FileCalls.system
    calls.sync = { descriptor in
      let path = try? FileManager.default.destinationOfSymbolicLink(
        atPath: "/proc/self/fd/\(descriptor)")
      flushed.append(path ?? "")
      return fsync(descriptor)
    }
    try Folder.make(folder.file("one/two/three"), calls: calls)
    #expect(flushed == [folder.path, folder.file("one"), folder.file("one/two")])
    flushed = []
    try Folder.make(folder.file("one/two"), calls: calls)
    #expect(flushed.isEmpty)
    // A slash is a slash, whatever accent follows it.
    try Folder.make(folder.file("four/\u{301}five"), calls: calls)
    #expect(FileManager.default.fileExists(atPath: folder.file("four")))
  }
}

@Suite("What cannot be replaced is found before")
struct ReplaceableTests {
  let folder: TemporaryFolder

  init() throws { folder = try TemporaryFolder() }

  @Test func whatCanBeReplacedStaysAsItIs() throws {
    try AtomicFile.write("old", to: folder.file("model"))
    try FileManager.default.createSymbolicLink(
      atPath: folder.file("link"), withDestinationPath: folder.file("model"))
    for name in ["model", "link", "new"] { try AtomicFile.check(folder.file(name)) }
    #expect(try contents(of: folder.file("model")) == Array("old".utf8))
    #expect(try folder.contents == ["link", "model"])
  }

  @Test func whatIsNoFileIsFound() throws {
    mkfifo(folder.file("pipe"), 0o666)
    mkdir(folder.file("sub"), 0o777)
    try FileManager.default.createSymbolicLink(
      atPath: folder.file("null"), withDestinationPath: "/dev/null")
    for name in ["pipe", "sub", "null", "absent/model", "pipe/model"] {
      let error = expectError(.file) { try AtomicFile.check(folder.file(name)) }
      #expect(error?.what.contains(name) == true)
    }
    expectError(.file) { try AtomicFile.check("/proc/abn-model") }
    #expect(try folder.contents == ["null", "pipe", "sub"])
  }

  /// Another user's file in a folder like `/tmp`; needs two users.
  @Test(.enabled(if: geteuid() == 0, "only root can be two users"))
  func anotherUsersFileIsFound() async {
    await #expect(processExitsWith: .success) {
      let folder = try TemporaryFolder()
      try AtomicFile.write("theirs", to: folder.file("model"))
      try #require(chmod(folder.path, 0o1777) == 0)
      try AtomicFile.check(folder.file("model"))
      try #require(seteuid(65534) == 0)
      let error = expectError(.file) { try AtomicFile.check(folder.file("model")) }
      #expect(error?.what.contains("cannot be replaced") == true)
      expectError(.file) { try AtomicFile.write("mine", to: folder.file("model")) }
      try AtomicFile.check(folder.file("new"))
      try #require(seteuid(0) == 0)
      #expect(try folder.contents == ["model"])
    }
  }

  /// A file that may not be changed (`chattr +i`); needs a file system that has such.
  @Test(.enabled(if: geteuid() == 0, "only root can protect a file"))
  func aProtectedFileIsFound() throws {
    let path = folder.file("model")
    try AtomicFile.write("old", to: path)
    func change(_ flag: String) -> Bool {
      let process = Process()
      process.executableURL = URL(filePath: "/usr/bin/env")
      process.arguments = ["chattr", flag, path]
      process.standardError = FileHandle.nullDevice
      guard (try? process.run()) != nil else { return false }
      process.waitUntilExit()
      return process.terminationStatus == 0
    }
    guard change("+i") else {
      print("skipped: this file system protects no files")
      return
    }
    defer { _ = change("-i") }
    let error = expectError(.file) { try AtomicFile.check(path) }
    #expect(error?.got == "Operation not permitted")
    #expect(try folder.contents == ["model"])
  }
}
