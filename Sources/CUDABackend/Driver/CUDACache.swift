import ABNFormats
import ABNTensors

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

/// What takes long to find out and is the same for a card and versions: compiled kernels, and which
/// of a library's engines is the fastest.
///
/// One file for each key, in the folder that `ABN_CUDA_CACHE` names, else
/// `$XDG_CACHE_HOME/swift-inplace-abn`, else `~/.cache/swift-inplace-abn`; none where
/// `ABN_CUDA_CACHE` is empty. Files are written whole or not at all, so that two processes may
/// write the same one; a file that is damaged, or of another key, counts as missing.
enum CUDACache {
  private static let magic = Array("abn cache 1\n".utf8)

  /// What was stored under a key.
  ///
  /// - Parameters:
  ///   - kind: the beginning of the file's name.
  ///   - key: everything that the value hangs on.
  static func read(_ kind: String, key: String) -> [UInt8]? {
    guard let path = path(kind, key), let file = contents(of: path) else { return nil }
    let head = magic + header(key)
    guard file.count >= head.count + 8, file.starts(with: head) else { return nil }
    let value = Array(file[(head.count + 8)...])
    let sum = file[head.count..<head.count + 8].reversed().reduce(UInt64(0)) {
      $0 << 8 | UInt64($1)
    }
    return sum == hash(value) ? value : nil
  }

  /// Stores a value. A cache that cannot be written is no mistake: the next process finds out anew.
  static func write(_ kind: String, key: String, _ value: [UInt8]) {
    guard let path = path(kind, key) else { return }
    let folder = path.split(separator: "/").dropLast().map { "/\($0)" }.joined()
    guard (try? Folder.make(folder)) != nil else { return }
    let sum = hash(value)
    let bytes = (0..<8).map { UInt8(truncatingIfNeeded: sum >> (8 * $0)) }
    try? AtomicFile.write(magic + header(key) + bytes + value, to: path)
  }

  /// The length of the key, then the key.
  private static func header(_ key: String) -> [UInt8] {
    let text = Array(key.utf8)
    return Array("\(text.count)\n".utf8) + text
  }

  private static func path(_ kind: String, _ key: String) -> String? {
    folder.map { "\($0)/\(kind)-\(String(hash(Array(key.utf8)), radix: 16))" }
  }

  private static let folder: String? = {
    func value(_ name: String) -> String? { getenv(name).map { String(cString: $0) } }
    if let given = value("ABN_CUDA_CACHE") { return given.hasPrefix("/") ? given : nil }
    if let caches = value("XDG_CACHE_HOME"), caches.hasPrefix("/") {
      return caches + "/swift-inplace-abn"
    }
    return value("HOME").flatMap { $0.hasPrefix("/") ? $0 + "/.cache/swift-inplace-abn" : nil }
  }()

  private static func contents(of path: String) -> [UInt8]? {
    guard let file = fopen(path, "rb") else { return nil }
    defer { fclose(file) }
    var all: [UInt8] = []
    var part = [UInt8](repeating: 0, count: 1 << 16)
    while true {
      let count = fread(&part, 1, part.count, file)
      if count == 0 { return ferror(file) == 0 ? all : nil }
      all += part[..<count]
    }
  }

  /// FNV-1a, 64 bits: tells damage and names files; the key itself is compared too.
  private static func hash(_ bytes: [UInt8]) -> UInt64 {
    bytes.reduce(0xcbf2_9ce4_8422_2325) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }
  }
}
