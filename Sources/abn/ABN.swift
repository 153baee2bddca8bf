import ArgumentParser
import Foundation
import InPlaceABN

/// The command.
@main
struct ABN: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "abn",
    abstract: "Trains convolutional networks with in-place activated batch normalization.",
    discussion: """
      To begin: abn train, and then abn eval.
      """,
    version: "0.1.0",
    subcommands: [
      Train.self, Eval.self, Predict.self, Weights.self, Runs.self, Report.self, DataCommand.self,
      Plan.self, Bench.self,
      Models.self, Devices.self, Check.self,
    ])

  /// Every mistake of the caller ends in one line on standard error and a non-zero status.
  static func main() {
    // A write beyond the limit on file sizes is to fail with a reason, not to end the process.
    signal(SIGXFSZ, SIG_IGN)
    // A file that is opened must not get the number of a closed standard stream, and its lines.
    for stream: Int32 in 0...2 where fcntl(stream, F_GETFD) == -1 {
      _ = open("/dev/null", O_RDONLY)
    }
    Interruption.endBetweenFiles()
    do {
      try checkArguments()
      try checkCommandName()
      var command = try parseAsRoot(
        RecipeFile.expanding(Array(CommandLine.arguments.dropFirst()), of: Train.self))
      try command.run()
      try flushOutput()
    } catch let error as ABNError {
      fail(error.description, status: 1)
    } catch let status as ExitCode {
      // A run that was interrupted has printed its result too.
      do { try flushOutput() } catch { fail("\(error)", status: 1) }
      exit(withError: status)
    } catch {
      let status = exitCode(for: error)
      // Help and version are no mistakes.
      if status.isSuccess { exit(withError: error) }
      fail(message(for: error), status: status.rawValue)
    }
  }

  /// A mistyped command, with the nearest one; the parser would only call it unexpected.
  private static func checkCommandName() throws {
    var commands = configuration.subcommands
    var words = CommandLine.arguments.dropFirst()
    let help = ["help"]
    let isHelp = words.first == "help"
    if isHelp { words = words.dropFirst() }
    for (depth, word) in words.enumerated() {
      guard !word.hasPrefix("-"), !commands.isEmpty else { return }
      guard let found = commands.first(where: { $0._commandName == word }) else {
        let names = commands.map { $0._commandName } + (depth == 0 && !isHelp ? help : [])
        throw ABNError(
          unknown: word, "command", names: names, otherwise: "abn --help says more.")
      }
      commands = found.configuration.subcommands
    }
  }

  /// What the parser would take for something else: bytes that are no text, and options of several
  /// letters after one dash, which it reads as several options; -epochs has an -h in it.
  private static func checkArguments() throws {
    for position in 1..<max(1, Int(CommandLine.argc)) {
      guard let bytes = CommandLine.unsafeArgv[position] else { break }
      guard let word = String(validatingCString: bytes) else {
        throw ABNError(
          .name, "argument \(position)", got: "\"\(escaped(bytes))\"", wanted: "text in UTF-8",
          fix: "Give the file or folder another name, or make a link to it that has one.")
      }
      if word == "--" { return }
      let letters = word.dropFirst()
      guard word.hasPrefix("-"), letters.first != "-", letters.count > 1,
        Double(word) == nil
      else { continue }
      throw ABNError(
        .name, "option", got: quoted(word), wanted: "two dashes before the name of an option",
        fix: "Did you mean \"-\(word.prefix { $0 != "=" })\"?")
    }
  }

  /// Bytes as text: those that are not ASCII, or would not be seen, as \\xNN.
  private static func escaped(_ bytes: UnsafePointer<CChar>) -> String {
    var text = ""
    var next = bytes
    while next.pointee != 0 {
      let byte = UInt8(bitPattern: next.pointee)
      text +=
        (0x20..<0x7F).contains(byte)
        ? String(UnicodeScalar(byte)) : String(format: "\\x%02X", Int(byte))
      next += 1
    }
    return text
  }

  /// Whoever reads the result must not take a cut one for a whole one.
  private static func flushOutput() throws {
    if fflush(nil) == 0 { return }
    throw ABNError(
      .system, "standard output", got: String(cString: strerror(errno)),
      wanted: "success in writing the result")
  }

  private static func fail(_ text: String, status: Int32) -> Never {
    // Errors of the parser repeat words of the command line as they are.
    let line = DisplayText.line(
      text.split(separator: "\n").joined(separator: " "), mostBytes: 5 * DisplayText.mostBytes)
    writeError("abn: \(line)\n")
    Foundation.exit(status)
  }
}

