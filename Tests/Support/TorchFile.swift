import CZlib
import ABNTensors

/// Files as `torch.save` writes them, put together opcode by opcode: those of today, and those of
/// before version 1.6.
package enum TorchFile {
  /// What Python saves.
  package indirect enum Value {
    case none
    case integer(Int)
    case float(Double)
    case text(String)
    case list([Value])
    case tuple([Value])
    case dictionary([(String, Value)])
    /// Keys that are numbers, as in an optimizer's state.
    case numbered([(Int, Value)])
    /// `collections.OrderedDict`.
    case ordered([(String, Value)])
    /// An instance of a class, with its attributes.
    case object(String, [(String, Value)])
    /// The tensor's elements as they stand, under a storage of this class.
    case tensor(Tensor, storage: String)
    /// The same elements in another order: strides, and elements of the storage before the first.
    case strided(Tensor, storage: String, shape: [Int], strides: [Int], first: Int)
  }

  package typealias Bytes = [UInt8]

  /// A state dictionary of float32 tensors.
  package static func state(_ tensors: [String: Tensor], prefix: String = "") -> Value {
    .ordered(
      tensors.sorted { $0.key < $1.key }.map {
        (prefix + $0.key, .tensor($0.value, storage: "FloatStorage"))
      })
  }

  /// Before 1.6: five pickles, then the storages.
  package static func legacy(_ root: Value) -> Bytes {
    var writer = Writer()
    let body = writer.pickle(root)
    let machine = Value.dictionary([("protocol_version", .integer(1001))])
    var bytes: Bytes = [
      0x80, 2, 0x8a, 10, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, 0x2e,
    ]
    var other = Writer()
    bytes += other.pickle(.integer(1001)) + other.pickle(machine) + body
    bytes += other.pickle(.list(writer.storages.indices.map { .text("\($0)") }))
    for storage in writer.storages {
      bytes += little(UInt64(storage.elementCount)) + storage.withUnsafeBytes { Array($0) }
    }
    return bytes
  }

  /// Since 1.6: a zip file of stored entries.
  package static func zip(_ root: Value, folder: String = "archive") -> Bytes {
    var writer = Writer()
    let body = writer.pickle(root)
    var entries = [("data.pkl", body), ("byteorder", Array("little".utf8))]
    for (number, storage) in writer.storages.enumerated() {
      entries.append(("data/\(number)", storage.withUnsafeBytes { Array($0) }))
    }
    entries.append(("version", Array("3\n".utf8)))
    var (bytes, table): (Bytes, Bytes) = ([], [])
    for (name, content) in entries {
      let path = Array("\(folder)/\(name)".utf8)
      let sum = content.withUnsafeBytes {
        UInt32(crc32(0, $0.bindMemory(to: UInt8.self).baseAddress, UInt32($0.count)))
      }
      let sizes =
        little(sum) + little(UInt32(content.count)) + little(UInt32(content.count))
        + little(UInt16(path.count)) + little(UInt16(0))
      let start = UInt32(bytes.count)
      let version = little(UInt16(20)) + little(UInt16(0)) + little(UInt16(0)) + little(UInt32(0))
      bytes += little(UInt32(0x0403_4b50)) + version + sizes + path + content
      table += little(UInt32(0x0201_4b50)) + little(UInt16(20)) + version + sizes
      table += little(UInt16(0)) + little(UInt16(0)) + little(UInt16(0)) + little(UInt32(0))
      table += little(start) + path
    }
    let count = little(UInt16(entries.count))
    return bytes + table + little(UInt32(0x0605_4b50)) + little(UInt32(0)) + count + count
      + little(UInt32(table.count)) + little(UInt32(bytes.count)) + little(UInt16(0))
  }

  private static func little<I: FixedWidthInteger>(_ value: I) -> Bytes {
    withUnsafeBytes(of: value.littleEndian) { Array($0) }
  }

  private struct Writer {
    var storages: [Tensor] = []

    mutating func pickle(_ root: Value) -> Bytes { [0x80, 2] + bytes(root) + [0x2e] }

    private func text(_ string: String) -> Bytes {
      [UInt8(ascii: "X")] + little(UInt32(string.utf8.count)) + Array(string.utf8)
    }
    private func integer(_ value: Int) -> Bytes { [0x8a, 8] + little(Int64(value)) }
    private func global(_ name: String) -> Bytes {
      let dot = name.lastIndex(of: ".")!
      return Array("c\(name[..<dot])\n\(name[name.index(after: dot)...])\n".utf8)
    }
    private func tuple(_ items: [Bytes]) -> Bytes { [0x28] + items.flatMap { $0 } + [0x74] }

    private mutating func entries(_ entries: [(Bytes, Value)]) -> Bytes {
      [0x28] + entries.flatMap { $0.0 + bytes($0.1) } + [UInt8(ascii: "u")]
    }

    private mutating func bytes(_ value: Value) -> Bytes {
      switch value {
      case .none: return [UInt8(ascii: "N")]
      case .integer(let number): return integer(number)
      case .float(let number):
        return [UInt8(ascii: "G")] + little(number.bitPattern.byteSwapped)
      case .text(let string): return text(string)
      case .list(let items):
        return [UInt8(ascii: "]"), 0x28] + items.flatMap { bytes($0) } + [UInt8(ascii: "e")]
      case .tuple(let items): return tuple(items.map { bytes($0) })
      case .dictionary(let items):
        return [UInt8(ascii: "}")] + entries(items.map { (text($0.0), $0.1) })
      case .numbered(let items):
        return [UInt8(ascii: "}")] + entries(items.map { (integer($0.0), $0.1) })
      case .ordered(let items):
        return global("collections.OrderedDict") + Array(")R".utf8)
          + entries(items.map { (text($0.0), $0.1) })
      case .object(let name, let attributes):
        return global(name) + [UInt8(ascii: ")"), 0x81] + bytes(.dictionary(attributes))
          + [UInt8(ascii: "b")]
      case .tensor(let tensor, let storage):
        let shape = tensor.shape.dimensions
        let strides = shape.indices.map { shape[($0 + 1)...].reduce(1, *) }
        return rebuilt(tensor, storage, shape, strides, first: 0)
      case .strided(let tensor, let storage, let shape, let strides, let first):
        return rebuilt(tensor, storage, shape, strides, first: first)
      }
    }

    private mutating func rebuilt(
      _ tensor: Tensor, _ storage: String, _ shape: [Int], _ strides: [Int], first: Int
    ) -> Bytes {
      storages.append(tensor)
      let place = tuple([
        text("storage"), global("torch." + storage), text("\(storages.count - 1)"), text("cpu"),
        integer(tensor.elementCount),
      ])
      return global("torch._utils._rebuild_tensor_v2")
        + tuple([
          place + [UInt8(ascii: "Q")], integer(first), tuple(shape.map(integer)),
          tuple(strides.map(integer)), [0x89], global("collections.OrderedDict") + Array(")R".utf8),
        ]) + [UInt8(ascii: "R")]
    }
  }
}
