import ABNTensors

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

/// What lies in a folder, in natural order.
struct FolderListing {
  var folders: [String] = []
  var files: [String] = []
  /// Names that are not UTF-8, with their other bytes as \xNN.
  var unreadableNames: [String] = []

  /// - Throws: `ABNError(.file)` with the system's reason.
  init(_ path: String) throws {
    guard !path.utf8.contains(0), let folder = opendir(path) else {
      throw ABNError(
        .file, "folder \(quoted(path))", got: String(cString: strerror(errno)),
        wanted: "a folder that can be listed",
        fix: errno == EACCES ? "Choose a place that you may access." : "")
    }
    defer { closedir(folder) }
    while true {
      errno = 0
      guard let entry = readdir(folder) else {
        if errno == 0 { break }
        throw ABNError(
          .file, "folder \(quoted(path))", got: String(cString: strerror(errno)),
          wanted: "a folder that can be listed")
      }
      let kind = Int(entry.pointee.d_type)
      let (name, bytes) = withUnsafePointer(to: &entry.pointee.d_name) { field in
        field.withMemoryRebound(to: CChar.self, capacity: 256) {
          (String(validatingCString: $0), Array(UnsafeBufferPointer(start: $0, count: strlen($0))))
        }
      }
      guard let name else {
        unreadableNames.append(Self.escaped(bytes))
        continue
      }
      if name == "." || name == ".." { continue }
      if Self.isFolder("\(path)/\(name)", kind) { folders.append(name) } else { files.append(name) }
    }
    folders.sort(by: Self.isBefore)
    files.sort(by: Self.isBefore)
  }

  private static func isFolder(_ path: String, _ kind: Int) -> Bool {
    if kind == Int(DT_DIR) { return true }
    if kind == Int(DT_REG) { return false }
    // A link, or a file system that does not tell.
    return isFolder(path)
  }

  /// Whether a path leads to a folder.
  static func isFolder(_ path: String) -> Bool {
    var status = stat()
    return stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR
  }

  private static func escaped(_ bytes: [CChar]) -> String {
    var text = ""
    for byte in bytes.map({ UInt8(bitPattern: $0) }) {
      if (0x20..<0x7f).contains(byte) {
        text.unicodeScalars.append(UnicodeScalar(byte))
      } else {
        let digits = String(byte, radix: 16, uppercase: true)
        text += "\\x" + (digits.utf8.count < 2 ? "0" : "") + digits
      }
    }
    return text
  }

  /// Natural order: numbers in names by their value, `class2` before `class10`; all else by bytes.
  static func isBefore(_ a: String, _ b: String) -> Bool {
    let (x, y) = (Array(a.utf8), Array(b.utf8))
    var (i, j) = (0, 0)
    func isDigit(_ byte: UInt8) -> Bool { (0x30...0x39).contains(byte) }
    while i < x.count, j < y.count {
      if isDigit(x[i]), isDigit(y[j]) {
        let first = x[i...].prefix(while: isDigit)
        let second = y[j...].prefix(while: isDigit)
        let (p, q) = (first.drop { $0 == 0x30 }, second.drop { $0 == 0x30 })
        if p.count != q.count { return p.count < q.count }
        if !p.elementsEqual(q) { return p.lexicographicallyPrecedes(q) }
        (i, j) = (first.endIndex, second.endIndex)
      } else {
        if x[i] != y[j] { return x[i] < y[j] }
        (i, j) = (i + 1, j + 1)
      }
    }
    if (x.count - i) != (y.count - j) { return x.count - i < y.count - j }
    // Equal but for leading zeros.
    return x.lexicographicallyPrecedes(y)
  }
}
