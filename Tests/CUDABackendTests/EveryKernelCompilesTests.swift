import Foundation
import InPlaceABN
import Testing

@testable import ABNCUDABackend
@testable import ABNChecking

/// Kernels run in the other tests by a processor's compiler; here NVIDIA's takes them, for cards of two
/// generations. It needs no card: `scripts/setup.sh --cuda` installs it.
@Suite struct EveryKernelCompilesTests {
  static let root = URL(filePath: #filePath).deletingLastPathComponent()
    .deletingLastPathComponent().deletingLastPathComponent()

  /// The library: `ABN_NVRTC`, or what the script installed; nil, with a word, where there is none.
  static let library: String? = {
    let given = ProcessInfo.processInfo.environment["ABN_NVRTC"]
    let path = given ?? root.appending(path: ".build/cuda/nvrtc/libnvrtc.so.13").path
    if FileManager.default.fileExists(atPath: path) { return path }
    print(
      "skipped: kernels are not compiled for cards: no \(path); scripts/setup.sh --cuda installs it"
    )
    return nil
  }()

  /// Variants of one file that are compiled, as different ones as there are.
  private static let variants = 3

  @Test(
    .enabled(if: library != nil && TestCard.emulation != nil && TestCard.backend != nil),
    .timeLimit(.minutes(5)))
  func forTwoGenerations() throws {
    try FlatCase.turn.withLock { _ in try lowerPrograms() }
    let files = try FileManager.default.contentsOfDirectory(
      at: TestCard.sources, includingPropertiesForKeys: nil)
    var groups: [[String]: [(head: String, path: String)]] = [:]
    for file in files {
      let text = try String(contentsOf: file, encoding: .utf8)
      let head = String(text.prefix { $0 != "\n" })
      groups[Self.entries(text), default: []].append((head, file.path))
    }
    let lowered = Set(groups.keys.joined())
    let folder = Self.root.appending(path: "Sources/CUDABackend/Resources")
    for name in try FileManager.default.contentsOfDirectory(atPath: folder.path)
    where name.hasSuffix(".cu") {
      let text = try String(contentsOf: folder.appending(path: name), encoding: .utf8)
      let missing = Self.entries(text).filter { !lowered.contains($0) }
      #expect(missing.isEmpty, "\(name): no program has \(missing)")
    }
    var chosen: [String] = []
    for group in groups.values {
      let sorted = group.sorted { ($0.head, $0.path) < ($1.head, $1.path) }
      let step = max(1, sorted.count / Self.variants)
      chosen += stride(from: 0, to: sorted.count, by: step).prefix(Self.variants).map {
        sorted[$0].path
      }
    }
    let compilers = try ["sm_80", "sm_90"].map { try compiler($0, chosen) }
    for (process, pipe) in compilers {
      let text = String(decoding: pipe.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
      process.waitUntilExit()
      #expect(process.terminationStatus == 0, "\(text)")
    }
  }

  /// The names of the kernels of a text.
  private static func entries(_ text: String) -> [String] {
    text.matches(
      of: /__global__\s+void\s+(?:__launch_bounds__\([^)]*\)\s*)?(\w+)\s*\(/
    ).map { String($0.1) }
  }

  /// Programs that have every kernel.
  private func lowerPrograms() throws {
    let executor = Executor(backend: try #require(TestCard.backend))
    let networks = ["lenet", "resnet20 inplace", "resnet20 standard"]
    for test in CheckCase.all([.operations, .layer, .models]) {
      switch test.group {
      case .models where networks.contains { test.name.hasPrefix($0) }: break
      case .operations where test.dtype == .float32: break
      case .layer where test.name.contains("elu") && test.name.contains("rescued"): break
      default: continue
      }
      let program = try test.build(CheckTypes(data: test.dtype, stored: nil))
      _ = try executor.compile(
        program.main, feed: program.feed.mapValues(\.shape),
        fetch: program.results.map(\.variable))
    }
    // What times engines, and what only programs for evaluation have.
    let device = try CUDADevice.device(0)
    for type in ["f32", "bf16"] {
      let defines = ["-DT=\(type)"]
      _ = try device.kernel(KernelSource([.random], entry: "fillRandom", defines: defines))
      _ = try device.kernel(KernelSource([.fold], entry: "fold", defines: defines))
    }
  }

  private func compiler(_ architecture: String, _ files: [String]) throws -> (Process, Pipe) {
    let (process, pipe) = (Process(), Pipe())
    let library = try #require(Self.library)
    process.executableURL = try #require(TestCard.emulation).appending(path: "compile")
    process.arguments = [library, architecture] + files
    // Its builtins lie beside it.
    process.environment = ProcessInfo.processInfo.environment.merging([
      "LD_LIBRARY_PATH": URL(filePath: library).deletingLastPathComponent().path
    ]) { $1 }
    process.standardError = pipe
    try process.run()
    return (process, pipe)
  }
}
