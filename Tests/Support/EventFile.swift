import Foundation
import InPlaceABN

/// What TensorBoard's files hold, read by rules of their own: TFRecords and protocol buffers.
public struct EventFile {
  public struct Value {
    public var tag = ""
    public var scalar: Float?
    public var png: [UInt8]?
    public var size: [Int] = []
    /// min, max, num, sum, sum of squares.
    public var histogram: [Double] = []
    public var limits: [Double] = []
    public var counts: [Double] = []
    public var text: String?
    public var plugin: String?
  }

  public struct Event {
    public var time = 0.0
    public var step = 0
    public var version: String?
    public var isStart = false
    public var values: [Value] = []
  }

  public struct Broken: Error {
    public let what: String
  }

  public var events: [Event] = []

  /// The values under a tag, with their steps.
  public func values(_ tag: String) -> [(step: Int, value: Value)] {
    events.flatMap { event in event.values.filter { $0.tag == tag }.map { (event.step, $0) } }
  }

  public init(path: String) throws {
    let bytes = [UInt8](try Data(contentsOf: URL(filePath: path)))
    var place = 0
    func number(_ count: Int) throws -> UInt64 {
      guard place + count <= bytes.count else { throw Broken(what: "end at \(place)") }
      defer { place += count }
      return (0..<count).reduce(0) { $0 | UInt64(bytes[place + $1]) << UInt64(8 * $1) }
    }
    func check(_ range: Range<Int>) throws {
      guard try number(4) == UInt64(Self.masked(bytes[range])) else {
        throw Broken(what: "check of bytes \(range)")
      }
    }
    while place < bytes.count {
      let start = place
      let count = Int(try number(8))
      try check(start..<start + 8)
      let data = place..<place + count
      guard data.upperBound <= bytes.count else { throw Broken(what: "end in \(data)") }
      place = data.upperBound
      try check(data)
      events.append(try Self.event(Array(bytes[data])))
    }
  }

  /// Bit by bit, by the definition.
  private static func masked(_ bytes: ArraySlice<UInt8>) -> UInt32 {
    var crc = UInt32.max
    for byte in bytes {
      crc ^= UInt32(byte)
      for _ in 0..<8 { crc = crc & 1 == 1 ? (crc >> 1) ^ 0x82F6_3B78 : crc >> 1 }
    }
    crc = ~crc
    return ((crc >> 15) | (crc << 17)) &+ 0xA282_EAD8
  }

  private enum Field {
    case number(UInt64)
    case bytes([UInt8])
    var bytes: [UInt8] { if case .bytes(let value) = self { value } else { [] } }
    var number: UInt64 { if case .number(let value) = self { value } else { 0 } }
    var double: Double { Double(bitPattern: number) }
    var text: String { String(decoding: bytes, as: UTF8.self) }
    var doubles: [Double] {
      stride(from: 0, to: bytes.count, by: 8).map { start in
        Double(
          bitPattern: (0..<8).reduce(0) { $0 | UInt64(bytes[start + $1]) << UInt64(8 * $1) })
      }
    }
  }

  private static func fields(_ bytes: [UInt8]) throws -> [(number: Int, field: Field)] {
    var place = 0
    var found: [(Int, Field)] = []
    func next() throws -> UInt8 {
      guard place < bytes.count else { throw Broken(what: "end of a message") }
      defer { place += 1 }
      return bytes[place]
    }
    func varint() throws -> UInt64 {
      var (value, shift): (UInt64, UInt64) = (0, 0)
      while true {
        let byte = try next()
        value |= UInt64(byte & 0x7F) << shift
        shift += 7
        if byte < 0x80 { return value }
      }
    }
    while place < bytes.count {
      let tag = try varint()
      let field: Field
      switch tag & 7 {
      case 0: field = .number(try varint())
      case 1, 5:
        let count = tag & 7 == 1 ? 8 : 4
        field = .number(try (0..<count).reduce(0) { $0 | UInt64(try next()) << UInt64(8 * $1) })
      case 2:
        let count = Int(try varint())
        field = .bytes(try (0..<count).map { _ in try next() })
      default: throw Broken(what: "wire type \(tag & 7)")
      }
      found.append((Int(tag >> 3), field))
    }
    return found
  }

  private static func event(_ bytes: [UInt8]) throws -> Event {
    var event = Event()
    for (number, field) in try fields(bytes) {
      switch number {
      case 1: event.time = field.double
      case 2: event.step = Int(field.number)
      case 3: event.version = field.text
      case 5:
        event.values += try fields(field.bytes).map { try value($0.field.bytes) }
      case 7:
        event.isStart = try fields(field.bytes).contains { $0.number == 1 && $0.field.number == 1 }
      default: throw Broken(what: "field \(number) of an event")
      }
    }
    return event
  }

  private static func value(_ bytes: [UInt8]) throws -> Value {
    var value = Value()
    for (number, field) in try fields(bytes) {
      switch number {
      case 1: value.tag = field.text
      case 2: value.scalar = Float(bitPattern: UInt32(field.number))
      case 4:
        for (number, inner) in try fields(field.bytes) {
          if number == 4 { value.png = inner.bytes } else { value.size.append(Int(inner.number)) }
        }
      case 5:
        for (number, inner) in try fields(field.bytes) {
          switch number {
          case 6: value.limits = inner.doubles
          case 7: value.counts = inner.doubles
          default: value.histogram.append(inner.double)
          }
        }
      case 8: value.text = try fields(field.bytes).first { $0.number == 8 }?.field.text
      case 9:
        let data = try fields(field.bytes).first?.field.bytes ?? []
        value.plugin = try fields(data).first?.field.text
      default: throw Broken(what: "field \(number) of a value")
      }
    }
    return value
  }
}
