import ArgumentParser
import Foundation
import InPlaceABN

struct Runs: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Compares runs: accuracy, loss, time, memory, and the settings that differ.",
    discussion: """
      Reads summary.json, settings.yaml and log.csv of each folder; of a folder without them, those \
      of the folders in it. Runs that cannot be read are named and passed over. Of a run that goes on, or \
      was killed, the log has the numbers.
      """)

  @Argument(help: "Folders of runs, or folders with such folders.")
  var folders = [RunFolder.parent]

  @Option(
    help: ArgumentHelp(
      "The order: \(RunComparison.Order.allCases.map(\.rawValue).joined(separator: ", ")).",
      valueName: "key"))
  var sort = RunComparison.Order.best.rawValue

  @Flag(help: "Print the result as JSON on standard output.")
  var json = false

  func run() throws {
    let order = try RunComparison.Order.named(sort, as: "--sort")
    let runs = try RunFolders.read(folders) { path in
      try RunOverview(folder: path, settings: RunFolders.settings(in: path))
    }
    let comparison = RunComparison(runs, order: order)
    if json {
      try printJSON(comparison)
    } else {
      print(comparison.text(columns: Terminal.columns(of: 1) ?? 80), terminator: "")
    }
  }
}
