import ABNTensors

/// The table of contents of a zip file: entries that are stored or deflated, zip64 included.
///
/// Refused, with the byte: encrypted entries, several disks, other methods, names that appear
/// twice, entries that overlap, and every offset or size that leaves the file.
///
/// Source: PKWARE, ".ZIP File Format Specification" (APPNOTE 6.3), sections 4.3 and 4.5.3.
struct ZipReader {
  /// One file in the zip file.
  struct Entry {
    let name: String
    let coding: ByteStream.Coding
    let checksum: UInt32
    let packedBytes: Int
    let bytes: Int
    let headerOffset: Int
    /// Where the entry stands in the table of contents.
    let tableOffset: Int
    /// Where its data stands; known once the local header has been read.
    var dataOffset = 0
  }

  let source: ByteSource
  /// The entries in the order of the table of contents.
  private(set) var entries: [Entry] = []

  /// Reads and checks the table of contents.
  init(_ source: ByteSource) throws {
    self.source = source
    let end = try Self.findEnd(source)
    let table = try source.bytes(at: end.tableOffset, count: end.tableBytes)
    // Each entry takes at least 46 bytes.
    guard end.count <= table.count / 46 else {
      throw source.fault(
        at: end.tableOffset, got: "\(end.count) entries in \(table.count) bytes",
        wanted: "at least 46 bytes an entry")
    }
    var place = 0
    var names: Set<String> = []
    if end.count > source.limits.mostEntries {
      throw source.fault(
        at: end.tableOffset, got: "\(end.count) entries",
        wanted: "at most \(source.limits.mostEntries) (ReadLimits.mostEntries)",
        fix: ByteSource.limitFix)
    }
    for _ in 0..<end.count {
      let (entry, next) = try readEntry(table, at: place, tableOffset: end.tableOffset)
      guard names.insert(entry.name).inserted else {
        throw source.fault(
          at: end.tableOffset + place, got: "the entry \(quoted(entry.name)) twice",
          wanted: "each name once")
      }
      entries.append(entry)
      place = next
    }
    guard place == table.count else {
      throw source.fault(
        at: end.tableOffset + place, got: "\(table.count - place) bytes after the last entry",
        wanted: "the end of the table of contents")
    }
    try locateData(end: end.tableOffset)
  }

  /// A stream of the unpacked bytes of an entry.
  func stream(_ entry: Entry) throws -> ByteStream {
    try ByteStream(
      source, range: entry.dataOffset..<entry.dataOffset + entry.packedBytes, coding: entry.coding)
  }

  /// Checks length and checksum of an entry whose stream has been read to its end.
  func check(_ entry: Entry, _ stream: ByteStream) throws {
    guard stream.position == entry.bytes else {
      throw source.fault(
        at: entry.tableOffset, got: "\(stream.position) bytes of \(quoted(entry.name))",
        wanted: "\(entry.bytes) as the table of contents says")
    }
    guard stream.checksum == entry.checksum else {
      throw source.fault(
        at: entry.dataOffset,
        got: "checksum \(String(stream.checksum, radix: 16)) of \(quoted(entry.name))",
        wanted: String(entry.checksum, radix: 16), fix: "The file is damaged.")
    }
  }

  private struct End {
    var count: Int
    var tableBytes: Int
    var tableOffset: Int
  }

  private static func findEnd(_ source: ByteSource) throws -> End {
    let recordBytes = 22
    let tailBytes = min(source.byteCount, recordBytes + 0xffff)
    let tailOffset = source.byteCount - tailBytes
    let tail = try source.bytes(at: tailOffset, count: tailBytes)
    // The record is followed by a comment that fills the file: the last such place is the one.
    let place = stride(from: tail.count - recordBytes, through: 0, by: -1).first { place in
      tail.littleEndian(UInt32.self, at: place) == 0x0605_4b50
        && place + recordBytes + Int(tail.littleEndian(UInt16.self, at: place + 20)) == tail.count
    }
    guard let place else {
      throw source.fault(
        at: source.byteCount, got: "no end record", wanted: "a zip file",
        fix: "The file is cut off or no zip file.")
    }
    let offset = tailOffset + place
    let disks = (
      tail.littleEndian(UInt16.self, at: place + 4), tail.littleEndian(UInt16.self, at: place + 6)
    )
    var end = End(
      count: Int(tail.littleEndian(UInt16.self, at: place + 10)),
      tableBytes: Int(tail.littleEndian(UInt32.self, at: place + 12)),
      tableOffset: Int(tail.littleEndian(UInt32.self, at: place + 16)))
    let onThisDisk = Int(tail.littleEndian(UInt16.self, at: place + 8))
    var limit = offset
    let isLarge =
      end.count == 0xffff || end.tableBytes == 0xffff_ffff || end.tableOffset == 0xffff_ffff
    if isLarge, let (large, start) = try findLargeEnd(source, before: offset) {
      end = large
      limit = start
    } else if disks != (0, 0) || onThisDisk != end.count {
      throw source.fault(
        .unsupported, at: offset, got: "a zip file on several disks", wanted: "a single file")
    }
    guard end.tableOffset <= limit, end.tableBytes <= limit - end.tableOffset else {
      throw source.fault(
        at: offset,
        got: "a table of contents of \(end.tableBytes) bytes at byte \(end.tableOffset)",
        wanted: "one before byte \(limit)", fix: "The file is damaged.")
    }
    return end
  }

