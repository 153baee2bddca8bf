import ArgumentParser
import Foundation
import InPlaceABN
import Testing

@testable import abn

/// Recipes: options in a YAML file.
@Suite(.serialized) struct RecipeTests {
  private static let root = URL(filePath: #filePath).deletingLastPathComponent()
    .deletingLastPathComponent().deletingLastPathComponent()

  private func place(_ recipe: String) throws -> Workplace {
    let place = try Workplace()
    try place.write("recipe.yaml", Array(recipe.utf8))
    return place
  }

  @Test func optionsComeFromTheRecipeAndTheCommandLineWins() throws {
    let place = try place(
      """
      # The smallest network.
      model: mlp
      epochs: 1
      lr: 0.05   # a comment
      "seed": 3
      json: yes
      output: here
      """)
    func settings(_ folder: String) throws -> [String: String] {
      let summary = try object(place.data("\(folder)/summary.json"))
      return try #require(summary["settings"] as? [String: String])
    }
    let plain = try place.abn("train", "--config", "recipe.yaml", "--threads", "1")
    #expect(plain.status == 0, "\(plain.errors)")
    let first = try settings("here")
    #expect(first["model"] == "mlp" && first["lr"] == "0.05" && first["seed"] == "3")
    let other = try place.abn(
      "train", "--lr", "0.07", "--config=recipe.yaml", "--output", "there", "--threads", "1")
    #expect(other.status == 0, "\(other.errors)")
    let changed = try settings("there")
    #expect(changed["lr"] == "0.07" && changed["output"] == "there" && changed["seed"] == "3")

    // What is written beside the results gives them again.
    let again = try place.abn(
      "train", "--config", "there/settings.yaml", "--output", "again", "--threads", "1")
    #expect(again.status == 0, "\(again.errors)")
    #expect(
      try place.data("again/model.safetensors") == place.data("there/model.safetensors"))
  }

  @Test func theLaterOfTwoRecipesWins() throws {
    let place = try place("model: mlp\nepochs: 1\nseed: 3\noutput: a")
    try place.write("second.yaml", Array("seed: 4".utf8))
    let run = try place.abn("train", "--config", "recipe.yaml", "--config", "second.yaml")
    #expect(run.status == 0, "\(run.errors)")
    let summary = try object(place.data("a/summary.json"))
    #expect((summary["settings"] as? [String: String])?["seed"] == "4")
  }

  struct Mistake: Sendable, CustomTestStringConvertible {
    let recipe: String
    let says: [String]
    var testDescription: String { recipe.debugDescription }

    init(_ recipe: String, _ says: String...) { (self.recipe, self.says) = (recipe, says) }
  }

  @Test(arguments: [
    Mistake("model: mlp\nepochz: 1", "(line 2)", "\"epochz\"", "Did you mean \"epochs\"?"),
    Mistake("model: mlp\nbatch_size: 1", "(line 2)", "Did you mean \"batch-size\"?"),
    Mistake("# a\n\nepochs: many", "\"epochs\" (line 3)", "'many'"),
    Mistake("seed: 1\nepochs: 1.5", "\"epochs\" (line 2)", "'1.5'"),
    Mistake("epochs: -2", "epochs", "-2", "at least 1"),
    Mistake("epochs: [1, 2]", "(line 1)", "a list", "one value"),
    Mistake("seed: 1\nepochs:\n  a: 1", "\"epochs\" (line 3)", "a group of keys"),
    Mistake("epochs:", "(line 1)", "nothing"),
    Mistake("epochs: null", "(line 1)", "\"null\""),
    Mistake("json: perhaps", "(line 1)", "\"perhaps\"", "true or false"),
    Mistake("seed: 1\nepochs: 1\nepochs: 2", "(line 2)", "\"epochs\" more than once"),
    Mistake("seed: 1\n  epochs: 1", "(line 2)", "mapping values are not allowed"),
    Mistake("model: \"mlp", "end of stream"),
    Mistake("seed: 1\n---\nseed: 2", "another document"),
    Mistake("- seed", "a list", "option: value"),
    Mistake("seed: 1\n[a, b]: 3", "(line 2)", "the name of an option"),
    Mistake("config: other.yaml", "(line 1)", "\"config\""),
    Mistake("help: true", "(line 1)", "\"help\""),
    Mistake("model: " + String(repeating: "[", count: 50_000), "nesting"),
    Mistake("model: a\u{7}b", "(line 1)", "control characters"),
  ])
  func mistakesAreOneLineWithItsPlace(_ mistake: Mistake) throws {
    let run = try place(mistake.recipe).abn("train", "--config", "recipe.yaml")
    #expect(run.status > 0 && run.output.isEmpty && run.errorLines.count == 1, "\(run.errors)")
    #expect(run.errors.hasPrefix("abn: "))
    for word in mistake.says { #expect(run.errors.contains(word), "\(run.errors)") }
  }

  @Test func filesThatAreNoRecipes() throws {
    let place = try place("")
    try place.write("bytes.yaml", [0x6D, 0x3A, 0x20, 0xFF, 0x0A])
    try place.write("large.yaml", [UInt8](repeating: 0x23, count: (1 << 20) + 1))
    for (name, says) in [
      ("nowhere.yaml", "No such file"), ("bytes.yaml", "UTF-8"), ("large.yaml", "1048576 bytes"),
      (".", "no regular file"),
    ] {
      let run = try place.abn("train", "--config", name)
      #expect(run.status > 0 && run.errorLines.count == 1, "\(run.errors)")
      #expect(
        run.errors.contains("recipe \"\(name)\"") && run.errors.contains(says), "\(run.errors)")
    }
    let help = try place.abn("train", "--config", "nowhere.yaml", "--help")
    #expect(help.status == 0 && help.output.contains("--config <file>"))
  }

