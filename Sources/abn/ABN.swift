import ArgumentParser
import Foundation
import InPlaceABN

/// The command.
@main
struct ABN: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "abn",
    abstract: "Trains convolutional networks with in-place activated batch normalization.",
    subcommands: [Train.self, Eval.self, Bench.self, Models.self])

  /// Every mistake of the caller ends in one line on standard error and a non-zero status.
  static func main() {
    do {
      var command = try parseAsRoot()
      try command.run()
    } catch let error as ABNError {
      fail(error.description, status: 1)
    } catch let status as ExitCode {
      exit(withError: status)
    } catch {
      let status = exitCode(for: error)
      // Help and version are no mistakes.
      if status.isSuccess { exit(withError: error) }
      fail(message(for: error), status: status.rawValue)
    }
  }

  private static func fail(_ text: String, status: Int32) -> Never {
    let line = text.split(separator: "\n").joined(separator: " ")
    FileHandle.standardError.write(Data("abn: \(line)\n".utf8))
    Foundation.exit(status)
  }
}

/// Options that several commands have.
struct CommonOptions: ParsableArguments {
  @Option(help: "The threads to use; default: all cores.")
  var threads: Int?

  @Flag(help: "Print the result as JSON on standard output.")
  var json = false

  /// Sets the team's size, before anything asks oneDNN for scratch memory.
  func apply() throws {
    guard let threads else { return }
    guard (1...1024).contains(threads) else {
      throw ABNError(.attribute, "--threads", got: "\(threads)", wanted: "1...1024")
    }
    Parallel.threads = threads
  }
}

extension NormStyle {
  /// The style of this name.
  static func named(_ name: String) throws -> NormStyle {
    if let found = NormStyle(rawValue: name) { return found }
    let names = allCases.map(\.rawValue)
    throw ABNError(
      .name, "--norm", got: "\"\(name)\"", wanted: names.joined(separator: " or "),
      fix: nearestMatch(to: name, in: names).map { "Did you mean \"\($0)\"?" } ?? "")
  }
}

/// Prints a value as JSON, keys sorted.
func printJSON(_ value: some Encodable) throws {
  let encoder = JSONEncoder()
  encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
  print(String(decoding: try encoder.encode(value), as: UTF8.self))
}
