/// The cyclic redundancy check of Castagnoli's polynomial, reflected 0x82F63B78 (RFC 3720, B.4). It
/// is another one than zlib's.
package enum CRC32C {
  private static let table: [UInt32] = (0..<256).map { byte in
    (0..<8).reduce(UInt32(byte)) { crc, _ in crc & 1 == 1 ? crc >> 1 ^ 0x82f6_3b78 : crc >> 1 }
  }

  /// The check of these bytes: 0 of none.
  package static func checksum(_ bytes: some Sequence<UInt8>) -> UInt32 {
    ~table.withUnsafeBufferPointer { table in
      bytes.reduce(~0) { crc, byte in crc >> 8 ^ table[Int(UInt8(truncatingIfNeeded: crc) ^ byte)] }
    }
  }

  /// The check as TFRecord files hold it: `rotated right by 15, plus a constant`, so that the check
  /// of bytes that hold checks is not weak.
  package static func masked(_ bytes: some Sequence<UInt8>) -> UInt32 {
    let crc = checksum(bytes)
    return (crc >> 15 | crc << 17) &+ 0xa282_ead8
  }
}
