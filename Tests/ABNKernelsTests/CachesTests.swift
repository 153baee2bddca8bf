import Foundation
import Testing

@testable import ABNKernels

/// What is known of the machine's caches, and what follows from it.
@Suite struct CachesTests {
  /// What the system says of the processor; nil where it says nothing, or speaks of another processor than
  /// the process sees, as under an emulator.
  private static let expected: Int? = {
    func text(_ path: String) -> String? { try? String(contentsOfFile: path, encoding: .utf8) }
    guard let processor = text("/proc/cpuinfo"), processor.contains("vendor_id"),
      processor.contains(" avx2") == ABNInstructionSet.avx2.isSupported
    else { return nil }
    guard processor.contains("AuthenticAMD") || processor.contains("HygonGenuine") else { return 0 }
    let line = processor.split(separator: "\n").first { $0.hasPrefix("cpu family") }
    guard let line, let family = line.split(separator: " ").last.flatMap({ Int($0) }) else {
      return nil
    }
    if family < 0x17 { return 0 }
    guard let size = text("/sys/devices/system/cpu/cpu0/cache/index3/size"), size.hasSuffix("K\n")
    else { return nil }
    return Int(size.dropLast(2)).map { $0 << 10 }
  }()

  @Test(.enabled(if: expected != nil, "the system does not say what caches there are"))
  func theSharedCacheIsWhatTheSystemSays() {
    #expect(Caches.ofThisMachine.victimBytes == Self.expected)
  }

  @Test func withoutAVictimCacheRunsOfLargeTensorsAreFar() {
    let caches = Caches(sharedBytes: 1000)
    #expect(caches.prefetches(runs: 1 << 20, of: 1000))
    #expect(caches.prefetches(runs: 64, of: 1000))
    #expect(!caches.prefetches(runs: 64, of: 999))
    #expect(!caches.hold(next: 1, of: .max))
  }

  @Test func withOneShortRunsAreFarAndNextUnitsAreAskedFor() {
    let caches = Caches(sharedBytes: 1000, victimBytes: 4000, longRunBytes: 128)
    #expect(!caches.prefetches(runs: 128, of: 1000))
    #expect(caches.prefetches(runs: 127, of: 1000))
    #expect(!caches.prefetches(runs: 127, of: 999))
    #expect(caches.hold(next: 1000, of: 1000))
    #expect(!caches.hold(next: 1001, of: 1000))
    #expect(!caches.hold(next: 1000, of: 999))
  }

  @Test func rowsOfFewChannelsAreReadInOrder() {
    let plain = Caches(crossedBytes: 1000)
    #expect(plain.prefetches(rowsOf: 2, of: 1000))
    #expect(!plain.prefetches(rowsOf: 2, of: 999))
    let victim = Caches(crossedBytes: 1000, victimBytes: 4000)
    #expect(!victim.prefetches(rowsOf: 64, of: 1000))
    #expect(victim.prefetches(rowsOf: 65, of: 1000))
    #expect(!victim.prefetches(rowsOf: 65, of: 999))
  }

  /// Asked for is the unit after those that are worked on, if the cache has room for both.
  @Test func theNextUnitIsTheThreads() throws {
    let geometry = try ABNGeometry(outer: 4, channels: 12, spatial: 1024, layout: .channelSecond)
    var kernel = try ABNKernel(geometry: geometry, element: .float32, activation: .identity)
    let parameters = ABNParameters(scale: nil, bias: nil)
    func nextUnit(_ victim: Int, _ tensors: Int, _ parts: Int, step: Int = 1) -> Int {
      kernel.caches = Caches(victimBytes: victim)
      let engine = Engine(kernel, parameters, nil)
      return engine.nextUnit(tensors: tensors, parts: parts, step: step)
    }
    let unit = 4 * 1024 * 4
    #expect(nextUnit(0, 1, 1) == 0)
    #expect(nextUnit(4 * 2 * unit, 2, 1) == 1024)
    #expect(nextUnit(4 * 2 * unit - 4, 2, 1) == 0)
    #expect(nextUnit(4 * 4 * unit, 2, 2) == 1024)
    #expect(nextUnit(4 * 4 * unit, 2, 3) == 0)
    #expect(nextUnit(4 * 6 * unit, 2, 1, step: 3) == 3 * 1024)
    #expect(nextUnit(4 * 6 * unit - 4, 2, 1, step: 3) == 0)
    // No more units are worked on than there are.
    #expect(nextUnit(4 * 12 * unit, 1, .max) == 1024)
    #expect(nextUnit(4 * 12 * unit, 1, .max, step: 3) == 3 * 1024)
  }
}
