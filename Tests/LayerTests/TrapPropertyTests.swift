import ABNTestSupport
import Foundation
import InPlaceABN
import Testing

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

/// Every layer and every public initializer, over ranks 0 to 6 and sizes up to 2^62, ends in a result or in
/// a typed error.
///
/// The cases run in a process of their own: a trap ends that one, and the case is known by what it wrote last.
@Suite struct TrapPropertyTests {
  @Test func layers() async {
    await #expect(processExitsWith: .success) {
      try Self.run("layers", 1500 * soakFactor) {
        try TrapLayers.all[$0.pick(TrapLayers.all.count)].check(&$0)
      }
    }
    Self.tellLast("layers")
  }

  /// What a program takes is compiled without a word about types, and runs.
  @Test func kinds() async {
    await #expect(processExitsWith: .success) {
      try Self.run("kinds", 1500 * soakFactor) {
        try TrapKinds.check(&$0)
        return true
      }
    }
    Self.tellLast("kinds")
  }

  @Test func initializers() async {
    await #expect(processExitsWith: .success) {
      try Self.run("initializers", 5000 * soakFactor) {
        try TrapInitializers.all[$0.pick(TrapInitializers.all.count)].check(&$0)
      }
    }
    Self.tellLast("initializers")
  }

  /// Every layer comes to a run now and then: the fuzz is not turned away at the door.
  @Test func everyLayerRuns() throws {
    for entry in TrapLayers.all {
      let ran = (0..<400).contains { number in
        var draw = Draw(seed: 99, number: UInt64(number))
        draw.extremes = 0
        return (try? entry.check(&draw)) == true
      }
      #expect(ran, "\(entry.name) was never run")
    }
  }

  /// The file in which the process of `layers` writes what it is about to do.
  private static func path(_ name: String, of process: pid_t) -> String {
    FileManager.default.temporaryDirectory.path + "/abn-trap-\(name)-\(process)"
  }

  private static func tellLast(_ name: String) {
    let path = path(name, of: getpid())
    defer { unlink(path) }
    guard let text = try? String(contentsOfFile: path, encoding: .utf8), text != "done" else {
      return
    }
    Issue.record("trap in \(text)")
  }

  private static func run(
    _ name: String, _ count: Int, _ body: (inout Draw) throws -> Bool
  ) throws {
    // A case that takes much more memory than it may, or does not end, is a fault too.
    for (resource, most) in [(RLIMIT_AS, UInt(8) << 30), (RLIMIT_CPU, UInt(60 * soakFactor))] {
      var limit = rlimit(rlim_cur: most, rlim_max: most)
      _ = setrlimit(Int32(resource.rawValue), &limit)
    }
    let file = open(path(name, of: getppid()), O_WRONLY | O_CREAT | O_TRUNC, 0o600)
    func note(_ text: String) {
      ftruncate(file, 0)
      _ = text.withCString { pwrite(file, $0, strlen($0), 0) }
    }
    for number in 0..<count {
      var draw = Draw(seed: soakSeed, number: UInt64(number))
      draw.note = { note("seed \(soakSeed), case \(number): \($0)") }
      do {
        _ = try body(&draw)
      } catch is ABNError {
        continue
      } catch {
        note("seed \(soakSeed), case \(number): an error of another type: \(error)")
        exit(3)
      }
    }
    note("done")
  }
}
