import ArgumentParser
import Foundation
import InPlaceABN
import Yams

/// Options of a command in a YAML file: keys are their names without dashes, flags are true or
/// false, options that may be given several times take lists.
///
/// A recipe becomes arguments that stand before those of the command line, which win. What options
/// there are, and which values they take, is asked of the command itself.
struct RecipeFile {
  /// The option that names a recipe.
  static let option = "config"
  /// The most bytes of a recipe.
  private static let mostBytes = 1 << 20

  private let path: String
  /// The arguments of each key, in the order of the file.
  private let entries: [(key: String, line: Int, arguments: [String])]

  /// Reads a recipe.
  ///
  /// - Throws: `ABNError(.file)` for a file that cannot be read or is no YAML, with the line;
  ///   `.name` for a key that is no option, with its line and the nearest; `.attribute` for a value
  ///   that an option cannot have, with its line.
  init(path: String, for command: any ParsableCommand.Type) throws {
    self.path = path
    let options = try RecipeOption.all(of: command)
    entries = try Self.mapping(path).map { key, value in
      let line = key.mark?.line ?? 1
      guard let name = key.scalar?.string else {
        throw Self.fault(
          path, line, "key", got: Self.describe(key), wanted: "the name of an option")
      }
      guard let option = options.first(where: { $0.name == name }) else {
        throw ABNError(
          .name, "recipe \(quoted(path))", at: "line \(line)", got: "\(quoted(name))",
          wanted: "an option of abn \(command._commandName) without its dashes",
          fix: didYouMean(
            name, in: options.map(\.name),
            otherwise: "abn \(command._commandName) --help lists them."
          ))
      }
      return (name, line, try option.arguments(value, path: path, line: line))
    }
    try check(command)
  }

  /// The recipe as arguments, without the options of `overridden` that add up where they are given
  /// again.
  func arguments(without overridden: Set<String>) -> [String] {
    entries.filter { !overridden.contains($0.key) }.flatMap(\.arguments)
  }

  /// The arguments of a command line with those of its recipes before them.
  ///
  /// - Parameter arguments: without the name of the program.
  /// - Throws: as `init`.
  static func expanding(
    _ arguments: [String], of command: any ParsableCommand.Type
  ) throws -> [String] {
    guard arguments.first == command._commandName else { return arguments }
    let own = Array(arguments.dropFirst().prefix { $0 != "--" })
    // Who asks for help is not told of a recipe.
    if own.contains("--help") || own.contains("-h") { return arguments }
    var paths: [String] = []
    for (index, word) in own.enumerated() {
      if word == "--\(option)", index + 1 < own.count { paths.append(own[index + 1]) }
      if word.hasPrefix("--\(option)=") { paths.append(String(word.dropFirst(option.count + 3))) }
    }
    if let settings = settings(ofRunIn: own) { paths.insert(settings, at: 0) }
    let given = Set(own.map { String($0.drop { $0 == "-" }.prefix { $0 != "=" }) })
    let repeated = Set(try RecipeOption.all(of: command).filter(\.isRepeating).map(\.name))
    let recipes = try paths.flatMap {
      try RecipeFile(path: $0, for: command).arguments(without: given.intersection(repeated))
    }
    return [command._commandName] + recipes + arguments.dropFirst()
  }

  /// The settings of the run that is to be resumed, which its folder has.
  private static func settings(ofRunIn arguments: [String]) -> String? {
    guard arguments.contains("--resume") else { return nil }
    var folder: String?
    for (index, word) in arguments.enumerated() {
      if word == "--output", index + 1 < arguments.count { folder = arguments[index + 1] }
      if word.hasPrefix("--output=") { folder = String(word.dropFirst("--output=".count)) }
    }
    let path = folder.map { "\($0)/\(SettingsRecord.fileName)" }
    return path.flatMap { FileIdentity($0) == nil ? nil : $0 }
  }

  /// Whether the command takes what the recipe says, each key by itself where it does not.
  private func check(_ command: any ParsableCommand.Type) throws {
    func trouble(_ arguments: [String]) -> String? {
      do {
        _ = try command.parse(arguments)
        return nil
      } catch {
        return command.message(for: error)
      }
    }
    guard let all = trouble(entries.flatMap(\.arguments)) else { return }
    for entry in entries {
      guard let message = trouble(entry.arguments) else { continue }
      throw Self.fault(
        path, entry.line, quoted(entry.key), got: message.firstSentence,
        wanted: "a value that --\(entry.key) takes")
    }
    throw ABNError(
      .attribute, "recipe \(quoted(path))", got: all.firstSentence,
      wanted: "options that go together")
  }

  /// The keys and values of a file.
  private static func mapping(_ path: String) throws -> [(Node, Node)] {
    let text = try text(path)
    let root: Node?
    do {
      root = try Yams.compose(yaml: text)
    } catch let error as YamlError {
      throw fault(path, error)
    }
    // A file of comments alone asks for nothing.
    guard let root, root.null == nil else { return [] }
    guard let mapping = root.mapping else {
      throw fault(
        path, root.mark?.line ?? 1, nil, got: describe(root),
        wanted: "lines of option: value")
    }
    return mapping.map { ($0.key, $0.value) }
  }

