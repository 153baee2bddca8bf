import ABNTensors

/// Writes entries that are stored, not packed, and the table of contents behind them.
///
/// Equal entries give equal files: every entry bears the first date that zip can say, 1980-01-01.
/// Sizes and offsets that do not fit into 32 bits, and more than 65534 entries, go into the zip64
/// records.
///
/// Source: PKWARE, ".ZIP File Format Specification" (APPNOTE 6.3), sections 4.3 and 4.5.3.
struct ZipWriter {
  private let writer: FileWriter
  private var table: [UInt8] = []
  private var count = 0
  /// Sizes from here on go into zip64 records; smaller only in tests.
  private let largeBytes: Int
  private let date: UInt16 = 1 << 5 | 1

  init(_ writer: FileWriter, largeBytes: Int = 0xffff_ffff) {
    self.writer = writer
    self.largeBytes = largeBytes
  }

  /// Appends an entry whose bytes are those of `parts`, one after the other.
  mutating func append(name: String, parts: [UnsafeRawBufferPointer]) throws {
    let nameBytes = Array(name.utf8)
    let bytes = parts.reduce(0) { $0 + $1.count }
    let checksum = parts.reduce(UInt32(0)) { cyclicChecksum($1, after: $0) }
    let offset = writer.position
    let isLarge = bytes >= largeBytes
    let isFar = offset >= largeBytes

    var common: [UInt8] = []
    common.appendLittleEndian(UInt16(isLarge || isFar ? 45 : 20))
    // Bit 11: the name is UTF-8. Method 0: stored. Midnight.
    common.appendLittleEndian(UInt16(1 << 11))
    common.appendLittleEndian(UInt16(0))
    common.appendLittleEndian(UInt16(0))
    common.appendLittleEndian(date)
    common.appendLittleEndian(checksum)
    let shownBytes = isLarge ? UInt32.max : UInt32(bytes)
    common.appendLittleEndian(shownBytes)
    common.appendLittleEndian(shownBytes)
    common.appendLittleEndian(UInt16(nameBytes.count))

    let sizes = isLarge ? [UInt64(bytes), UInt64(bytes)] : []
    var header: [UInt8] = []
    header.appendLittleEndian(UInt32(0x0403_4b50))
    header += common
    let headerExtra = Self.extra(sizes)
    header.appendLittleEndian(UInt16(headerExtra.count))
    try writer.write(header + nameBytes + headerExtra)
    for part in parts { try writer.write(part) }

    let tableExtra = Self.extra(sizes + (isFar ? [UInt64(offset)] : []))
    table.appendLittleEndian(UInt32(0x0201_4b50))
    table.appendLittleEndian(UInt16(isLarge || isFar ? 45 : 20))
    table += common
    table.appendLittleEndian(UInt16(tableExtra.count))
    // No comment, disk 0, no attributes.
    table += [UInt8](repeating: 0, count: 10)
    table.appendLittleEndian(isFar ? UInt32.max : UInt32(offset))
    table += nameBytes + tableExtra
    count += 1
  }

  /// Writes the table of contents.
  func finish() throws {
    let offset = writer.position
    try writer.write(table)
    var end: [UInt8] = []
    let isLarge = count >= 0xffff || table.count >= largeBytes || offset >= largeBytes
    if isLarge {
      end.appendLittleEndian(UInt32(0x0606_4b50))
      end.appendLittleEndian(UInt64(44))
      end.appendLittleEndian(UInt16(45))
      end.appendLittleEndian(UInt16(45))
      end.appendLittleEndian(UInt64(0))
      for value in [count, count, table.count, offset] { end.appendLittleEndian(UInt64(value)) }
      end.appendLittleEndian(UInt32(0x0706_4b50))
      end.appendLittleEndian(UInt32(0))
      end.appendLittleEndian(UInt64(offset + table.count))
      end.appendLittleEndian(UInt32(1))
    }
    end.appendLittleEndian(UInt32(0x0605_4b50))
    end.appendLittleEndian(UInt32(0))
    for _ in 0..<2 { end.appendLittleEndian(isLarge ? UInt16.max : UInt16(count)) }
    for value in [table.count, offset] {
      end.appendLittleEndian(isLarge ? UInt32.max : UInt32(value))
    }
    end.appendLittleEndian(UInt16(0))
    try writer.write(end)
  }

  private static func extra(_ values: [UInt64]) -> [UInt8] {
    if values.isEmpty { return [] }
    var bytes: [UInt8] = []
    bytes.appendLittleEndian(UInt16(1))
    bytes.appendLittleEndian(UInt16(values.count * 8))
    for value in values { bytes.appendLittleEndian(value) }
    return bytes
  }
}
