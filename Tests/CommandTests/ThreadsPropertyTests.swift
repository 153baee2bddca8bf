import ABNTestSupport
import Foundation
import InPlaceABN
import Testing

/// Whatever is asked for and whatever OpenMP is told: training ends, says how many threads it had, and they
/// alone decide about the bits.
@Suite(.serialized) struct ThreadsPropertyTests {
  /// One way to call it.
  private struct Case {
    var threads: Int?
    var environment: [String: String]

    init(_ random: CounterRandom, _ number: UInt64) {
      func choose<T>(_ stream: UInt64, _ values: [T]) -> T {
        values[Int(random.bits(number * 16 + stream)) % values.count]
      }
      threads = choose(0, [nil, 1, 2, 3, 5, 8, 16])
      let choices: [(String, [String?])] = [
        ("OMP_THREAD_LIMIT", [nil, "1", "2", "3", "1000"]),
        ("OMP_DYNAMIC", [nil, "true", "false"]),
        ("OMP_NUM_THREADS", [nil, nil, "1", "3", "2,2", "1000"]),
        ("OMP_MAX_ACTIVE_LEVELS", [nil, nil, nil, "0", "1", "2"]),
        ("OMP_NESTED", [nil, "true"]),
        ("OMP_PROC_BIND", [nil, "close", "spread"]),
        ("OMP_WAIT_POLICY", [nil, "passive"]),
        ("GOMP_SPINCOUNT", [nil, "0", "1000"]),
      ]
      environment = [:]
      for (stream, (name, values)) in choices.enumerated() {
        if let value = choose(UInt64(stream) + 1, values) { environment[name] = value }
      }
    }

    init(threads: Int?, _ environment: [String: String]) {
      (self.threads, self.environment) = (threads, environment)
    }

    /// The size of the team as the manual of OpenMP has it.
    var expected: Int {
      if environment["OMP_MAX_ACTIVE_LEVELS"] == "0" { return 1 }
      let processors = ProcessInfo.processInfo.activeProcessorCount
      let named = environment["OMP_NUM_THREADS"].flatMap { Int($0.prefix { $0 != "," }) }
      let limit = environment["OMP_THREAD_LIMIT"].flatMap { Int($0) } ?? .max
      return min(threads ?? named ?? processors, limit, max(16, 4 * processors))
    }

    func train(_ place: Workplace, _ folder: String) throws -> (threads: Int, model: Data) {
      var words = [
        "train", "--model", "lenet", "--epochs", "1", "--batch-size", "256", "--output", folder,
        "--overwrite",
      ]
      if let threads { words += ["--threads", "\(threads)"] }
      // What the tests themselves run under must not decide.
      let names = [
        "OMP_THREAD_LIMIT", "OMP_DYNAMIC", "OMP_NUM_THREADS", "OMP_MAX_ACTIVE_LEVELS",
        "OMP_NESTED", "OMP_PROC_BIND", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT",
      ]
      let settings = environment.map { "export \($0)=\($1)" }.sorted()
      let shell = (["unset \(names.joined(separator: " "))"] + settings).joined(separator: "; ")
      let run = try place.start(words, shell: shell).finish(seconds: 120)
      #expect(run.status == 0, "\(self): \(run.errors)")
      let summary = try object(place.data("\(folder)/summary.json"))
      let recorded = try #require((summary["settings"] as? [String: String])?["threads"])
      let isFewer = threads.map { $0 > expected } ?? false
      #expect(run.errors.contains("note: --threads") == isFewer, "\(self): \(run.errors)")
      return (try #require(Int(recorded)), try place.data("\(folder)/model.safetensors"))
    }
  }

  private func check(_ cases: [Case]) throws {
    let place = try Workplace()
    var known: [Int: Data] = [:]
    for tried in cases {
      let (threads, model) = try tried.train(place, "run")
      #expect(threads == tried.expected, "\(tried)")
      #expect(known[threads, default: model] == model, "\(tried): other bits")
      known[threads] = model
    }
  }

  /// Those that did not end.
  @Test func knownCases() throws {
    try check([
      Case(threads: 2, ["OMP_THREAD_LIMIT": "1"]), Case(threads: 2, ["OMP_DYNAMIC": "true"]),
      Case(threads: 8, ["OMP_THREAD_LIMIT": "2"]),
      Case(threads: 2, ["OMP_MAX_ACTIVE_LEVELS": "0"]),
    ])
  }

  @Test func anyCase() throws {
    let random = CounterRandom(seed: soakSeed, stream: 0x7468)
    try check((0..<UInt64(2 * soakFactor)).map { Case(random, $0) })
  }

  /// Two at once give the bits that one alone gives; one that was stopped, or killed, in the middle of its turn does
  /// not hold up the next.
  @Test func severalAtOnce() throws {
    let place = try Workplace()
    func start(_ folder: String, epochs: Int, _ shell: String? = nil) throws -> Running {
      try place.start(
        ["train", "--model", "lenet", "--epochs", "\(epochs)", "--output", folder], shell: shell)
    }
    #expect(try start("alone", epochs: 4).finish(seconds: 120).status == 0)
    let stopped = try start("stopped", epochs: 1000)
    defer {
      kill(stopped.process.processIdentifier, SIGKILL)
      stopped.process.waitUntilExit()
    }
    while !stopped.errors.contains("epoch"), stopped.process.isRunning { usleep(5_000) }
    let pair = try [start("first", epochs: 4), start("second", epochs: 4, "export ABN_TURNS=1")]
    for run in pair { #expect(try run.finish(seconds: 120).status == 0) }
    kill(stopped.process.processIdentifier, SIGSTOP)
    #expect(try start("third", epochs: 4).finish(seconds: 120).status == 0)
    kill(stopped.process.processIdentifier, SIGKILL)
    #expect(
      try start("fourth", epochs: 4, "export ABN_TURNS=0").finish(seconds: 120).status == 0)
    let expected = try place.data("alone/model.safetensors")
    for folder in ["first", "second", "third", "fourth"] {
      #expect(try place.data("\(folder)/model.safetensors") == expected, "\(folder)")
    }
  }
}
