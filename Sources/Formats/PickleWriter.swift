/// A value of a pickle that this package writes: what dictionaries of plain data are made of.
package indirect enum PickleItem: Sendable {
  case none
  case bool(Bool)
  case integer(Int)
  case text(String)
  case list([PickleItem])
  case tuple([PickleItem])
  /// Keys in the order given.
  case dictionary([(String, PickleItem)])
}

/// Writes pickles of protocol 4 with the few operations that small readers know: no memo, no
/// frames, no classes.
package enum PickleWriter {
  /// The pickle of a value.
  package static func bytes(_ item: PickleItem) -> [UInt8] {
    var out: [UInt8] = [0x80, 4]
    write(item, to: &out)
    out.append(UInt8(ascii: "."))
    return out
  }

  private static func write(_ item: PickleItem, to out: inout [UInt8]) {
    switch item {
    case .none: out.append(UInt8(ascii: "N"))
    case .bool(let value): out.append(value ? 0x88 : 0x89)
    case .integer(let value): write(value, to: &out)
    case .text(let text):
      let bytes = Array(text.utf8)
      if bytes.count < 256 {
        out += [0x8c, UInt8(bytes.count)]
      } else {
        out.append(UInt8(ascii: "X"))
        append(UInt32(bytes.count), to: &out)
      }
      out += bytes
    case .list(let items):
      out.append(UInt8(ascii: "]"))
      guard !items.isEmpty else { return }
      out.append(UInt8(ascii: "("))
      for item in items { write(item, to: &out) }
      out.append(UInt8(ascii: "e"))
    case .tuple(let items):
      if items.count == 2 {
        for item in items { write(item, to: &out) }
        out.append(0x86)
      } else {
        out.append(UInt8(ascii: "("))
        for item in items { write(item, to: &out) }
        out.append(UInt8(ascii: "t"))
      }
    case .dictionary(let entries):
      out.append(UInt8(ascii: "}"))
      guard !entries.isEmpty else { return }
      out.append(UInt8(ascii: "("))
      for (key, value) in entries {
        write(.text(key), to: &out)
        write(value, to: &out)
      }
      out.append(UInt8(ascii: "u"))
    }
  }

  private static func write(_ value: Int, to out: inout [UInt8]) {
    switch value {
    case 0...255: out += [UInt8(ascii: "K"), UInt8(value)]
    case 256...65535:
      out += [UInt8(ascii: "M"), UInt8(value & 255), UInt8(value >> 8)]
    case Int(Int32.min)...Int(Int32.max):
      out.append(UInt8(ascii: "J"))
      append(UInt32(bitPattern: Int32(value)), to: &out)
    default:
      out += [0x8a, 8]
      for shift in 0..<8 { out.append(UInt8(truncatingIfNeeded: value >> (8 * shift))) }
    }
  }

  private static func append(_ value: UInt32, to out: inout [UInt8]) {
    for shift in 0..<4 { out.append(UInt8(truncatingIfNeeded: value >> (8 * UInt32(shift)))) }
  }
}
