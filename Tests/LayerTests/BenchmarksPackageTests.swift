import ABNTestSupport
import Foundation
import Testing

/// The package of benchmarks, which no other test builds: its harness is fetched, and takes minutes.
@Suite struct BenchmarksPackageTests {
  /// What the benchmarks call of the harness, without bodies.
  private static let harness = """
    enum Polarity { case prefersSmaller }
    enum BenchmarkMetric {
      case wallClock
      static func custom(_ name: String, polarity: Polarity) -> BenchmarkMetric { fatalError() }
    }
    enum ScalingFactor { case one }
    final class Benchmark {
      struct Configuration {
        init(
          metrics: [BenchmarkMetric], warmupIterations: Int, scalingFactor: ScalingFactor,
          maxDuration: Duration, maxIterations: Int
        ) {}
      }
      @discardableResult init(
        _ name: String, configuration: Configuration, closure: @escaping (Benchmark) -> Void) {}
      @discardableResult init<R>(
        _ name: String, configuration: Configuration,
        closure: @escaping (Benchmark, R) -> Void, setup: @escaping () throws -> R) {}
      var scaledIterations: Range<Int> { 0..<1 }
      func startMeasurement() {}
      func stopMeasurement() {}
      func error(_ text: String) {}
      func measurement(_ metric: BenchmarkMetric, _ value: Int) {}
    }

    """

  /// The sources as they stand, over the library as it is: what is renamed in one is found here.
  @Test func itCompilesAgainstTheLibrary() throws {
    let folder = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent().appending(path: "Benchmarks/Layer")
    let sources = try ["Buffers.swift", "Layer.swift"].map {
      try String(contentsOf: folder.appending(path: $0), encoding: .utf8)
        .replacing("import Benchmark\n", with: "")
    }
    guard let errors = try Typecheck.errors(of: Self.harness + sources.joined()) else { return }
    #expect(errors == [])
    // A name that the library has not is seen.
    let wrong = sources.joined().replacing("ABNGeometry(", with: "ABNGeometries(")
    #expect(try Typecheck.errors(of: Self.harness + wrong)?.isEmpty == false)
  }
}