  /// An empty recipe, and one of comments alone, ask for nothing.
  @Test(arguments: ["", "# nothing\n", "{}", "~"]) func emptyRecipes(_ text: String) throws {
    let place = try place(text)
    let recipe = try RecipeFile(path: "\(place.path)/recipe.yaml", for: Train.self)
    #expect(recipe.arguments(without: []).isEmpty)
  }

  /// A command with options of every kind.
  private struct Sample: ParsableCommand {
    enum Last: EnumerableFlag { case dropLast, keepLast }
    static let configuration = CommandConfiguration(commandName: "sample")
    @Option var freeze: [String] = []
    @Option(help: ArgumentHelp("", valueName: "first,second")) var betas = ""
    @Option var config: String?
    @Flag(inversion: .prefixedNo, exclusivity: .chooseLast) var ema = true
    @Flag(exclusivity: .chooseLast) var last = Last.dropLast
    @Flag(name: [.customLong("shuffle"), .short]) var shuffles = false
  }

  @Test(arguments: [
    ("freeze: [a, b]", ["--freeze=a", "--freeze=b"]), ("freeze: a", ["--freeze=a"]),
    ("freeze: []", []), ("freeze:\n- -a\n- 3", ["--freeze=-a", "--freeze=3"]),
    ("betas: [0.9, 0.99]", ["--betas=0.9,0.99"]), ("betas: 0.9,0.99", ["--betas=0.9,0.99"]),
    ("ema: true", ["--ema"]), ("ema: false", ["--no-ema"]), ("no-ema: true", ["--no-ema"]),
    ("no-ema: false", ["--ema"]), ("drop-last: off", ["--keep-last"]),
    ("keep-last: on", ["--keep-last"]), ("keep-last: no", ["--drop-last"]),
    ("shuffle: yes", ["--shuffle"]), ("shuffle: no", []),
  ])
  func optionsOfEveryKind(_ recipe: String, _ arguments: [String]) throws {
    let path = try place(recipe)
    let file = try RecipeFile(path: path.path + "/recipe.yaml", for: Sample.self)
    #expect(file.arguments(without: []) == arguments)
  }

  @Test func listsAreReplacedFromTheCommandLine() throws {
    let place = try place("freeze: [a, b]\nbetas: 1,2")
    let file = "\(place.path)/recipe.yaml"
    func parsed(_ more: String...) throws -> Sample {
      let all = ["sample", "--config", file] + more
      let words = try RecipeFile.expanding(all, of: Sample.self)
      return try Sample.parse(Array(words.dropFirst()))
    }
    #expect(try parsed().freeze == ["a", "b"])
    let changed = try parsed("--freeze=c", "--betas", "3,4", "--freeze", "d")
    #expect(changed.freeze == ["c", "d"] && changed.betas == "3,4")
    for mistake in ["freeze: [a, [b]]", "freeze: [~]", "ema: 3", "betas: {a: 1}", "shuffles: true"]
    {
      try place.write("recipe.yaml", Array(mistake.utf8))
      #expect(throws: ABNError.self, "\(mistake)") { try parsed() }
    }
    // Not this command, or no recipe: as it was.
    #expect(try RecipeFile.expanding(["other", "--config", file], of: Sample.self).count == 3)
    #expect(try RecipeFile.expanding([], of: Sample.self).isEmpty)
  }

  @Test func settingsAreARecipeAgain() throws {
    let settings = [
      "data": "cifar10:/pictures of mine", "model": "resnet20", "lr": "0.05", "seed": "7",
      "activation": "leaky_relu", "alpha": "0.01", "output": "runs/a b", "threads": "2",
      "weight-decay": "5e-05", "norm": "no",
    ]
    let record = try SettingsRecord(
      settings, of: Train.self, arguments: ["abn", "train", "--data", "it's\n"],
      versions: ["abn 1.2.3", "two\nlines"])
    let lines = record.text.split(separator: "\n").map(String.init)
    #expect(lines[0] == "# abn 1.2.3" && lines[1] == "# two\\nlines")
    #expect(lines[2] == #"# command: abn train --data 'it'\''s\n'"#, "\(lines[2])")
    #expect(lines.contains("# alpha: 0.01") && lines.contains("# output: \"runs/a b\""))
    let place = try Workplace()
    let path = "\(place.path)/settings.yaml"
    try AtomicFile.write(record.text, to: path)
    let arguments = try RecipeFile(path: path, for: Train.self).arguments(without: [])
    let wanted = settings.filter { !["alpha", "output"].contains($0.key) }
    #expect(Set(arguments) == Set(wanted.map { "--\($0)=\($1)" }))
  }

  @Test func everyRecipeIsOne() throws {
    let folder = Self.root.appending(path: "recipes")
    let names = try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted()
    #expect(names.contains("digits.yaml"))
    for name in names where name.hasSuffix(".yaml") {
      let recipe = try RecipeFile(path: folder.appending(path: name).path, for: Train.self)
      let arguments = recipe.arguments(without: [])
      #expect(!arguments.isEmpty, "\(name)")
      let train = try Train.parse(arguments)
      #expect(throws: Never.self, "\(name)") { try Model.named(train.model) }
    }
  }
}
