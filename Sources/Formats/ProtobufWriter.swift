/// Writes a message in the encoding of Protocol Buffers: fields one after the other, each with its
/// number and wire type before it.
struct ProtobufWriter {
  private(set) var bytes: [UInt8] = []

  private enum WireType: UInt64 {
    case varint = 0
    case eightBytes = 1
    case length = 2
    case fourBytes = 5
  }

  private mutating func appendTag(_ field: Int, _ type: WireType) {
    bytes.appendVarint(UInt64(field) << 3 | type.rawValue)
  }

  /// int32, int64, bool or an enumeration.
  mutating func integer(_ field: Int, _ value: Int) {
    appendTag(field, .varint)
    bytes.appendVarint(UInt64(bitPattern: Int64(value)))
  }

  mutating func double(_ field: Int, _ value: Double) {
    appendTag(field, .eightBytes)
    bytes.appendLittleEndian(value.bitPattern)
  }

  mutating func float(_ field: Int, _ value: Float) {
    appendTag(field, .fourBytes)
    bytes.appendLittleEndian(value.bitPattern)
  }

  mutating func bytes(_ field: Int, _ value: [UInt8]) {
    appendTag(field, .length)
    bytes.appendVarint(UInt64(value.count))
    bytes += value
  }

  mutating func string(_ field: Int, _ value: String) { bytes(field, Array(value.utf8)) }

  /// A repeated double, packed.
  mutating func doubles(_ field: Int, _ values: [Double]) {
    var packed: [UInt8] = []
    for value in values { packed.appendLittleEndian(value.bitPattern) }
    bytes(field, packed)
  }

  mutating func message(_ field: Int, _ build: (inout ProtobufWriter) -> Void) {
    var inner = ProtobufWriter()
    build(&inner)
    bytes(field, inner.bytes)
  }
}
