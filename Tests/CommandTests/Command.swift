import Foundation
import InPlaceABN
import Testing

/// What `abn train` leaves in its folder.
let runFiles = [
  "best", "best.json", "checkpoints", "log.csv", "metrics.json", "model.safetensors",
  "profile.json", "report.html", "settings.yaml", "steps.csv", "summary.json",
]

/// What a run of the command leaves behind.
struct Outcome {
  let status: Int32
  let output: String
  let errors: String

  /// The lines of standard error.
  var errorLines: [String] { errors.split(separator: "\n").map(String.init) }

  /// Standard output as a JSON object.
  func json() throws -> [String: Any] { try object(Data(output.utf8)) }

  /// The last line of standard output as a JSON object: the summary of a run.
  func lastJSON() throws -> [String: Any] {
    try object(Data(#require(output.split(separator: "\n").last).utf8))
  }
}

/// Data as a JSON object.
func object(_ data: Data) throws -> [String: Any] {
  try #require(JSONSerialization.jsonObject(with: data) as? [String: Any])
}

/// A folder in which the command runs; removed with everything in it when the value goes away.
final class Workplace {
  let path: String

  init() throws {
    path = FileManager.default.temporaryDirectory.path + "/abn-command-\(UUID().uuidString)"
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
  }

  deinit {
    chmod(path, 0o755)
    try? FileManager.default.removeItem(atPath: path)
  }

  /// The built command: it lies where the test bundle lies.
  static let command: String = {
    let tests = (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? ""
    return URL(filePath: tests).deletingLastPathComponent().appending(path: "abn").path
  }()

  func data(_ name: String) throws -> Data {
    try Data(contentsOf: URL(filePath: "\(path)/\(name)"))
  }

  func write(_ name: String, _ bytes: [UInt8]) throws {
    let url = URL(filePath: "\(path)/\(name)")
    try FileManager.default.createDirectory(
      at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
    try Data(bytes).write(to: url)
  }

  /// Writes data in the form of CIFAR-10: random photographs, of classes in turns.
  func makePhotographs(_ folder: String, train: Int, test: Int) throws {
    let random = CounterRandom(seed: 7, stream: 0)
    func file(_ count: Int, from: Int) -> [UInt8] {
      var bytes: [UInt8] = []
      for number in from..<from + count {
        bytes.append(UInt8(number % 10))
        for pixel in 0..<3072 {
          let word: UInt32 = random.bits(UInt64(number * 3072 + pixel))
          bytes.append(UInt8(truncatingIfNeeded: word >> 24))
        }
      }
      return bytes
    }
    try write("\(folder)/data_batch_1.bin", file(train, from: 0))
    try write("\(folder)/test_batch.bin", file(test, from: train))
  }

  /// The files in a folder, hidden ones too; none where there is no such folder. TensorBoard's events,
  /// whose names have the time, are left out.
  func files(_ name: String) -> [String] {
    ((try? FileManager.default.contentsOfDirectory(atPath: "\(path)/\(name)")) ?? [])
      .filter { !$0.hasPrefix("events.out.tfevents.") }.sorted()
  }

  /// Starts the command; standard output and error go to files, which never block.
  ///
  /// - Parameter shell: words of `sh` that run before it.
  func start(_ arguments: [String], shell: String? = nil) throws -> Running {
    // Beside the folder, so that a listing of it shows only what the command made.
    let streams = FileManager.default.temporaryDirectory.path + "/abn-\(UUID().uuidString)"
    let running = Running(place: self, process: Process(), streams: streams)
    for name in [running.outputPath, running.errorPath] {
      #expect(FileManager.default.createFile(atPath: name, contents: nil))
    }
    let process = running.process
    if let shell {
      process.executableURL = URL(filePath: "/bin/sh")
      process.arguments = ["-c", "\(shell); exec \"$0\" \"$@\"", Self.command] + arguments
    } else {
      process.executableURL = URL(filePath: Self.command)
      process.arguments = arguments
    }
    process.currentDirectoryURL = URL(filePath: path)
    process.standardInput = FileHandle.nullDevice
    process.standardOutput = try FileHandle(forWritingTo: URL(filePath: running.outputPath))
    process.standardError = try FileHandle(forWritingTo: URL(filePath: running.errorPath))
    try process.run()
    return running
  }

  /// Runs the command to its end.
  func abn(_ arguments: String..., shell: String? = nil) throws -> Outcome {
    try start(arguments, shell: shell).finish()
  }

  /// Trains the smallest network for one epoch on the built-in digits.
  func train(_ arguments: String..., shell: String? = nil) throws -> Outcome {
    try start(
      ["train", "--data", "digits", "--model", "mlp", "--epochs", "1"] + arguments, shell: shell
    ).finish()
  }
}

/// A command that runs.
struct Running {
  /// Kept, so that its folder is there for as long as the command runs.
  let place: Workplace
  let process: Process
  let streams: String
  var outputPath: String { streams + ".out" }
  var errorPath: String { streams + ".err" }

  /// What it has written to standard error so far.
  var errors: String { (try? String(contentsOfFile: errorPath, encoding: .utf8)) ?? "" }

  /// Waits for the end; a command that takes longer than so many seconds is killed, which is a failure.
  func wait(seconds: Double = 300) {
    let deadline = ContinuousClock.now + .seconds(seconds)
    while process.isRunning, .now < deadline { usleep(5_000) }
    guard process.isRunning else { return }
    kill(process.processIdentifier, SIGKILL)
    Issue.record("no end after \(seconds) s: \(process.arguments ?? []) \(errors)")
    process.waitUntilExit()
  }

  func finish(seconds: Double = 300) throws -> Outcome {
    wait(seconds: seconds)
    defer {
      try? FileManager.default.removeItem(atPath: outputPath)
      try? FileManager.default.removeItem(atPath: errorPath)
    }
    #expect(process.terminationReason == .exit, "ended by signal \(process.terminationStatus)")
    return Outcome(
      status: process.terminationStatus,
      output: try String(contentsOfFile: outputPath, encoding: .utf8), errors: errors)
  }
}