/// Writes to standard error, if that can be written: a log on a full disk must not end a training.
func writeError(_ text: String) {
  try? FileHandle.standardError.write(contentsOf: Data(text.utf8))
}

/// Options that several commands have.
struct CommonOptions: ParsableArguments {
  @Option(
    parsing: .unconditional,
    help: ArgumentHelp("The threads to use; default: all cores.", valueName: "count"))
  var threads: Int?

  @Flag(help: "Print the result as JSON on standard output.")
  var json = false

  /// Does what the options say.
  func apply() throws { try setThreads(threads) }
}

/// Sets the team's size, before anything asks oneDNN for scratch memory; nil: all cores. Says so
/// where the system or OpenMP gives fewer.
func setThreads(_ threads: Int?) throws {
  guard let threads else { return }
  guard (1...Parallel.mostThreads).contains(threads) else {
    throw ABNError(
      .attribute, "--threads", got: "\(threads)",
      wanted: "1...\(Parallel.mostThreads) on this machine",
      fix: "More threads than processors only wait for each other.")
  }
  Parallel.threads = threads
  let given = Parallel.threads
  if given < threads {
    writeError(
      "note: --threads \(threads): a team has at most \(given) here (OMP_THREAD_LIMIT, "
        + "OMP_MAX_ACTIVE_LEVELS or the system): going on with \(given)\n")
  }
}

/// The style of the normalizations.
struct NormOption: ParsableArguments {
  @Option(help: ArgumentHelp("inplace or standard normalization.", valueName: "style"))
  var norm = "inplace"

  func style() throws -> NormStyle { try NormStyle.named(norm, as: "--norm") }
}

/// Which network is looked at, and how large its images are.
struct NetworkOptions: ParsableArguments {
  @Option(help: ArgumentHelp("The network, one of those that abn models lists.", valueName: "name"))
  var model = "resnet20"

  @OptionGroup var normalization: NormOption

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      "Height and width of the images; default: the model's.", valueName: "pixels"))
  var imageSize: Int?

  @Option(
    help: ArgumentHelp(
      "Height and width, or channels, height and width of the images: 360x480, 3x360x480.",
      valueName: "sizes"))
  var image: String?

  func chosenModel() throws -> Model { try Model.named(model) }
  func style() throws -> NormStyle { try normalization.style() }

  /// [C, H, W]: what the options say, else what the model was made for.
  ///
  /// - Throws: `ABNError(.attribute)` for no such sizes.
  func image(for model: Model) throws -> Shape {
    if let imageSize {
      guard image == nil else {
        throw ABNError(
          .attribute, "--image-size", got: "--image beside it", wanted: "one of the two")
      }
      return [model.image[0], imageSize, imageSize]
    }
    guard let image else { return model.image }
    let sizes = 1...1 << 16
    let numbers = image.split(separator: "x", omittingEmptySubsequences: false).map { Int($0) }
    guard (2...3).contains(numbers.count), numbers.allSatisfy({ $0.map(sizes.contains) ?? false })
    else {
      throw ABNError(
        .attribute, "--image", got: quoted(image),
        wanted: "two or three sizes in 1...\(1 << 16), as 360x480 or 3x360x480")
    }
    return Shape((numbers.count == 2 ? [model.image[0]] : []) + numbers.map { $0! })
  }
}

/// How many classes a network tells apart.
struct ClassesOption: ParsableArguments {
  @Option(
    parsing: .unconditional,
    help: ArgumentHelp("Classes to tell apart; default: the model's.", valueName: "count"))
  var classes: Int?

  /// - Throws: `ABNError(.attribute)` for a number that no network has.
  func count(for model: Model) throws -> Int {
    let count = classes ?? model.classes
    guard (1...1 << 20).contains(count) else {
      throw ABNError(.attribute, "--classes", got: "\(count)", wanted: "1...\(1 << 20)")
    }
    return count
  }
}

/// Prints a value as JSON, keys sorted.
func printJSON(_ value: some Encodable) throws {
  print(try JSON(encoding: value).lines, terminator: "")
}
