import ABNFormats
import ABNModelFiles
import ABNTensors
import Foundation

/// What to do with a run that an output folder holds already.
package enum ExistingRun: String, Sendable, CaseIterable {
  /// An error: nothing is replaced unasked.
  case refused
  /// Go on from its checkpoint.
  case resumed
  /// Begin anew in its place.
  case overwritten
}

/// The files of a run in its output folder.
///
///     model.safetensors, summary.json        the result, when the run ends
///     best/model.safetensors                 the weights of the best evaluation
///     checkpoints/last.safetensors           where the run goes on
///     checkpoints/epoch-0005.safetensors     kept ones
///     metrics.json                           the last evaluation, class by class
///     best.json, profile.json                what its report shows: predictions, memory and time
///     report.html                            the report
///     log.csv, settings.yaml, events.out...  what the run says of itself
///     run.lock                               while a process writes here
package final class RunFiles {
  /// The output folder.
  package let folder: String
  package var last: String { Self.last(in: folder) }
  package var best: String { folder + "/best" }
  private static let lastName = "checkpoints/last.safetensors"
  private var checkpoints: String { folder + "/checkpoints" }
  private var lockPath: String { folder + "/run.lock" }
  private var lock: Int32 = -1
  /// TensorBoard's files of earlier runs.
  private var oldEvents: [String] = []
  /// Whether this process has saved a model or a checkpoint.
  private(set) var hasSaved = false
  /// Whether there is a checkpoint of this run.
  private(set) var hasCheckpoint = false

  /// The names of what `abn train` writes beside models: `events.out...` by its beginning.
  package static let logNames = [
    metricsName, bestName, profileName, CSVLog.name, CSVLog.stepsName, settingsName,
  ]
  /// The settings, as `abn train` writes them.
  package static let settingsName = "settings.yaml"
  /// The counts of the last evaluation: confusion, precision and recall of each class.
  package static let metricsName = "metrics.json"
  /// The counts of the best evaluation, its best and its worst predictions.
  package static let bestName = "best.json"
  /// Where memory and time of a step go.
  package static let profileName = "profile.json"
  /// All of it as a page.
  package static let reportName = "report.html"
  /// With what a report begins: another file of its name is not replaced.
  package static let reportMark = "<!doctype html><!-- a report of abn -->"
  package static let eventsPrefix = "events.out.tfevents."

  /// Makes the folder, takes its lock, and looks at what is there.
  ///
  /// The lock is the kernel's (`flock`): a process that is killed releases it.
  ///
  /// - Throws: `ABNError(.file)` where the folder cannot be made or written, where another process
  ///   trains into it, and where it holds a run that is neither resumed nor overwritten.
  package init(folder: String, existing: ExistingRun) throws {
    self.folder = folder
    try ModelFile.prepare(folder: folder)
    try takeLock()
    let names = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
    oldEvents = names.filter { $0.hasPrefix(Self.eventsPrefix) }
    hasCheckpoint = existing == .resumed && FileManager.default.fileExists(atPath: last)
    guard existing == .refused, let found = Self.run(in: folder) else { return }
    release()
    throw ABNError(
      .file, "output \(quoted(folder))", got: "\(quoted(found)), which is there already",
      wanted: "a folder without a model or a run",
      fix: "Choose another folder, go on with --resume, or replace the run with --overwrite.")
  }

  deinit { release() }

  /// The file that shows that a folder holds a run or a model; nil where it holds none.
  package static func run(in folder: String) -> String? {
    [ModelFile.name, TrainingSummary.name, lastName]
      .map { "\(folder)/\($0)" }.first { FileManager.default.fileExists(atPath: $0) }
  }

  /// The last checkpoint of the run in a folder.
  package static func last(in folder: String) -> String { "\(folder)/\(lastName)" }

  /// Reads the last checkpoint.
  ///
  /// - Throws: as `read`; where an older one is kept, the error says how to go on from that.
  package static func reading<R>(_ last: String, _ read: (String) throws -> R) throws -> R {
    do {
      return try read(last)
    } catch let error as ABNError where error.category == .file {
      let folder = Folder.parent(of: last)
      guard let kept = kept(in: folder).last else { throw error }
      throw ABNError(
        error.category, error.what, got: error.got, wanted: error.wanted,
        fix: "To go on from the newest that was kept, copy \(quoted("\(folder)/\(kept)")) there.")
    }
  }

  /// The names of the checkpoints of epochs, the oldest first.
  private static func kept(in folder: String) -> [String] {
    ((try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? [])
      .filter { $0.hasPrefix("epoch-") && $0.hasSuffix(".safetensors") }
      .sorted { ($0.count, $0) < ($1.count, $1) }
  }

  private func takeLock() throws {
    while true {
      let file = open(lockPath, O_RDWR | O_CREAT | O_CLOEXEC, 0o666)
      guard file >= 0 else { throw fileError(lockPath, "cannot be made") }
      if flock(file, LOCK_EX | LOCK_NB) != 0 {
        let isTaken = errno == EWOULDBLOCK
        let owner = Self.owner(file)
        close(file)
        // A file system without locks is used without one.
        guard isTaken else { return }
        throw ABNError(
          .file, "output \(quoted(folder))",
          got: "another run that writes there\(owner.map { ", process \($0)" } ?? "")",
          wanted: "a folder that no other run writes",
          fix: "Choose another folder, or wait for its end.")
      }
      // Its owner may have removed the file between open and flock.
      var (mine, there) = (stat(), stat())
      if fstat(file, &mine) == 0, stat(lockPath, &there) == 0, mine.st_ino == there.st_ino {
        lock = file
        ftruncate(file, 0)
        let text = "\(getpid())\n"
        _ = pwrite(file, text, text.utf8.count, 0)
        return
      }
      close(file)
    }
  }

  private static func owner(_ file: Int32) -> Int? {
    var bytes = [UInt8](repeating: 0, count: 20)
    let count = pread(file, &bytes, bytes.count, 0)
    guard count > 0 else { return nil }
    let text = String(decoding: bytes[..<count], as: UTF8.self)
    return Int(text.prefix { $0.isNumber })
  }

  /// Lets other runs write here.
  package func release() {
    guard lock >= 0 else { return }
    unlink(lockPath)
    close(lock)
    lock = -1
  }

  /// Whether a run has begun here.
  var hasSettings: Bool { FileManager.default.fileExists(atPath: "\(folder)/\(Self.settingsName)") }

  /// A model of this run is there.
  func noteSaved() { hasSaved = true }

  /// A checkpoint of this run is there.
  func noteCheckpoint() { (hasSaved, hasCheckpoint) = (true, true) }

  /// Removes what the overwritten run could go on with, and its logs: beside those of the new run
  /// they would belong to nothing. Its models stay until the new ones take their places.
  func removeOldRun() {
    for name in archives() { unlink("\(checkpoints)/\(name)") }
    for name in oldEvents + Self.logNames { unlink("\(folder)/\(name)") }
    let report = "\(folder)/\(Self.reportName)"
    if Self.isReport(report) { unlink(report) }
  }

  /// Whether a path leads to a report that this package wrote.
  package static func isReport(_ path: String) -> Bool {
    guard let file = fopen(path, "r") else { return false }
    defer { fclose(file) }
    var bytes = [UInt8](repeating: 0, count: reportMark.utf8.count)
    let count = fread(&bytes, 1, bytes.count, file)
    return count == bytes.count && bytes.elementsEqual(reportMark.utf8)
  }

  /// Makes the folder of the checkpoints, before the first one.
  func prepareCheckpoints() throws { try Folder.make(checkpoints) }

  /// Keeps the last checkpoint as that of an epoch, and removes the oldest such ones beyond
  /// `limit`.
  ///
  /// - Parameter epoch: epochs done, from 1.
  func keepLast(asEpoch epoch: Int, limit: Int) throws {
    let path = checkpoints + "/" + String(format: "epoch-%04d.safetensors", epoch)
    let temporary = TemporaryFiles.newPath(in: checkpoints)
    // A second name for the same bytes: the last checkpoint is replaced, never written into.
    guard link(last, temporary) == 0, rename(temporary, path) == 0 else {
      let error = fileError(path, "cannot be made")
      unlink(temporary)
      throw error
    }
    for name in Self.kept(in: checkpoints).dropLast(max(limit, 1)) {
      unlink("\(checkpoints)/\(name)")
    }
  }

  private func archives() -> [String] {
    ((try? FileManager.default.contentsOfDirectory(atPath: checkpoints)) ?? [])
      .filter { $0.hasSuffix(".safetensors") }
  }

  /// Removes what this process wrote of a run that has nothing to go on with.
  package func discardUnlessSaved() {
    guard !hasSaved, Self.run(in: folder) == nil else { return }
    for name in (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
    where Self.logNames.contains(name) || name.hasPrefix(Self.eventsPrefix) {
      unlink("\(folder)/\(name)")
    }
    for folder in [checkpoints, best] { rmdir(folder) }
  }
}
