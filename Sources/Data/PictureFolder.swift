import ABNImages
import ABNTensors
import Dispatch
import Foundation
import Synchronization

/// JPEG and PNG pictures in a folder for each class.
package enum PictureFolder {
  /// The endings of files that are pictures, in small letters. What a file holds is seen when it is
  /// decoded.
  static let endings = ["jpg", "jpeg", "jpe", "png"]

  /// Whether a file is called as pictures are.
  static func isPicture(_ name: String) -> Bool {
    guard let dot = name.utf8.lastIndex(of: UInt8(ascii: ".")), dot != name.startIndex else {
      return false
    }
    return endings.contains(name[name.index(after: dot)...].lowercased())
  }

  /// Reads the names of the files below a folder; pictures are decoded when they are needed.
  ///
  /// The folder holds `train` and one of `val`, `valid`, `validation` and `test`, and these a
  /// folder for each class; or `train` alone, or the folders of the classes: then a share of each
  /// class is held out. Classes are numbered in natural order of their names. Pictures may lie
  /// deeper in the folder of their class. Files that are called otherwise than `endings` are named
  /// in `notes` and passed over.
  ///
  /// - Throws: `ABNError(.file)` for folders that cannot be listed and names that are not UTF-8;
  ///   `(.data)` for a folder without classes, a class without pictures, and one to be judged by
  ///   that is none to learn.
  static func load(directory: String, _ options: DataOptions) throws -> Dataset {
    try checkDirectory(directory, what: "picture")
    var scan = Scan(skipsBroken: options.skipsBroken)
    let top = try FolderListing(directory)
    let geometry = options.geometry ?? PictureGeometry(side: 224)
    func folder(_ names: [String]) -> String? {
      names.lazy.compactMap { name in top.folders.first { $0.lowercased() == name } }.first
        .map { "\(directory)/\($0)" }
    }
    guard let train = folder(["train"]) else {
      let all = try scan.classes(in: directory, top)
      return try dataset(all, held: nil, scan, geometry, options)
    }
    let learned = try scan.classes(in: train)
    guard let test = folder(["val", "valid", "validation", "test"]) else {
      return try dataset(learned, held: nil, scan, geometry, options)
    }
    let held = try scan.classes(in: test, of: learned.names)
    return try dataset(learned, held: held, scan, geometry, options)
  }

  /// The pictures that a path leads to: those below a folder, in natural order, or the file itself.
  ///
  /// - Throws: `ABNError(.file)` for a folder that cannot be listed, `.data` for one without
  ///   pictures.
  package static func pictures(at path: String) throws -> [String] {
    guard FolderListing.isFolder(path) else { return [path] }
    var scan = Scan(skipsBroken: true)
    var found = Classes()
    try scan.collect(path, label: 0, depth: 0, into: &found)
    guard !found.files.isEmpty else {
      throw ABNError(
        .data, "folder \(quoted(path))", got: "no picture", wanted: "JPEG or PNG pictures")
    }
    return found.files.map { found.folders[$0.folder] + "/" + $0.name }
  }

  /// Checks that what is written to a folder does not become part of the data.
  ///
  /// - Throws: `ABNError(.file)` where the folder lies in one whose folders are the classes.
  static func requireOutside(_ output: String, of directory: String) throws {
    func real(_ path: String) -> String {
      URL(fileURLWithPath: path).standardizedFileURL.resolvingSymlinksInPath().path
    }
    let (inner, outer) = (real(output), real(directory))
    guard inner == outer || inner.hasPrefix(outer == "/" ? outer : outer + "/"),
      try !FolderListing(directory).folders.contains(where: { $0.lowercased() == "train" })
    else { return }
    throw ABNError(
      .file, "output \(quoted(output))", got: "a folder within the data \(quoted(directory))",
      wanted: "another one: there it would be taken for a class",
      fix: "Choose one with --output.")
  }

  private static func dataset(
    _ learned: Classes, held: Classes?, _ scan: Scan, _ geometry: PictureGeometry,
    _ options: DataOptions
  ) throws -> Dataset {
    let budget = CacheBudget(mostBytes: options.cacheBytes)
    func split(_ classes: Classes) -> DataSplit {
      DataSplit(
        source: PictureFiles(
          folders: classes.folders, files: classes.files, channels: 3, geometry: geometry,
          budget: budget, skipsBroken: options.skipsBroken),
        labels: classes.labels, geometry: geometry)
    }
    var train = split(learned)
    var test: DataSplit
    if let held {
      test = split(held)
    } else {
      let parts = HeldOut.divide(learned.labels, share: options.validationShare)
      (train, test) = (train.selecting(parts.train), train.selecting(parts.test))
    }
    var notes = scan.notes
    if options.skipsBroken, options.looksThroughHeldOut {
      let whole = test.withoutBroken(threads: options.threads)
      notes += whole.broken.map { "left out: \($0)" }
      test = whole.split
    }
    for (label, name) in learned.names.enumerated() where !test.labels.contains(Int32(label)) {
      notes.append("no picture of the class \(quoted(name)) is held out: it is not judged")
    }
    var dataset = try Dataset(
      name: "folder", classNames: learned.names, train: train, test: test,
      normalization: .imageNet(channels: 3))
    dataset.notes = notes
    return dataset
  }

  /// The pictures below the folders of classes.
  struct Classes {
    var names: [String] = []
    var folders: [String] = []
    var files: [PictureFiles.File] = []
    var labels: [Int32] = []
  }

  /// A walk through folders, and what was passed over.
  struct Scan {
    let skipsBroken: Bool
    private var passedOver: [String] = []
    private var unreadableNames: [String] = []

    init(skipsBroken: Bool) { self.skipsBroken = skipsBroken }

    /// The classes in a folder.
    ///
    /// - Parameter known: the classes that there may be; nil: all are new.
    mutating func classes(
      in directory: String, _ listing: FolderListing? = nil, of known: [String]? = nil
    ) throws -> Classes {
      let top = try listing ?? FolderListing(directory)
      var found = Classes()
      found.names = known ?? top.folders
      try note(top, in: directory)
      guard !top.folders.isEmpty else {
        let pictures = top.files.count { PictureFolder.isPicture($0) }
        throw ABNError(
          .data, "folder \(quoted(directory))",
          got: pictures > 0 ? "\(pictures) pictures and no folder" : "no folder",
          wanted: "a folder for each class, with its pictures")
      }
      passedOver += top.files.map { "\(directory)/\($0)" }
      for name in top.folders {
        guard let label = found.names.firstIndex(of: name) else {
          throw ABNError(
            .data, "folder \(quoted(directory))", got: "the class \(quoted(name))",
            wanted: "the \(found.names.count) classes to learn from",
            fix: didYouMean(name, in: found.names))
        }
        let before = found.files.count
        try collect("\(directory)/\(name)", label: Int32(label), depth: 0, into: &found)
        guard known != nil || found.files.count > before else {
          throw ABNError(
            .data, "folder \(quoted("\(directory)/\(name)"))", got: "no picture",
            wanted: "the JPEG or PNG pictures of the class \(quoted(name))",
            fix: "Remove the folder, or put pictures there.")
        }
      }
      return found
    }

    mutating func collect(
      _ directory: String, label: Int32, depth: Int, into found: inout Classes
    ) throws {
      let listing = try FolderListing(directory)
      try note(listing, in: directory)
      found.folders.append(directory)
      let number = found.folders.count - 1
      for name in listing.files {
        if PictureFolder.isPicture(name) {
          found.files.append(.init(folder: number, name: name))
          found.labels.append(label)
        } else {
          passedOver.append("\(directory)/\(name)")
        }
      }
      // Links may lead in a circle.
      let deepest = 32
      guard depth < deepest else {
        throw ABNError(
          .data, "folder \(quoted(directory))", got: "more than \(deepest) folders in one another",
          wanted: "fewer", fix: "Is there a link that leads in a circle?")
      }
      for name in listing.folders {
        try collect("\(directory)/\(name)", label: label, depth: depth + 1, into: &found)
      }
    }

    private mutating func note(_ listing: FolderListing, in directory: String) throws {
      guard let first = listing.unreadableNames.first else { return }
      guard skipsBroken else {
        throw ABNError(
          .file, "folder \(quoted(directory))", got: "the name \(quoted(first))",
          wanted: "names in UTF-8", fix: "Rename the file.")
      }
      unreadableNames += listing.unreadableNames.map { quoted("\(directory)/\($0)") }
    }

    /// What was passed over, one line for each reason.
    var notes: [String] {
      func line(_ names: [String], _ why: String) -> String? {
        if names.isEmpty { return nil }
        let most = 5
        let more = names.count > most ? " and \(names.count - most) more" : ""
        let files = names.count == 1 ? "1 file that is" : "\(names.count) files that are"
        return "passed over \(files) \(why): \(names.prefix(most).joined(separator: ", "))\(more)"
      }
      return [
        line(passedOver.map { quoted($0) }, "not called .jpg, .jpeg, .jpe or .png"),
        line(unreadableNames, "not called by a name in UTF-8"),
      ].compactMap { $0 }
    }
  }
}

