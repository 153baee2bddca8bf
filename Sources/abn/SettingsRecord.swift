import ArgumentParser
import Foundation
import InPlaceABN

/// The settings of a run as a recipe: what `--config` takes to run it again.
///
/// Above them, as comments, stand the versions and the command that was given.
struct SettingsRecord {
  /// Its name beside the results.
  static let fileName = RunFiles.settingsName
  /// What a run says of itself and not of what it computes.
  private static let ofTheRun: Set = ["output", "overwrite", "resume", "json", RecipeFile.option]

  /// The text of the file.
  let text: String

  /// A record of settings.
  ///
  /// - Parameters:
  ///   - settings: values by the names of the command's options; those of flags are `true` and
  ///     `false`, lists have their values one a line. Names that are no options, and those that
  ///     only say where a run is and how it is told of, become comments.
  ///   - command: whose options they are.
  ///   - arguments: the command line as it was given.
  ///   - versions: lines on what the run was made with.
  init(
    _ settings: [String: String], of command: any ParsableCommand.Type,
    arguments: [String] = CommandLine.arguments, versions: [String]
  ) throws {
    let options = Dictionary(
      try RecipeOption.all(of: command).map { ($0.name, $0) }, uniquingKeysWith: { a, _ in a })
    var lines = versions.map { "# \(DisplayText.line($0))" }
    lines.append("# command: \(arguments.map(Self.shellWord).joined(separator: " "))")
    lines.append("# To run it again: abn \(command._commandName) --config \(Self.fileName)")
    for (name, value) in settings.sorted(by: { $0.key < $1.key }) {
      let values = value.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
      guard let option = options[name], !Self.ofTheRun.contains(name) else {
        lines.append("# \(name): \(Self.yamlWord(value))")
        continue
      }
      if option.isRepeating {
        lines.append("\(name): [\(values.map(Self.yamlWord).joined(separator: ", "))]")
      } else {
        lines.append("\(name): \(option.isFlag ? value : Self.yamlWord(value))")
      }
    }
    text = lines.joined(separator: "\n") + "\n"
  }

  /// What the command, and the libraries that decide on the last bits, are.
  static func versions(backend: any Backend) -> [String] {
    var system = utsname()
    uname(&system)
    func text<T>(_ field: T) -> String {
      withUnsafeBytes(of: field) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
    }
    let cards = backend.name == "cpu" ? [] : CUDAReport().libraries.filter { $0.path != nil }
    return [
      "abn \(ABN.configuration.version), \(Date.now.ISO8601Format())",
      "\(text(system.sysname)) \(text(system.release)), \(text(system.machine)), "
        + "backend \(backend.name), threads \(backend.threads)",
      ([CPUBackend.versions] + cards.map { "\($0.name) \($0.version)" })
        .joined(separator: ", "),
    ]
  }

  /// A word as a shell takes it.
  private static func shellWord(_ word: String) -> String {
    let plain = word.utf8.allSatisfy {
      UInt8(ascii: "a")...UInt8(ascii: "z") ~= $0 || UInt8(ascii: "A")...UInt8(ascii: "Z") ~= $0
        || UInt8(ascii: "0")...UInt8(ascii: "9") ~= $0 || "-_./:=,+@%".utf8.contains($0)
    }
    if plain, !word.isEmpty { return word }
    return DisplayText.line("'" + word.replacing("'", with: "'\\''") + "'")
  }

  /// A value as YAML takes it: quoted, unless it is a number or a name.
  private static func yamlWord(_ word: String) -> String {
    let names = /[A-Za-z][A-Za-z0-9_.+\/-]*/
    let reserved = ["true", "false", "yes", "no", "on", "off", "null", "y", "n"]
    if word.wholeMatch(of: names) != nil, !reserved.contains(word.lowercased()) { return word }
    if word.wholeMatch(of: /-?[0-9]+(\.[0-9]+)?([eE][-+]?[0-9]+)?/) != nil { return word }
    return JSON.quoted(word)
  }
}

/// Writes the settings of a run beside its results, before its first step.
final class SettingsFile: TrainingObserver {
  private let command: any ParsableCommand.Type
  private let versions: [String]
  private let others: [String: String]

  /// - Parameter others: options that a run's settings do not have.
  init(of command: any ParsableCommand.Type, others: [String: String], versions: [String]) {
    (self.command, self.others, self.versions) = (command, others, versions)
  }

  /// A run that goes on writes them anew: it may have got more epochs.
  func began(_ run: RunRecord) throws {
    let settings = run.settings.merging(others) { own, _ in own }
    let record = try SettingsRecord(settings, of: command, versions: versions)
    try AtomicFile.write(record.text, to: "\(run.folder)/\(SettingsRecord.fileName)")
  }
}
