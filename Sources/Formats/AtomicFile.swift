import ABNTensors

/// Writes a file whole or not at all.
///
/// The bytes go to a file without a name in the same folder, are flushed to the disk, and only then
/// take the final name by `rename`, which POSIX makes atomic; the folder is flushed last. Whoever
/// opens the final name sees the old file or the complete new one. On any failure before that, and
/// where the process is killed, what was written is removed, and the old file stays as it was.
///
/// `rename` needs a name to begin with: for that moment, and from the start on a file system whose
/// files always have names, it is a temporary, `.abn-<random>.tmp`. A process that is killed then
/// leaves it behind; `TemporaryFiles.removeAbandoned` removes it.
package enum AtomicFile {
  /// Writes `contents` to `path`; a file of that name is replaced, its permissions are kept.
  ///
  /// - Throws: `ABNError(.file)` that names the path and the system's reason: the folder does not
  ///   exist or may not be written, the disk is full, `path` is a folder or a device.
  package static func write(_ contents: [UInt8], to path: String) throws {
    try write(to: path) { try $0.write(contents) }
  }

  /// Writes `text` as UTF-8 to `path`, in the same way.
  ///
  /// - Throws: `ABNError(.file)` that names the path and the system's reason.
  package static func write(_ text: String, to path: String) throws {
    try write(Array(text.utf8), to: path)
  }

  /// Writes what `body` gives to its writer to `path`, in the same way.
  ///
  /// A symbolic link at `path` is followed: the file that it names is replaced, the link stays; one
  /// that names no file is replaced itself.
  ///
  /// - Throws: `ABNError(.file)` that names the path and the system's reason, or what `body`
  ///   throws; in both cases `path` is as it was before, unless the error says that the file is
  ///   complete (its folder could not be flushed).
  package static func write(to path: String, _ body: (FileWriter) throws -> Void) throws {
    try Uninterrupted.run { try write(to: path, calls: .system, body) }
  }

  static func write(
    to path: String, calls: FileCalls, _ body: (FileWriter) throws -> Void
  ) throws {
    let file = try PendingFile(path, calls: calls)
    try file.write(body)
    try file.publish()
    try Folder.flush(file.folder, for: path, calls: calls)
  }
}
