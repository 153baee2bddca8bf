import Foundation
import Testing

@testable import ABNKernels

/// What is known of the machine's caches, and what follows from it.
@Suite struct CachesTests {
  /// The system's own words about the processor, where it has them.
  private func text(_ path: String) -> String? {
    try? String(contentsOfFile: path, encoding: .utf8)
  }

  @Test func theSharedCacheIsWhatTheSystemSays() throws {
    let here = Caches.ofThisMachine.victimBytes
    guard let processor = text("/proc/cpuinfo"), processor.contains("vendor_id") else { return }
    guard processor.contains("AuthenticAMD") || processor.contains("HygonGenuine") else {
      #expect(here == 0)
      return
    }
    let level = text("/sys/devices/system/cpu/cpu0/cache/index3/size")
    guard let level, level.hasSuffix("K\n"), let kibibytes = Int(level.dropLast(2)) else { return }
    #expect(here == kibibytes << 10)
  }

  @Test func withoutAVictimCacheRunsOfLargeTensorsAreFar() {
    let caches = Caches(sharedBytes: 1000)
    #expect(caches.areFar(runs: 1 << 20, of: 1000))
    #expect(caches.areFar(runs: 64, of: 1000))
    #expect(!caches.areFar(runs: 64, of: 999))
    #expect(!caches.hold(next: 1, of: .max))
  }

  @Test func withOneShortRunsAreFarAndNextUnitsAreAskedFor() {
    let caches = Caches(sharedBytes: 1000, victimBytes: 4000, longRunBytes: 128)
    #expect(!caches.areFar(runs: 128, of: 1000))
    #expect(caches.areFar(runs: 127, of: 1000))
    #expect(!caches.areFar(runs: 127, of: 999))
    #expect(caches.hold(next: 1000, of: 1000))
    #expect(!caches.hold(next: 1001, of: 1000))
    #expect(!caches.hold(next: 1000, of: 999))
  }

  @Test func rowsOfFewChannelsAreReadInOrder() {
    let plain = Caches(crossedBytes: 1000)
    #expect(plain.areFar(rowsOf: 2, of: 1000))
    #expect(!plain.areFar(rowsOf: 2, of: 999))
    let victim = Caches(crossedBytes: 1000, victimBytes: 4000)
    #expect(!victim.areFar(rowsOf: 64, of: 1000))
    #expect(victim.areFar(rowsOf: 65, of: 1000))
    #expect(!victim.areFar(rowsOf: 65, of: 999))
  }

  /// Asked for is the unit after those that are worked on, and nothing beyond the last.
  @Test func theNextUnitIsTheThreads() throws {
    let geometry = try ABNGeometry(outer: 4, channels: 12, spatial: 1024, layout: .channelSecond)
    var kernel = try ABNKernel(geometry: geometry, element: .float32, activation: .identity)
    let runs =
      if case .runs(let runs) = Schedule(geometry, .float32).form { runs } else { fatalError() }
    let parameters = ABNParameters(scale: nil, bias: nil)
    func later(_ victim: Int, _ tensors: Int, _ atOnce: Int) -> Int {
      kernel.caches = Caches(victimBytes: victim)
      let engine = Engine(kernel, parameters, nil)
      return engine.later(runs, tensors: tensors, atOnce: atOnce, step: 3)
    }
    let unit = 4 * 1024 * 4
    #expect(later(0, 1, 1) == 0)
    #expect(later(4 * 2 * unit, 2, 1) == 3 * 1024)
    #expect(later(4 * 2 * unit - 4, 2, 1) == 0)
    #expect(later(4 * 4 * unit, 2, 2) == 3 * 1024)
    #expect(later(4 * 4 * unit, 2, 3) == 0)
    // No more units are worked on than there are.
    #expect(later(4 * 12 * unit, 1, .max) == 3 * 1024)
  }
}