/// The pictures in a folder.
package enum FolderPictures {
  /// The names of the files in a folder that are called as pictures are, in natural order.
  ///
  /// - Throws: `ABNError(.file)` for a folder that cannot be listed.
  package static func files(in folder: String) throws -> [String] {
    try FolderListing(folder).files.filter(PictureFolder.isPicture)
  }
}

/// Calls `body` with every number below `count`, on several threads.
func forEachPicture(_ count: Int, threads: Int, _ body: @Sendable (Int) -> Void) {
  let next = Atomic<Int>(0)
  DispatchQueue.concurrentPerform(iterations: max(1, min(threads, count))) { _ in
    while true {
      let index = next.add(1, ordering: .relaxed).oldValue
      guard index < count else { return }
      body(index)
    }
  }
}

extension DataSplit {
  /// The pictures that can be read, and why the others cannot.
  func withoutBroken(threads: Int) -> (split: DataSplit, broken: [ABNError]) {
    let faults = Mutex<[Int: ABNError]>([:])
    forEachPicture(count, threads: threads) { index in
      do {
        let picture = try source.picture(index)
        _ = try masks?.mask(index, for: picture.size, of: source.name(of: index))
      } catch {
        let fault =
          error as? ABNError
          ?? ABNError(.data, source.name(of: index), got: "\(error)", wanted: "a picture")
        faults.withLock { $0[index] = fault }
      }
    }
    let broken = faults.withLock { $0 }
    if broken.isEmpty { return (self, []) }
    return (
      selecting(labels.indices.filter { broken[$0] == nil }),
      broken.sorted { $0.key < $1.key }.map(\.value)
    )
  }
}
