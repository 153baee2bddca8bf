#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

/// What the machine has and this process holds, as the system says.
package enum MachineMemory {
  /// The memory that this process can have, in bytes: the least of the machine's, of what its
  /// control groups allow (a container, a systemd unit) and of `ulimit -v` and `ulimit -d`; nil
  /// where the system does not tell.
  package static var bytes: Int? {
    let (pages, pageBytes) = (sysconf(Int32(_SC_PHYS_PAGES)), sysconf(Int32(_SC_PAGESIZE)))
    let physical = pages > 0 && pageBytes > 0 ? pages * pageBytes : nil
    return ([physical] + groupLimits + [resourceLimit(RLIMIT_AS), resourceLimit(RLIMIT_DATA)])
      .compactMap { $0 }.min()
  }

  /// The resident size of this process (`VmRSS`), in bytes; nil where /proc does not tell.
  package static var residentBytes: Int? { status("VmRSS:") }

  /// The largest resident size of this process so far (`VmHWM`), in bytes.
  package static var peakBytes: Int? { status("VmHWM:") }

  /// The bytes in a limit file of a control group; nil for `max`.
  package static func limit(in text: String) -> Int? {
    text.split(whereSeparator: \.isWhitespace).first.flatMap { Int($0) }
      .flatMap { $0 > 0 ? $0 : nil }
  }

  /// The limits of the process's control group and of all above it, in both versions. Inside a
  /// container the root of the mounted hierarchy is the container's own group.
  private static var groupLimits: [Int?] {
    var files = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"]
    // Lines are number:controllers:path, the second version's with an empty list of controllers.
    for line in (contents(of: "/proc/self/cgroup") ?? "").split(separator: "\n") {
      let parts = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
      guard parts.count == 3, parts[1].isEmpty || parts[1].split(separator: ",").contains("memory")
      else { continue }
      let (root, name) =
        parts[1].isEmpty
        ? ("/sys/fs/cgroup", "memory.max")
        : ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
      var path = root
      for part in parts[2].split(separator: "/") {
        path += "/\(part)"
        files.append("\(path)/\(name)")
      }
    }
    return files.map { contents(of: $0).flatMap(limit(in:)) }
  }

  #if canImport(Glibc)
  private typealias Resource = __rlimit_resource
  private static func number(_ resource: Resource) -> Int32 { Int32(resource.rawValue) }
  #else
  private typealias Resource = Int32
  private static func number(_ resource: Resource) -> Int32 { resource }
  #endif

  private static func resourceLimit(_ resource: Resource) -> Int? {
    var limits = rlimit()
    guard getrlimit(number(resource), &limits) == 0, limits.rlim_cur < UInt(Int.max) else {
      return nil
    }
    return Int(limits.rlim_cur)
  }

  private static func status(_ name: String) -> Int? {
    for line in (contents(of: "/proc/self/status") ?? "").split(separator: "\n")
    where line.hasPrefix(name) {
      return line.split(whereSeparator: \.isWhitespace).lazy.compactMap { Int($0) }.first
        .map { $0 * 1024 }
    }
    return nil
  }

  /// The first 64 KiB of a file of /proc or /sys.
  private static func contents(of path: String) -> String? {
    let file = open(path, O_RDONLY | O_CLOEXEC)
    guard file >= 0 else { return nil }
    defer { close(file) }
    var bytes = [UInt8](repeating: 0, count: 1 << 16)
    var count = 0
    while count < bytes.count {
      let got = bytes.withUnsafeMutableBytes {
        read(file, $0.baseAddress! + count, $0.count - count)
      }
      if got <= 0 { break }
      count += got
    }
    return String(decoding: bytes[..<count], as: UTF8.self)
  }
}

/// 1536 as `1.5 KiB`.
package func describeBytes(_ bytes: Int) -> String {
  var value = Double(bytes.magnitude)
  var unit = 0
  let units = ["B", "KiB", "MiB", "GiB", "TiB"]
  while value >= 1024, unit < units.count - 1 {
    value /= 1024
    unit += 1
  }
  if unit == 0 { return "\(bytes) B" }
  let tenths = Int((value * 10).rounded(.toNearestOrEven))
  return "\(bytes < 0 ? "-" : "")\(tenths / 10).\(tenths % 10) \(units[unit])"
}
