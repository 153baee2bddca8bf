/// A number of bytes as people write it: `2GiB`, `800 MB`, `1.5TiB`, `4096`.
package enum ByteCount {
  private static let units: [(name: String, bytes: Double)] = [
    ("B", 1), ("KiB", 0x1p10), ("MiB", 0x1p20), ("GiB", 0x1p30), ("TiB", 0x1p40),
    ("KB", 1e3), ("MB", 1e6), ("GB", 1e9), ("TB", 1e12),
  ]

  /// Reads a number with a unit: B, KiB to TiB (powers of 1024), KB to TB (powers of 1000), in
  /// letters of either case; without one, bytes. Fractions of a byte are dropped.
  ///
  /// - Parameter what: what it is for, in errors.
  /// - Throws: `ABNError(.attribute)` for anything else, `.name` for an unknown unit, with the
  ///   nearest.
  package static func parse(_ text: String, _ what: String = "bytes") throws -> Int {
    let word = text.filter { $0 != " " }
    let number = word.prefix { $0.isASCII && ($0.isNumber || $0 == ".") }
    let unit = word.dropFirst(number.count)
    guard let value = Double(number) else {
      throw ABNError(
        .attribute, what, got: quoted(text), wanted: "a number of bytes, as 2GiB or 800MB")
    }
    let known = units.first { $0.name.lowercased() == (unit.isEmpty ? "b" : unit.lowercased()) }
    guard let known else {
      // 2G may be 2GB or 2GiB, which differ by 7 %.
      let meant = units.map(\.name).filter {
        $0.count > 1 && $0.lowercased().hasPrefix(unit.lowercased())
      }
      throw ABNError(
        .name, "unit of \(what) \(quoted(text))", got: quoted(String(unit)),
        wanted: "one of \(units.map(\.name).joined(separator: ", "))",
        fix: meant.count == 2
          ? "Write \(meant[0]) (powers of 1024) or \(meant[1]) (of 1000)."
          : didYouMean(String(unit), in: units.map(\.name)))
    }
    let bytes = (value * known.bytes).rounded(.down)
    // Beyond this a Double is not every integer; no machine has it.
    guard bytes < 0x1p53 else {
      throw ABNError(.attribute, what, got: quoted(text), wanted: "less than 8 PiB")
    }
    return Int(bytes)
  }
}
