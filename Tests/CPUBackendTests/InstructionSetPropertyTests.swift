@testable import ABNCPUBackend
import ABNGraph
import ABNLayers
import ABNOperators
import ABNRuntime
import ABNTensors
import ABNTestSupport
import Foundation
import Testing

/// oneDNN as it is on processors of other instruction sets: convolutions, pooling and matrix
/// products drawn at random, each against its definition in float64, every buffer between guards.
///
/// oneDNN reads `DNNL_MAX_CPU_ISA` once in a process, so that each instruction set has a child:
/// this program once more, with `child` as its only test. What it is about to do stands in a file
/// before it is done, so that a crash or a case without end has a name.
@Suite(.serialized) struct InstructionSetPropertyTests {
  #if arch(x86_64)
  static let instructionSets = ["SSE41", "AVX", "AVX2", "AVX512_CORE"]
  #else
  static let instructionSets = ["DEFAULT"]
  #endif

  /// Two threads divide the work otherwise than one; the long form takes other teams too.
  static let teams = soakFactor == 1 ? [2] : [1, 2, 3, 4]

  @Test(arguments: instructionSets, teams)
  func sweep(_ instructionSet: String, _ threads: Int) throws {
    let sweep = Sweep(instructionSet: instructionSet, threads: threads)
    let count = UInt64(160 * soakFactor)
    let faults = try sweep.faults(of: soakSeed..<soakSeed + count)
    #expect(faults.isEmpty, "\(faults.joined(separator: "\n"))")
  }

  @Test(.enabled(if: Sweep.childsPart != nil, "only in a child of `sweep`"))
  func child() throws { try Sweep.runChild() }

  /// A child that does not come to an end, or dies, is found and named.
  @Test(arguments: ["hang", "crash"]) func aStoppedChildIsNamed(_ mistake: String) throws {
    let sweep = Sweep(instructionSet: "DEFAULT", threads: 2, patience: 2, mistake: mistake)
    let faults = try sweep.faults(of: 5..<6)
    #expect(faults.count == 1)
    #expect(faults.first?.contains(mistake == "hang" ? "no end" : "signal") == true, "\(faults)")
    #expect(faults.first?.contains("case 5") == true, "\(faults)")
  }
}

/// Cases run by a child.
struct Sweep {
  let instructionSet: String
  let threads: Int
  /// Seconds without a new case after which the child is taken to hang.
  var patience = 60.0
  /// For the test of this type: what the child is to do wrong.
  var mistake = ""

  private static let variable = "ABN_SWEEP"

  /// The child's part: where to report, and which seeds.
  static let childsPart: (path: String, seeds: Range<UInt64>, mistake: String)? = {
    guard let text = ProcessInfo.processInfo.environment[variable] else { return nil }
    let words = text.split(separator: " ", omittingEmptySubsequences: false).map(String.init)
    guard words.count == 4, let first = UInt64(words[1]), let end = UInt64(words[2]) else {
      return nil
    }
    return (words[0], first..<end, words[3])
  }()

  /// The child: every case of its part, a line before each and one for each fault.
  static func runChild() throws {
    let part = try #require(childsPart)
    let report = try FileHandle(forWritingTo: URL(filePath: part.path))
    func tell(_ line: String) throws { try report.write(contentsOf: Data("\(line)\n".utf8)) }
    for seed in part.seeds {
      var random = SequentialRandom(CounterRandom(seed: seed, stream: 0x15a))
      let drawn = try SweptCase(&random)
      try tell("case \(seed): \(drawn)")
      if part.mistake == "hang" { sleep(3600) }
      if part.mistake == "crash" { abort() }
      if let fault = try drawn.fault(&random) { try tell("wrong \(seed): \(drawn): \(fault)") }
    }
    try tell("done")
  }

  /// What is wrong in the cases of these seeds, at most five: results, writes beside buffers,
  /// crashes, hangs.
  func faults(of seeds: Range<UInt64>) throws -> [String] {
    let folder = FileManager.default.temporaryDirectory.appending(path: "abn-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    var faults: [String] = []
    var rest = seeds
    while !rest.isEmpty, faults.count < 5 {
      let path = folder.appending(path: "report").path
      #expect(FileManager.default.createFile(atPath: path, contents: nil))
      let end = try run(rest, reportingTo: path)
      let lines = try String(contentsOfFile: path, encoding: .utf8).split(separator: "\n")
      faults += lines.filter { $0.hasPrefix("wrong ") }.map { "\(instructionSet): \($0)" }
      if lines.last == "done" { break }
      guard let last = lines.last(where: { $0.hasPrefix("case ") }),
        let seed = last.dropFirst(5).split(separator: ":").first.flatMap({ UInt64($0) })
      else { return faults + ["\(instructionSet): the child did not begin: \(end)"] }
      faults.append("\(instructionSet): \(end) in \(last)")
      rest = seed + 1..<rest.upperBound
    }
    return faults
  }

  /// Runs a child to its end; tells how it ended.
  private func run(_ seeds: Range<UInt64>, reportingTo path: String) throws -> String {
    let process = Process()
    let program = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
    process.executableURL = URL(filePath: program)
    process.arguments = [
      "--testing-library", "swift-testing", "--filter", "InstructionSetPropertyTests/child",
    ]
    var environment = ProcessInfo.processInfo.environment
    environment["DNNL_MAX_CPU_ISA"] = instructionSet
    environment["OMP_NUM_THREADS"] = "\(threads)"
    // A busy machine is no hang, and a crash is told by its signal.
    environment["OMP_WAIT_POLICY"] = "passive"
    environment["SWIFT_BACKTRACE"] = "enable=no"
    environment[Self.variable] = "\(path) \(seeds.lowerBound) \(seeds.upperBound) \(mistake)"
    process.environment = environment
    process.standardInput = FileHandle.nullDevice
    process.standardOutput = FileHandle.nullDevice
    process.standardError = FileHandle.nullDevice
    try process.run()
    func size() -> Int {
      let attributes = try? FileManager.default.attributesOfItem(atPath: path)
      return (attributes?[.size] as? Int) ?? 0
    }
    var (last, since) = (0, ContinuousClock.now)
    while process.isRunning {
      usleep(2000)
      let now = size()
      if now != last { (last, since) = (now, .now) }
      if ContinuousClock.now - since > .seconds(patience) {
        kill(process.processIdentifier, SIGKILL)
        process.waitUntilExit()
        return "no end within \(patience) s"
      }
    }
    process.waitUntilExit()
    let how = process.terminationReason == .uncaughtSignal ? "signal" : "status"
    return "\(how) \(process.terminationStatus)"
  }
}
