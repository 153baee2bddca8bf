#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

/// When each step of one run began and ended, in seconds since the run's first step began.
public struct StepProfile: Sendable, Hashable {
  /// One entry for each step, in order.
  public private(set) var times: [ClosedRange<Double>] = []
  private let origin: Double

  init(capacity: Int) {
    times.reserveCapacity(capacity)
    origin = Self.now
  }

  /// Seconds on a clock that only goes forward.
  private static var now: Double {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
  }

  /// Runs one step and notes its times.
  mutating func time(_ step: () throws -> Void) rethrows {
    let begin = Self.now - origin
    try step()
    times.append(begin...(Self.now - origin))
  }

  /// Seconds of step `index`.
  public func seconds(_ index: Int) -> Double { times[index].upperBound - times[index].lowerBound }

  /// Level 2 of `ABN_VERBOSE`: time by kind of step.
  func write(_ steps: [Step]) {
    var kinds: [String: (total: Double, count: Int)] = [:]
    for (index, step) in steps.enumerated() {
      kinds[step.name, default: (0, 0)].total += seconds(index)
      kinds[step.name]!.count += 1
    }
    let all = kinds.values.reduce(0) { $0 + $1.total }
    for (name, entry) in kinds.sorted(by: { $0.value.total > $1.value.total }) {
      let microseconds = Int(entry.total * 1e6)
      Debug.tell(
        "abn: \(microseconds) us, \(Int(entry.total / all * 100)) %, \(entry.count) x \(name)")
    }
  }
}