  private static func text(_ path: String) throws -> String {
    func error(_ got: String, _ wanted: String) -> ABNError {
      ABNError(.file, "recipe \(quoted(path))", got: got, wanted: wanted)
    }
    let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    guard descriptor >= 0 else { throw error(String(cString: strerror(errno)), "a YAML file") }
    let file = FileHandle(fileDescriptor: descriptor, closeOnDealloc: true)
    var status = stat()
    guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
      throw error("no regular file", "a YAML file")
    }
    let bytes: Data
    do {
      bytes = try file.read(upToCount: mostBytes + 1) ?? Data()
    } catch let failure {
      throw error("\(failure)", "a YAML file that can be read")
    }
    guard bytes.count <= mostBytes else {
      throw error("more than \(mostBytes) bytes", "a YAML file of options")
    }
    guard let text = String(validating: bytes, as: UTF8.self) else {
      throw error("bytes that are no UTF-8", "a YAML file in UTF-8")
    }
    // Some editors put a byte order mark before the first letter.
    return text.hasPrefix("\u{FEFF}") ? String(text.dropFirst()) : text
  }

  private static func fault(_ path: String, _ error: YamlError) -> ABNError {
    func fault(_ line: Int?, _ problem: String) -> ABNError {
      Self.fault(path, line, nil, got: problem, wanted: "options in YAML")
    }
    return switch error {
    case .scanner(_, let problem, let mark, _), .parser(_, let problem, let mark, _),
      .composer(_, let problem, let mark, _):
      fault(mark.line, problem)
    case .reader(let problem, let offset, _, let text):
      fault(offset.map { text.utf8.prefix($0).count { $0 == UInt8(ascii: "\n") } + 1 }, problem)
    case .duplicatedKeysInMapping(let keys, let context):
      Self.fault(
        path, context.mark.line, nil,
        got: "\(keys.map { quoted($0) }.joined(separator: ", ")) more than once",
        wanted: "each option once")
    default: fault(nil, "\(error)")
    }
  }

  fileprivate static func fault(
    _ path: String, _ line: Int?, _ what: String?, got: String, wanted: String
  ) -> ABNError {
    ABNError(
      what == nil ? .file : .attribute,
      "recipe \(quoted(path))" + (what.map { ", \($0)" } ?? ""), at: line.map { "line \($0)" },
      got: got, wanted: wanted)
  }

  fileprivate static func describe(_ node: Node) -> String {
    switch node {
    case .scalar(let scalar): scalar.string.isEmpty ? "nothing" : quoted(scalar.string)
    case .sequence: "a list"
    case .mapping: "a group of keys"
    case .alias: "an alias"
    }
  }
}

/// What a recipe can say of one option.
struct RecipeOption {
  /// Without dashes.
  let name: String
  let isFlag: Bool
  let isRepeating: Bool
  /// Whether one value holds several, with commas between them.
  let takesCommas: Bool
  /// The name of the flag that says the opposite.
  let opposite: String?

  /// What the parser says of itself, as far as it is asked here.
  private struct Dump: Decodable {
    struct Command: Decodable { let arguments: [Argument]? }
    struct Name: Decodable { let kind, name: String }
    struct Argument: Decodable {
      let kind: String
      let isRepeating: Bool
      let names: [Name]?
      let valueName: String?
    }
    let command: Command
  }

  /// The options of a command by all their long names, but for those that a recipe cannot have.
  static func all(of command: any ParsableCommand.Type) throws -> [RecipeOption] {
    let dump = try JSONDecoder().decode(Dump.self, from: Data(command._dumpHelp().utf8))
    let arguments = dump.command.arguments ?? []
    let long = arguments.map { ($0.names ?? []).filter { $0.kind == "long" }.map(\.name) }
    let flags = Set(zip(arguments, long).filter { $0.0.kind == "flag" }.flatMap(\.1))
    let excluded: Set = [RecipeFile.option, "help", "version"]
    return zip(arguments, long).filter { $0.0.kind != "positional" }.flatMap { argument, names in
      names.filter { !excluded.contains($0) }.map { name in
        RecipeOption(
          name: name, isFlag: argument.kind == "flag", isRepeating: argument.isRepeating,
          takesCommas: argument.valueName?.contains(",") == true,
          opposite: opposites(of: name).first(where: flags.contains))
      }
    }
  }

  private static func opposites(of flag: String) -> [String] {
    let pairs = [("no-", ""), ("drop-", "keep-"), ("enable-", "disable-")]
    return ["no-" + flag]
      + pairs.flatMap { a, b in
        [(a, b), (b, a)].compactMap { from, to in
          !from.isEmpty && flag.hasPrefix(from) ? to + flag.dropFirst(from.count) : nil
        }
      }
  }

  /// The arguments for a value in line `line` of a recipe.
  fileprivate func arguments(_ value: Node, path: String, line: Int) throws -> [String] {
    func fault(_ node: Node, _ wanted: String) -> ABNError {
      RecipeFile.fault(
        path, node.mark?.line ?? line, quoted(name), got: RecipeFile.describe(node),
        wanted: wanted)
    }
    if isFlag {
      guard let isOn = value.scalar.flatMap({ Bool.construct(from: $0) }) else {
        throw fault(value, "true or false")
      }
      if isOn { return ["--\(name)"] }
      return opposite.map { ["--\($0)"] } ?? []
    }
    // With an equals sign: a value may begin with a dash.
    if let list = value.sequence, isRepeating || takesCommas {
      let texts = try list.map { item in
        guard let text = item.scalar?.string, item.null == nil else {
          throw fault(item, "a number or a text")
        }
        return text
      }
      return isRepeating
        ? texts.map { "--\(name)=\($0)" } : ["--\(name)=\(texts.joined(separator: ","))"]
    }
    guard let text = value.scalar?.string, value.null == nil else {
      throw fault(value, isRepeating || takesCommas ? "a value or a list of them" : "one value")
    }
    return ["--\(name)=\(text)"]
  }
}

extension String {
  /// What the parser has to say, without how the command is used.
  fileprivate var firstSentence: String {
    let line = split(separator: "\n").first.map(String.init) ?? self
    return line.hasPrefix("Error: ") ? String(line.dropFirst(7)) : line
  }
}
