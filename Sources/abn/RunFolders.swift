import Foundation
import InPlaceABN
import Yams

/// Folders of runs, as `abn train` leaves them.
enum RunFolders {
  /// What `read` makes of the runs in some folders, each once. Runs that cannot be read are named
  /// on standard error and passed over.
  ///
  /// - Parameter folders: folders of runs, or folders with such folders.
  /// - Throws: `ABNError(.file)` where there is no run that can be read.
  static func read<Run>(_ folders: [String], _ read: (String) throws -> Run) throws -> [Run] {
    var seen: Set<FileIdentity> = []
    var runs: [Run] = []
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
          runs.append(try read(path))
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
    return runs
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
  static func settings(in folder: String) throws -> [String: String] {
    guard let text = try record(in: folder) else { return [:] }
    let path = "\(folder)/\(SettingsRecord.fileName)"
    func trouble(_ got: String) -> ABNError {
      ABNError(
        .file, "settings \(quoted(path))", got: got, wanted: "what abn train writes")
    }
    let root: Node?
    do {
      root = try Yams.compose(yaml: text)
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

  /// The text of the settings' file; nil where there is none.
  static func record(in folder: String) throws -> String? {
    let path = "\(folder)/\(SettingsRecord.fileName)"
    guard FileManager.default.fileExists(atPath: path) else { return nil }
    let source = try ByteSource(path: path, kind: "settings")
    let mostBytes = 1 << 20
    guard source.byteCount <= mostBytes else {
      throw ABNError(
        .file, "settings \(quoted(path))", got: describeBytes(source.byteCount),
        wanted: "at most \(describeBytes(mostBytes))")
    }
    return String(decoding: try source.bytes(at: 0, count: source.byteCount), as: UTF8.self)
  }
}
