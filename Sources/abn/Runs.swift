import ArgumentParser
import Foundation
import InPlaceABN
import Yams

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
    var seen: Set<FileIdentity> = []
    var runs: [RunOverview] = []
    var troubles: [ABNError] = []
    for folder in folders {
      let found: [String]
      do {
        found = try RunOverview.isRun(folder) ? [folder] : Self.runs(in: folder)
      } catch let error as ABNError {
        troubles.append(error)
        continue
      }
      // `latest` is one of the others.
      for path in found where FileIdentity(path).map({ seen.insert($0).inserted }) ?? true {
        do {
          let settings = try Self.settings(in: path)
          runs.append(try RunOverview(folder: path, settings: settings))
        } catch let error as ABNError {
          troubles.append(error)
        }
      }
    }
    for trouble in troubles { writeError("note: passed over: \(trouble)\n") }
    guard !runs.isEmpty else {
      throw ABNError(
        .file, "folders \(folders.map { quoted($0) }.joined(separator: ", "))",
        got: "no run that can be read", wanted: "one at least",
        fix: "Name the output folder of abn train, or the folder that it is in.")
    }
    let comparison = RunComparison(runs, order: order)
    if json {
      try printJSON(comparison)
    } else {
      print(comparison.text(columns: Terminal.columns(of: 1) ?? 80), terminator: "")
    }
  }

  /// The runs in a folder, in the order of their names.
  ///
  /// - Throws: `ABNError(.file)` for a folder that cannot be read.
  private static func runs(in folder: String) throws -> [String] {
    let names: [String]
    do {
      names = try FileManager.default.contentsOfDirectory(atPath: folder)
    } catch {
      var status = stat()
      let reason = stat(folder, &status) == 0 ? "no folder that can be read" : "nothing there"
      throw ABNError(
        .file, "folder \(quoted(folder))", got: reason, wanted: "a run, or a folder with runs")
    }
    let links = names.filter { isLink("\(folder)/\($0)") }
    // A link to a run is the run itself, which is to be called by its own name.
    let paths = (names.filter { !links.contains($0) }.sorted() + links.sorted())
      .map { "\(folder)/\($0)" }.filter(RunOverview.isRun)
    guard paths.isEmpty else { return paths }
    throw ABNError(
      .file, "folder \(quoted(folder))", got: "no run in it",
      wanted: "a run, or a folder with runs")
  }

  private static func isLink(_ path: String) -> Bool {
    var status = stat()
    return lstat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFLNK
  }

  /// The settings beside the results; none where there is no such file.
  private static func settings(in folder: String) throws -> [String: String] {
    let path = "\(folder)/\(SettingsRecord.fileName)"
    guard FileManager.default.fileExists(atPath: path) else { return [:] }
    func trouble(_ got: String) -> ABNError {
      ABNError(
        .file, "settings \(quoted(path))", got: got, wanted: "what abn train writes")
    }
    let source = try ByteSource(path: path, kind: "settings")
    guard source.byteCount <= 1 << 20 else { throw trouble(describeBytes(source.byteCount)) }
    let bytes = try source.bytes(at: 0, count: source.byteCount)
    let root: Node?
    do {
      root = try Yams.compose(yaml: String(decoding: bytes, as: UTF8.self))
    } catch {
      throw trouble("no YAML")
    }
    // A file of comments alone says nothing.
    guard let root, root.null == nil else { return [:] }
    guard let mapping = root.mapping else { throw trouble("no lines of option: value") }
    var settings: [String: String] = [:]
    for (key, value) in mapping {
      guard let name = key.scalar?.string else { continue }
      settings[name] =
        value.scalar?.string
        ?? value.sequence?.compactMap { $0.scalar?.string }.joined(separator: ",")
    }
    return settings
  }
}
