import ArgumentParser
import Foundation
import InPlaceABN

/// Whether a command may replace a model.
struct OverwriteOption: ParsableArguments {
  @Flag(help: "Replace a model that is in the output folder already.")
  var overwrite = false

  /// - Throws: `ABNError(.file)` where a folder has a model and may not lose it.
  func requireFree(folder: String) throws {
    if overwrite { return }
    for name in [ModelFile.name, TrainingSummary.name] {
      let path = folder + "/" + name
      if FileIdentity(path) != nil { throw Self.taken(folder, by: quoted(path)) }
    }
  }

  /// Writes a model that took no time to make.
  ///
  /// - Throws: `ABNError(.file)` where the folder has got a model meanwhile, and may not lose it.
  func write(_ file: ModelFile, toFolder folder: String) throws {
    guard try file.write(toFolder: folder, replacing: overwrite) else {
      throw Self.taken(folder, by: "a model")
    }
  }

  private static func taken(_ folder: String, by what: String) -> ABNError {
    ABNError(
      .file, "output \(quoted(folder))", got: "\(what), which is there already",
      wanted: "a folder without a model",
      fix: "Choose another folder, or replace the model with --overwrite.")
  }
}

/// Which file a path leads to, whatever the path is called.
struct FileIdentity: Hashable {
  let device: UInt64
  let node: UInt64

  /// nil where there is nothing.
  init?(_ path: String) {
    var status = stat()
    guard stat(path, &status) == 0 else { return nil }
    (device, node) = (UInt64(status.st_dev), UInt64(status.st_ino))
  }
}

/// Checks that a result does not replace what it is made of, or a model.
///
/// - Parameter inputs: the files that are read.
/// - Throws: `ABNError(.file)` where `path` leads to one of them, or to a file that is called as a
///   model or its summary is.
func requireResult(_ path: String, isNoneOf inputs: [String]) throws {
  guard let target = FileIdentity(path) else { return }
  for input in inputs where FileIdentity(input) == target {
    throw ABNError(
      .file, "--output \(quoted(path))", got: "the file that is read, \(quoted(input))",
      wanted: "another file", fix: "Choose another name.")
  }
  // A link of another name may lead to a model.
  let real = realpath(path, nil)
  defer { free(real) }
  let names = [path, real.map { String(cString: $0) } ?? path].map {
    $0.split(separator: "/").last.map(String.init)
  }
  guard names.contains(ModelFile.name) || names.contains(TrainingSummary.name) else { return }
  throw ABNError(
    .file, "output \(quoted(path))", got: "a model or its summary, which this would replace",
    wanted: "another file", fix: "Choose another name.")
}

/// The folder of a run that was given none: `runs/2026-11-27-lenet-digits-1`.
struct RunFolder {
  /// Where such folders are, from the current one.
  static let parent = "runs"
  /// The link to the last run that has saved a model.
  static let latest = parent + "/latest"

  /// The folder.
  let path: String
  private let madeParent: Bool

  /// Makes a folder that was not there before: of two runs that begin at once each has its own.
  ///
  /// - Throws: `ABNError(.file)` where that is not possible.
  init(model: Model, data: DataSource, date: Date = Date()) throws {
    func failure(_ path: String) -> ABNError {
      ABNError(
        .file, "folder \(quoted(path))", got: String(cString: strerror(errno)),
        wanted: "a folder that can be made", fix: "Choose one with --output.")
    }
    madeParent = mkdir(Self.parent, 0o777) == 0
    if !madeParent, errno != EEXIST { throw failure(Self.parent) }
    let day = Calendar(identifier: .gregorian).dateComponents([.year, .month, .day], from: date)
    let name = String(
      format: "%04d-%02d-%02d-", day.year ?? 0, day.month ?? 0, day.day ?? 0)
    let stem = Self.parent + "/" + name + model.name + "-" + data.name + "-"
    var number = 1
    while mkdir(stem + "\(number)", 0o777) != 0 {
      guard errno == EEXIST else { throw failure(stem + "\(number)") }
      number += 1
    }
    path = stem + "\(number)"
  }

  /// Removes the folder, if nothing was saved there.
  func removeIfEmpty() {
    rmdir(path)
    if madeParent { rmdir(Self.parent) }
  }

  /// Makes `runs/latest` lead to this run. Whoever reads it meanwhile sees the one before or this
  /// one.
  ///
  /// - Returns: why that was not possible; the run is complete all the same.
  func becomeLatest() -> String? {
    var status = stat()
    if lstat(Self.latest, &status) == 0, status.st_mode & S_IFMT != S_IFLNK {
      return "\(Self.latest) is no link and stays as it is: move it away to have the link there"
    }
    let temporary = Self.parent + "/.abn-\(String(UInt64.random(in: .min ... .max), radix: 16)).tmp"
    let name = String(path.dropFirst(Self.parent.count + 1))
    if symlink(name, temporary) == 0 {
      if rename(temporary, Self.latest) == 0 { return nil }
      unlink(temporary)
    }
    return "\(Self.latest) could not be made: \(String(cString: strerror(errno)))"
  }
}
