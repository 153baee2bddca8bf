import ABNTestSupport
import Foundation
import InPlaceABN
import Testing

/// A signal at any moment ends any command, and leaves whole files or none.
@Suite(.serialized) struct SignalPropertyTests {
  private static let commands = [
    "weights init --model mlp --output new", "weights import w.npz --model mlp --output new",
    "weights export net --output new.safetensors", "predict net --input x.npy --output new.npy",
    "plan --model lenet --timeline new.html", "eval net --data digits",
    "train --model mlp --epochs 2 --output new",
  ]

  @Test func anyMomentOfAnyCommand() throws {
    let place = try Workplace()
    for words in [
      "weights init --model mlp --image-size 8 --classes 10 --output net",
      "weights export net --output w.npz",
    ] {
      let run = try place.start(words.split(separator: " ").map(String.init)).finish()
      #expect(run.status == 0, "\(run.errors)")
    }
    let images = Tensor([Float](repeating: 0.5, count: 64), shape: [1, 1, 8, 8])
    try NPY.write(images, to: place.path + "/x.npy")
    let before = Set(place.files(""))
    let random = CounterRandom(seed: soakSeed, stream: 0x7369)
    for number in 0..<UInt64(10 * soakFactor) {
      let command = Self.commands[Int(random.bits(3 * number)) % Self.commands.count]
      let signal = [SIGINT, SIGTERM, SIGHUP][Int(random.bits(3 * number + 1)) % 3]
      let delay = random.bits(3 * number + 2) % 250_000
      let what = "\(command), signal \(signal) after \(delay) us"
      let running = try place.start(command.split(separator: " ").map(String.init))
      usleep(delay)
      kill(running.process.processIdentifier, signal)
      running.wait(seconds: 60)
      let left = Set(place.files("")).subtracting(before)
      let temporary = place.files("").filter { $0.hasSuffix(".tmp") }
      #expect(temporary.isEmpty, "\(what)")
      #expect(place.files("new").allSatisfy { !$0.hasSuffix(".tmp") }, "\(what)")
      for name in left {
        // What is there is whole.
        if name == "new.npy" { _ = try NPY.read("\(place.path)/\(name)") }
        if name == "new.safetensors" { _ = try Safetensors.read(path: "\(place.path)/\(name)") }
        for folder in [name, name + "/best"] where place.files(folder).contains(ModelFile.name) {
          _ = try ModelFile.read(folder: "\(place.path)/\(folder)")
        }
        try FileManager.default.removeItem(atPath: "\(place.path)/\(name)")
      }
    }
  }

  /// The first signal tells what happens now; the second one ends the program.
  @Test(arguments: [SIGINT, SIGTERM, SIGHUP]) func theFirstSignalSpeaks(number: Int32) throws {
    let place = try Workplace()
    let running = try place.start(
      ["train", "--model", "mlp", "--epochs", "100000", "--output", "run"])
    let deadline = ContinuousClock.now + .seconds(60)
    while !running.errors.contains("\n"), running.process.isRunning, .now < deadline {
      usleep(20_000)
    }
    kill(running.process.processIdentifier, number)
    running.wait(seconds: 60)
    #expect(
      running.errors.contains("stopping after this step, then writing a checkpoint"),
      "\(running.errors)")
    #expect(running.process.terminationReason == .exit)
    #expect(running.process.terminationStatus == 130)
    #expect(place.files("run") == runFiles)
  }
}
