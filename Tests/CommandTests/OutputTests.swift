import Foundation
import InPlaceABN
import Testing

/// Where models go, and what is never replaced unasked.
@Suite(.serialized) struct OutputTests {
  private func run(_ place: Workplace, _ text: String, shell: String? = nil) throws -> Outcome {
    try place.start(text.split(separator: " ").map(String.init), shell: shell).finish()
  }

  private func expectMistake(_ place: Workplace, _ text: String, _ says: String...) throws {
    let outcome = try run(place, text)
    #expect(outcome.status > 0 && outcome.errorLines.count == 1, "\(text): \(outcome.errors)")
    for word in says { #expect(outcome.errors.contains(word), "\(text): \(outcome.errors)") }
  }

  /// Runs without a folder of their own each get one, and `runs/latest` leads to the last.
  @Test func everyRunHasItsFolder() throws {
    let place = try Workplace()
    let train = "train --model mlp --epochs 1"
    var folders: [String] = []
    for seed in 1...2 {
      let outcome = try run(place, "\(train) --seed \(seed) --json")
      #expect(outcome.status == 0, "\(outcome.errors)")
      let path = try #require(outcome.lastJSON()["modelPath"] as? String)
      let folder = URL(filePath: path).deletingLastPathComponent().relativePath
      #expect(
        folder.wholeMatch(of: #/runs/\d{4}-\d\d-\d\d-mlp-digits-\d+/#) != nil, "\(folder)")
      #expect(outcome.errors.contains("run \(folder)\n"))
      #expect(try place.data("runs/latest/summary.json") == place.data("\(folder)/summary.json"))
      let link = try FileManager.default.destinationOfSymbolicLink(
        atPath: place.path + "/runs/latest")
      #expect("runs/" + link == folder)
      folders.append(folder)
    }
    #expect(folders[0] != folders[1])
    #expect(try place.abn("eval", "--json").json()["count"] as? Int == 360)
    #expect(place.files("runs").count == 3)

    // A run that saves nothing leaves no folder and no link.
    #expect(try run(place, "\(train) --lr 1e30").status > 0)
    #expect(place.files("runs").count == 3)
    #expect(try run(place, "\(train) --seed 1 --data mnist:nowhere").status > 0)
    #expect(place.files("runs").count == 3)
  }

  @Test func twoRunsAtOnceHaveAFolderEach() throws {
    let place = try Workplace()
    let words = ["train", "--model", "mlp", "--epochs", "1", "--json", "--threads", "1"]
    let running = try (0..<3).map { _ in try place.start(words) }
    let paths = try running.map { try #require($0.finish().lastJSON()["modelPath"] as? String) }
    #expect(Set(paths).count == 3)
    #expect(place.files("runs").count == 4)
  }

  /// Of two runs into one folder the second is refused, until the first has ended or was killed.
  @Test func twoRunsIntoOneFolder() throws {
    let place = try Workplace()
    let slow = try place.start(
      ["train", "--model", "mlp", "--epochs", "100000", "--output", "out"])
    let deadline = ContinuousClock.now + .seconds(60)
    while !slow.errors.contains("\n"), slow.process.isRunning, .now < deadline { usleep(20_000) }
    let number = slow.process.processIdentifier
    for mode in ["", "--overwrite", "--resume"] {
      try expectMistake(
        place, "train --model mlp --epochs 1 --output out \(mode)", "another run",
        "process \(number)", "out")
    }
    kill(number, SIGKILL)
    slow.wait(seconds: 10)
    #expect(place.files("out").contains("run.lock"))
    let last = try run(place, "train --model mlp --epochs 1 --output out --overwrite")
    #expect(last.status == 0, "\(last.errors)")
    #expect(place.files("out") == runFiles)
  }

  /// A current folder whose name is no text: what the model says of its data holds there only.
  @Test func aFolderThatIsNoText() throws {
    let place = try Workplace()
    try place.makePhotographs("photos", train: 60, test: 20)
    let enter = #"d=$(printf 'caf\351') && mkdir -p "$d" && cd "$d" && ln -sfn ../photos data"#
    let words = "train --model mlp --data cifar10:data --epochs 1 --batch-size 10 --output ../out"
    let outcome = try run(place, words, shell: enter)
    #expect(outcome.status == 0, "\(outcome.errors)")
    #expect(outcome.errors.contains("note:") && outcome.errors.contains("--data"))
    #expect(try run(place, "eval ../out", shell: enter).status == 0)
    try expectMistake(place, "eval out", "data")
    #expect(try run(place, "eval out --data cifar10:photos").status == 0)
  }

  /// A folder that older versions made under that name is nobody's to remove.
  @Test func aFolderCalledLatestStays() throws {
    let place = try Workplace()
    try place.write("runs/latest/model.safetensors", [1])
    let outcome = try run(place, "train --model mlp --epochs 1")
    #expect(
      outcome.status == 0 && outcome.errors.contains("note: runs/latest"), "\(outcome.errors)")
    #expect(try place.data("runs/latest/model.safetensors") == Data([1]))
  }

  @Test func aModelIsReplacedOnlyWhenAskedTo() throws {
    let place = try Workplace()
    #expect(try place.train("--output", "out").status == 0)
    #expect(try run(place, "weights export out --output w.npz").status == 0)
    let (model, summary) = try (place.data("out/model.safetensors"), place.data("out/summary.json"))
    let commands = [
      "train --model mlp --epochs 1 --seed 9", "weights init --model mlp --seed 9",
      "weights import w.npz --model mlp --data digits",
    ]
    for command in commands {
      for folder in ["out", "./out", "out/../out"] {
        try expectMistake(place, "\(command) --output \(folder)", "--overwrite", folder)
      }
    }
    #expect(try place.data("out/model.safetensors") == model)
    #expect(try place.data("out/summary.json") == summary)
    for command in commands {
      let outcome = try run(place, "\(command) --output out --overwrite")
      #expect(outcome.status == 0, "\(command): \(outcome.errors)")
    }
    #expect(place.files("out").contains("model.safetensors"))
  }

  /// What a command reads it does not write over, whatever the file is called.
  @Test func nothingReplacesItsInput() throws {
    let place = try Workplace()
    #expect(try run(place, "weights init --model mlp --output net").status == 0)
    let images = Tensor([Float](repeating: 0.5, count: 784), shape: [1, 1, 28, 28])
    try NPY.write(images, to: place.path + "/x.npy")
    let files = FileManager.default
    try files.createSymbolicLink(atPath: place.path + "/link.npy", withDestinationPath: "x.npy")
    try files.linkItem(atPath: place.path + "/x.npy", toPath: place.path + "/hard.npy")
    let (x, model) = try (place.data("x.npy"), place.data("net/model.safetensors"))
    for output in ["x.npy", "./x.npy", "net/../x.npy", "link.npy", "hard.npy"] {
      try expectMistake(
        place, "predict net --input x.npy --output \(output)", output, "the file that is read")
    }
    try expectMistake(
      place, "predict net --input x.npy --output net/model.safetensors", "model.safetensors")
    try expectMistake(
      place, "weights export net --output net/model.safetensors", "the file that is read")
    try expectMistake(
      place, "weights import net/model.safetensors --model mlp --output net --overwrite",
      "folder of the file that is read")
    #expect(try run(place, "weights init --model mlp --seed 2 --output other").status == 0)
    try expectMistake(place, "weights export net --output other/model.safetensors", "a model")
    #expect(try place.data("x.npy") == x)
    #expect(try place.data("net/model.safetensors") == model)
  }

  /// Whatever a command writes, it is not written over a model or its summary, nor through a link to one.
  @Test func noOutputReplacesAModel() throws {
    let place = try Workplace()
    let train = try run(place, "train --model mlp --epochs 1 --output net")
    #expect(train.status == 0, "\(train.errors)")
    let made = try (place.data("net/model.safetensors"), place.data("net/summary.json"))
    try FileManager.default.createSymbolicLink(
      atPath: place.path + "/link.npz", withDestinationPath: "net/model.safetensors")
    for output in ["net/model.safetensors", "net/summary.json", "link.npz"] {
      for command in [
        "plan --model mlp --timeline", "plan --model mlp --snapshot",
        "bench model --model mlp --batch-size 2 --steps 1 --no-floor --trace",
        "weights export net --output",
      ] { try expectMistake(place, "\(command) \(output)", output, "another file") }
    }
    #expect(try place.data("net/model.safetensors") == made.0)
    #expect(try place.data("net/summary.json") == made.1)
  }

  /// The data of a model are found from any folder.
  @Test func evaluatesFromAnotherFolder() throws {
    let place = try Workplace()
    try place.makePhotographs("some/data", train: 8, test: 4)
    let train = try run(
      place, "train --model mlp --data cifar10:some/data --epochs 1 --batch-size 4 --output a/b")
    #expect(train.status == 0, "\(train.errors)")
    let initial = try run(
      place, "weights init --model mlp --data cifar10:some/../some/data --output c")
    #expect(initial.status == 0, "\(initial.errors)")
    for (folder, model) in [(".", "a/b"), ("a", "b"), ("a/b", "."), ("some/data", "../../c")] {
      let outcome = try run(place, "eval \(model)", shell: "cd \(folder)")
      #expect(outcome.status == 0, "\(folder): \(outcome.errors)")
    }
  }

  @Test func aPathThatIsNoTextIsNamed() throws {
    let place = try Workplace()
    for words in [
      "train --model mlp --epochs 1 --output", "eval", "weights init --model mlp --output",
    ] {
      let outcome = try place.abn(shell: "set -- \(words) \"$(printf 'a/b\\351')\"")
      #expect(outcome.status > 0 && outcome.errorLines.count == 1, "\(outcome.errors)")
      #expect(outcome.errors.contains("\"a/b\\xE9\""), "\(outcome.errors)")
    }
    #expect(place.files("").isEmpty)
    // From such a folder everything works.
    let inside = "d=$(printf 'b\\351'); mkdir \"$d\"; cd \"$d\""
    try place.makePhotographs("data", train: 8, test: 4)
    let train = try run(
      place, "train --model mlp --data cifar10:../data --epochs 1 --batch-size 4 --output out",
      shell: inside)
    #expect(train.status == 0, "\(train.errors)")
  }
}
