import ABNTensors

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

/// Replaces several files of a folder as one: a model and what is said about it, say.
///
/// All files are written and flushed first. Then each name becomes a symbolic link to the old file,
/// all of them through one common link; that link is turned from the old files to the new ones by a
/// single `rename`; and then each name becomes the new file itself. Whoever looks at the names, at
/// whatever moment the process is killed, sees all old files or all new ones. What a killed process
/// leaves in the folder is brought to an end by `TemporaryFiles.removeAbandoned`, which every write
/// of several files begins with.
///
/// Where that cannot be done (no hard or symbolic links on the file system, a name that is a link
/// to a file elsewhere), all files but the first are taken away, the first is replaced, and the
/// others are put in place: a moment without them, and never files that do not belong together.
package enum AtomicFiles {
  /// A file that is to be written.
  package struct File {
    /// The name in the folder.
    package var name: String
    /// Gives the contents; nil: no file is to have this name.
    package var contents: ((FileWriter) throws -> Void)?

    /// A file of this name with these contents; nil contents: no file is to have this name.
    package init(_ name: String, contents: ((FileWriter) throws -> Void)?) {
      self.name = name
      self.contents = contents
    }
  }

  /// Writes files into a folder that exists, as one; files of other names stay.
  ///
  /// - Parameters:
  ///   - files: the most important one first; names without a slash, each once.
  ///   - replacing: false: where one of the names is there, all stay as they are. Looked at last of
  ///     all, when the contents are written: of two that began at once, the second finds the
  ///     first's.
  /// - Returns: whether the files are written; true unless `replacing` is false.
  /// - Throws: `ABNError(.file)` that names a path and the system's reason, or what gives the
  ///   contents throws; then all files are as they were, unless it says that one is complete.
  @discardableResult
  package static func write(
    _ files: [File], in folder: String, replacing: Bool = true
  ) throws -> Bool {
    try Uninterrupted.run {
      try write(files, in: folder, replacing: replacing, calls: .system)
    }
  }

  @discardableResult
  static func write(
    _ files: [File], in folder: String, replacing: Bool = true, calls: FileCalls
  ) throws -> Bool {
    try requireNames(files, in: folder)
    TemporaryFiles.removeAbandoned(in: folder)
    var members: [StagedChange.Member] = []
    for file in files {
      let path = "\(folder)/\(file.name)"
      guard let contents = file.contents else {
        members.append(.init(name: file.name, path: path, pending: nil))
        continue
      }
      let pending = try PendingFile(path, calls: calls)
      try pending.write(contents)
      members.append(.init(name: file.name, path: path, pending: pending))
    }
    // One change at a time: another's links are no files to link to.
    let lock = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    defer { if lock >= 0 { close(lock) } }
    if lock >= 0 { while flock(lock, LOCK_EX) != 0, errno == EINTR {} }
    if !replacing, members.contains(where: \.isThere) { return false }
    members.removeAll { $0.pending == nil && !$0.isThere }
    guard members.count > 1 else {
      if let only = members.first { try publish(only, folder, calls) }
      return true
    }
    if members.allSatisfy({ !$0.isLink }),
      try StagedChange(in: folder, for: members[0].path, calls: calls).perform(members)
    {
      return true
    }
    try publishInOrder(members, folder, calls)
    return true
  }

  /// Throws unless each name is one of the folder itself, and is there once.
  private static func requireNames(_ files: [File], in folder: String) throws {
    var seen = Set<String>()
    for name in files.map(\.name) {
      guard !["", ".", ".."].contains(name), !name.utf8.contains(where: { $0 == 0x2f || $0 == 0 }),
        seen.insert(name).inserted
      else {
        throw ABNError(
          .file, "files of folder \(quoted(folder))", got: "the name \(quoted(name))",
          wanted: "names without a slash, each once")
      }
    }
  }

  private static func publish(
    _ member: StagedChange.Member, _ folder: String, _ calls: FileCalls
  ) throws {
    try place(member)
    try Folder.flush(member.pending?.folder ?? folder, for: member.path, calls: calls)
  }

  private static func place(_ member: StagedChange.Member) throws {
    if let pending = member.pending {
      try pending.publish()
    } else if unlink(member.path) != 0 {
      throw fileError(member.path, "cannot be removed")
    }
  }

  /// Takes all but the first away, then puts each in its place.
  private static func publishInOrder(
    _ members: [StagedChange.Member], _ folder: String, _ calls: FileCalls
  ) throws {
    var aside: [(member: StagedChange.Member, place: String)] = []
    do {
      for member in members.dropFirst() where member.isThere {
        let name = TemporaryFiles.newPath(in: folder)
        if calls.rename(member.path, name) != 0 {
          throw fileError(member.path, "cannot be replaced")
        }
        aside.append((member, name))
      }
      try place(members[0])
    } catch {
      for (member, name) in aside { _ = calls.rename(name, member.path) }
      throw error
    }
    for (member, name) in aside {
      // A link stays, and what it leads to is replaced.
      let isLink = StagedChange.Member(name: "", path: name, pending: nil).isLink
      let stays = isLink && member.pending != nil
      if !stays || calls.rename(name, member.path) != 0 { unlink(name) }
    }
    for member in members.dropFirst() where member.pending != nil { try place(member) }
    for place in Set(members.map { $0.pending?.folder ?? folder }) {
      try Folder.flush(place, for: members[0].path, calls: calls)
    }
  }
}
