import Foundation

/// Reads the arrays of an uncompressed .npz: a zip of stored .npy files. Little endian, C order,
/// float32, float64, integers and bytes.
struct NumpyArchive {
  struct Entry {
    var shape: [Int]
    var type: String
    var data: Data
  }

  struct Malformed: Error, CustomStringConvertible {
    var description: String
  }

  private(set) var entries: [String: Entry] = [:]

  init(path: String) throws {
    let data = try Data(contentsOf: URL(fileURLWithPath: path))
    func number(_ at: Int, _ bytes: Int) throws -> Int {
      guard at >= 0, at + bytes <= data.count else {
        throw Malformed(description: "\(path): ends inside a field at \(at)")
      }
      return (0..<bytes).reduce(0) { $0 | Int(data[at + $1]) << (8 * $1) }
    }
    var end = data.count - 22
    while end >= 0, try number(end, 4) != 0x0605_4B50 { end -= 1 }
    guard end >= 0 else { throw Malformed(description: "\(path): not a zip") }
    var at = try number(end + 16, 4)
    for _ in 0..<(try number(end + 10, 2)) {
      guard try number(at, 4) == 0x0201_4B50, try number(at + 10, 2) == 0 else {
        throw Malformed(description: "\(path): an entry that is not stored")
      }
      let size = try number(at + 20, 4)
      let nameLength = try number(at + 28, 2)
      let name = String(decoding: data[at + 46..<at + 46 + nameLength], as: UTF8.self)
      let local = try number(at + 42, 4)
      let start = local + 30 + (try number(local + 26, 2)) + (try number(local + 28, 2))
      guard start + size <= data.count else {
        throw Malformed(description: "\(path): \(name) is cut off")
      }
      entries[String(name.dropLast(4))] = try Self.entry(data.subdata(in: start..<start + size))
      at += 46 + nameLength + (try number(at + 30, 2)) + (try number(at + 32, 2))
    }
  }

  private static func entry(_ npy: Data) throws -> Entry {
    guard npy.count > 12, npy[0] == 0x93 else { throw Malformed(description: "not an npy") }
    let wide = npy[6] > 1
    let length =
      wide
      ? (0..<4).reduce(0) { $0 | Int(npy[8 + $1]) << (8 * $1) } : Int(npy[8]) | Int(npy[9]) << 8
    let start = (wide ? 12 : 10) + length
    let header = String(decoding: npy[(wide ? 12 : 10)..<start], as: UTF8.self)
    guard let type = header.firstMatch(of: /'descr': '([^']+)'/),
      let shape = header.firstMatch(of: /'shape': \(([^)]*)\)/),
      header.contains("'fortran_order': False")
    else { throw Malformed(description: "header \(header)") }
    return Entry(
      shape: shape.1.split(separator: ",").compactMap {
        Int($0.trimmingCharacters(in: .whitespaces))
      }, type: String(type.1), data: npy.subdata(in: start..<npy.count))
  }

  /// The numbers of an array.
  func values(_ name: String) throws -> [Double] {
    guard let entry = entries[name] else { throw Malformed(description: "no array \(name)") }
    return try entry.data.withUnsafeBytes { raw in
      switch entry.type {
      case "<f4":
        return (0..<raw.count / 4).map {
          Double(raw.loadUnaligned(fromByteOffset: $0 * 4, as: Float.self))
        }
      case "<f8":
        return (0..<raw.count / 8).map {
          raw.loadUnaligned(fromByteOffset: $0 * 8, as: Double.self)
        }
      default: throw Malformed(description: "\(name) has type \(entry.type)")
      }
    }
  }

  /// The JSON of `meta`, kept as bytes; the errors of the original in it may be infinite, which JSON
  /// proper has no word for.
  func meta() throws -> [String: Any] {
    guard let entry = entries["meta"] else { throw Malformed(description: "no meta") }
    let text = String(decoding: entry.data, as: UTF8.self)
      .replacing("Infinity", with: "null").replacing("NaN", with: "null")
    guard
      let object = try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any]
    else { throw Malformed(description: "no meta") }
    return object
  }
}
