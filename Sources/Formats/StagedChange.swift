import ABNTensors

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

/// Several files of a folder on their way from old to new, in a temporary folder beside them:
///
///     .abn-7f3a.tmp/old/      second names of the old files
///     .abn-7f3a.tmp/new/      the new files
///     .abn-7f3a.tmp/at        a link to old, later to new
///     model.safetensors       a link to .abn-7f3a.tmp/at/model.safetensors, for a moment
///
/// The change happens when `at` is replaced: before that a kill is undone, after it completed.
final class StagedChange {
  /// One of the files.
  struct Member {
    let name: String
    let path: String
    /// What comes to stand there; nil: nothing.
    let pending: PendingFile?

    var isThere: Bool { mode != nil }
    var isLink: Bool { mode.map { $0 & S_IFMT == S_IFLNK } ?? false }

    private var mode: mode_t? {
      var status = stat()
      return lstat(path, &status) == 0 ? status.st_mode : nil
    }
  }

  private static let at = "at"
  private let folder: String
  /// The name of the temporary folder.
  private let name: String
  private let descriptor: Int32?
  private let calls: FileCalls

  private var path: String { "\(folder)/\(name)" }

  /// A change that begins.
  init(in folder: String, for path: String, calls: FileCalls) throws {
    self.folder = folder
    self.calls = calls
    (name, descriptor) = try TemporaryFiles.makeFolder(in: folder, for: path)
  }

  /// A change that a killed process had begun; its folder is locked by the caller.
  init(abandoned name: String, in folder: String) {
    self.folder = folder
    self.name = name
    calls = .system
    descriptor = nil
  }

  deinit {
    if let descriptor { close(descriptor) }
  }

  /// Performs the change; false, and everything is as it was, where the file system cannot.
  ///
  /// - Throws: `ABNError(.file)`; then everything is as it was too.
  func perform(_ members: [Member]) throws -> Bool {
    do {
      guard try prepare(members) else {
        recover()
        return false
      }
      for member in members {
        try rename("\(path)/to-\(member.name)", to: member.path)
      }
      // Not before all names lead to the old files may these become new ones on the disk.
      try Folder.flush(folder, for: members[0].path, calls: calls)
      try rename("\(path)/next", to: "\(path)/\(Self.at)")
      members.forEach { $0.pending?.settle() }
      try Folder.flush(path, for: members[0].path, calls: calls)
    } catch {
      recover()
      throw error
    }
    recover()
    try Folder.flush(folder, for: members[0].path, calls: calls)
    return true
  }

  /// Lays out the temporary folder; false where there are no such links.
  private func prepare(_ members: [Member]) throws -> Bool {
    for part in ["old", "new"] where mkdir("\(path)/\(part)", 0o777) != 0 {
      throw fileError("\(path)/\(part)", "cannot be made as a folder")
    }
    func symbolicLink(_ target: String, _ name: String) -> Bool {
      symlink(target, "\(path)/\(name)") == 0
    }
    guard symbolicLink("old", Self.at), symbolicLink("new", "next") else { return false }
    for member in members {
      guard symbolicLink("\(name)/\(Self.at)/\(member.name)", "to-\(member.name)") else {
        return false
      }
      if member.isThere, calls.link(member.path, "\(path)/old/\(member.name)") != 0 { return false }
    }
    // From here on the files have their names in the temporary folder.
    for member in members { try member.pending?.move(to: "\(path)/new/\(member.name)") }
    for part in ["old", "new", ""] {
      try Folder.flush("\(path)/\(part)", for: members[0].path, calls: calls)
    }
    return true
  }

  private func rename(_ from: String, to: String) throws {
    if calls.rename(from, to) != 0 { throw fileError(to, "cannot be replaced") }
  }

  /// Gives each name of the folder that is a link into this change the file that it leads to, and
  /// removes the temporary folder. Where a file cannot be moved the temporary folder stays: then
  /// the links go on leading to what they should.
  func recover() {
    let prefix = "\(name)/\(Self.at)/"
    let side = destination(of: "\(path)/\(Self.at)") ?? "old"
    var isDone = true
    for entry in (try? Folder.allEntries(of: folder)) ?? [] {
      guard let entry, let target = destination(of: "\(folder)/\(entry)"),
        target == prefix + entry
      else { continue }
      let source = "\(path)/\(side)/\(entry)"
      var status = stat()
      if lstat(source, &status) == 0 {
        isDone = calls.rename(source, "\(folder)/\(entry)") == 0 && isDone
      } else {
        isDone = unlink("\(folder)/\(entry)") == 0 && isDone
      }
    }
    if isDone { remove() }
  }

  private func destination(of path: String) -> String? {
    var buffer = [UInt8](repeating: 0, count: 4096)
    let count = buffer.withUnsafeMutableBytes {
      readlink(path, $0.bindMemory(to: CChar.self).baseAddress!, $0.count)
    }
    return count < 0 ? nil : String(decoding: buffer[..<count], as: UTF8.self)
  }

  /// Removes the temporary folder: what this type puts there and nothing below.
  private func remove() {
    for part in ["old", "new", ""] {
      let folder = part.isEmpty ? path : "\(path)/\(part)"
      for entry in (try? Folder.allEntries(of: folder)) ?? [] {
        if let entry { unlink("\(folder)/\(entry)") }
      }
      rmdir(folder)
    }
  }
}
