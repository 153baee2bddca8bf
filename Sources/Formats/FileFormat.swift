import ABNTensors

/// What a file of this package says of itself, in the metadata of a safetensors file:
/// `swift-inplace-abn model 2.0`.
///
/// A reader takes every file of its kind whose major version it knows; a higher minor version only
/// adds what an older reader may leave out. Another kind of file, a checkpoint say, gets a word of
/// its own and counts for itself.
package struct FileFormat: Sendable, Hashable, CustomStringConvertible {
  /// The key in the metadata.
  package static let key = "format"
  private static let package = "swift-inplace-abn"

  /// What the file holds: `model`.
  package var kind: String
  /// Raised where older readers would misunderstand the file.
  package var major: Int
  /// Raised where something is added that older readers may leave out.
  package var minor: Int

  /// A format of this kind and version.
  package init(kind: String, major: Int, minor: Int = 0) {
    self.kind = kind
    self.major = major
    self.minor = minor
  }

  /// The format that a text describes: `description`, or the same without minor version; nil for
  /// any other text.
  package init?(_ text: String) {
    let words = text.utf8.split(separator: 0x20, omittingEmptySubsequences: false).map {
      String(Substring($0))
    }
    guard words.count == 3, words[0] == Self.package, !words[1].isEmpty else { return nil }
    let numbers = words[2].utf8.split(separator: 0x2e, omittingEmptySubsequences: false).map {
      $0.allSatisfy { (0x30...0x39).contains($0) } ? Int(String(Substring($0))) : nil
    }
    guard let major = numbers[0], numbers.count <= 2 else { return nil }
    guard let minor = numbers.count == 2 ? numbers[1] : 0 else { return nil }
    self.init(kind: words[1], major: major, minor: minor)
  }

  package var description: String { "\(Self.package) \(kind) \(major).\(minor)" }

  /// The format that a file's metadata state, if it is one that a reader of this kind and of major
  /// versions up to `newest` takes.
  ///
  /// - Throws: `ABNError(.file)` for metadata without a format and for another kind of file,
  ///   `ABNError(.unsupported)` for a newer version.
  package static func read(
    _ metadata: [String: String], kind: String, newest: Int, path: String
  ) throws -> FileFormat {
    let what = "\(kind) file \(quoted(path))"
    guard let format = metadata[key].flatMap(FileFormat.init), format.major > 0 else {
      throw ABNError(
        .file, what, got: "\(key): \(metadata[key] ?? "nothing")",
        wanted: "\(package) \(kind), as this package writes it")
    }
    guard format.kind == kind else {
      throw ABNError(
        .file, what, got: "a file of kind \(format.kind)", wanted: "one of kind \(kind)")
    }
    guard format.major <= newest else {
      throw ABNError(
        .unsupported, what, got: "version \(format.major).\(format.minor)",
        wanted: "version \(newest) or older", fix: "A newer release of this package reads it.")
    }
    return format
  }
}