  /// The zip64 end record that a locator in front of the end record at `offset` names.
  private static func findLargeEnd(
    _ source: ByteSource, before offset: Int
  ) throws -> (End, start: Int)? {
    let locatorBytes = 20
    guard offset >= locatorBytes else { return nil }
    let locator = try source.bytes(at: offset - locatorBytes, count: locatorBytes)
    guard locator.littleEndian(UInt32.self, at: 0) == 0x0706_4b50 else { return nil }
    let start = Int(clamping: locator.littleEndian(UInt64.self, at: 8))
    let record = try source.bytes(at: start, count: 56)
    guard record.littleEndian(UInt32.self, at: 0) == 0x0606_4b50 else {
      throw source.fault(at: start, got: "other bytes", wanted: "a zip64 end record")
    }
    let count = Int(clamping: record.littleEndian(UInt64.self, at: 32))
    guard record.littleEndian(UInt64.self, at: 16) == 0,
      Int(clamping: record.littleEndian(UInt64.self, at: 24)) == count
    else {
      throw source.fault(
        .unsupported, at: start, got: "a zip file on several disks", wanted: "a single file")
    }
    let end = End(
      count: count, tableBytes: Int(clamping: record.littleEndian(UInt64.self, at: 40)),
      tableOffset: Int(clamping: record.littleEndian(UInt64.self, at: 48)))
    return (end, start)
  }

  private func readEntry(
    _ table: [UInt8], at place: Int, tableOffset: Int
  ) throws -> (Entry, next: Int) {
    let at = tableOffset + place
    func fault(_ got: String, _ wanted: String, _ category: ABNError.Category = .file) -> ABNError {
      source.fault(category, at: at, got: got, wanted: wanted)
    }
    guard place + 46 <= table.count, table.littleEndian(UInt32.self, at: place) == 0x0201_4b50
    else { throw fault("other bytes", "an entry of the table of contents") }
    func short(_ offset: Int) -> Int { Int(table.littleEndian(UInt16.self, at: place + offset)) }
    func long(_ offset: Int) -> Int { Int(table.littleEndian(UInt32.self, at: place + offset)) }
    let nameEnd = place + 46 + short(28)
    let extraEnd = nameEnd + short(30)
    let next = extraEnd + short(32)
    guard next <= table.count else { throw fault("an entry that is cut off", "a whole entry") }
    let name = try String.checked(table[(place + 46)..<nameEnd]) { fault($0, $1) }
    guard short(8) & 1 == 0 else {
      throw fault("\(quoted(name)) encrypted", "no encryption", .unsupported)
    }
    let coding: ByteStream.Coding
    switch short(10) {
    case 0: coding = .stored
    case 8: coding = .deflate
    case let method:
      throw fault(
        "\(quoted(name)) packed by method \(method)", "method 0 (stored) or 8 (deflate)",
        .unsupported)
    }
    var sizes = [long(24), long(20), long(42)]
    try readLargeSizes(&sizes, Array(table[nameEnd..<extraEnd]), fault)
    if coding == .stored && sizes[0] != sizes[1] {
      throw fault("\(quoted(name)) stored as \(sizes[1]) bytes", "\(sizes[0]) bytes")
    }
    let entry = Entry(
      name: name, coding: coding, checksum: table.littleEndian(UInt32.self, at: place + 16),
      packedBytes: sizes[1], bytes: sizes[0], headerOffset: sizes[2], tableOffset: at)
    return (entry, next)
  }

  /// Replaces the sizes (unpacked, packed, offset) that stand in a zip64 extra field.
  private func readLargeSizes(
    _ sizes: inout [Int], _ extra: [UInt8], _ fault: (String, String, ABNError.Category) -> ABNError
  ) throws {
    guard sizes.contains(0xffff_ffff) else { return }
    var place = 0
    while place + 4 <= extra.count {
      let end = place + 4 + Int(extra.littleEndian(UInt16.self, at: place + 2))
      guard end <= extra.count else { throw fault("a cut-off extra field", "a whole one", .file) }
      if extra.littleEndian(UInt16.self, at: place) == 1 {
        var field = place + 4
        for i in sizes.indices where sizes[i] == 0xffff_ffff {
          guard field + 8 <= end else {
            throw fault("a zip64 field that is too short", "8 bytes a size", .file)
          }
          sizes[i] = Int(clamping: extra.littleEndian(UInt64.self, at: field))
          field += 8
        }
        return
      }
      place = end
    }
  }

  /// Reads the local headers and checks that no two entries share bytes.
  private mutating func locateData(end: Int) throws {
    for i in entries.indices {
      let entry = entries[i]
      let at = entry.headerOffset
      let header = try source.bytes(at: at, count: 30)
      guard header.littleEndian(UInt32.self, at: 0) == 0x0403_4b50 else {
        throw source.fault(
          at: at, got: "other bytes", wanted: "the header of \(quoted(entry.name))")
      }
      let nameBytes = Int(header.littleEndian(UInt16.self, at: 26))
      let name = try source.bytes(at: at + 30, count: nameBytes)
      guard name == Array(entry.name.utf8) else {
        throw source.fault(
          at: at + 30, got: "the name \(quoted(String(decoding: name, as: UTF8.self)))",
          wanted: "\(quoted(entry.name)) as in the table of contents")
      }
      let offset = at + 30 + nameBytes + Int(header.littleEndian(UInt16.self, at: 28))
      guard offset <= end, entry.packedBytes <= end - offset else {
        throw source.fault(
          at: entry.tableOffset, got: "\(quoted(entry.name)) of \(entry.packedBytes) bytes",
          wanted: "an end before byte \(end)", fix: "The file is cut off or damaged.")
      }
      entries[i].dataOffset = offset
    }
    var used = 0
    for entry in entries.sorted(by: { $0.headerOffset < $1.headerOffset }) {
      guard entry.headerOffset >= used else {
        throw source.fault(
          at: entry.headerOffset, got: "\(quoted(entry.name)) over the bytes of another entry",
          wanted: "entries that do not overlap")
      }
      used = entry.dataOffset + entry.packedBytes
    }
  }
}
