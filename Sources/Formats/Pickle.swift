import ABNTensors

/// The values of a pickle of arrays. None of them is code, and none is ever called.
enum PickleValue {
  case none
  case bool(Bool)
  case integer(Int)
  /// UTF-8 at these bytes of the file.
  case text(Range<Int>)
  /// Raw bytes: a string of Python 2, or an empty bytes object.
  case raw(Range<Int>)
  /// The text at these bytes, one byte for each code point up to U+00FF.
  case latin1(Range<Int>)
  case tuple(PickleTuple)
  case dictionary(PickleDictionary)
  case global(PickleGlobal)
  case dtype(PickleDType)
  case array(PickleArray)

  /// In an error.
  var name: String {
    switch self {
    case .none: "None"
    case .bool(let value): value ? "True" : "False"
    case .integer(let value): "\(value)"
    case .text, .raw: "a string"
    case .latin1: "bytes"
    case .tuple(let tuple): "a tuple of \(tuple.items.count)"
    case .dictionary: "a dictionary"
    case .global(let global): "\(global)"
    case .dtype: "an element type"
    case .array: "an array"
    }
  }
}

/// The only names that a pickle may import, each standing for what this reader makes itself.
enum PickleGlobal: String {
  case reconstruct = "numpy.core.multiarray _reconstruct"
  /// The same function since numpy 2.
  case reconstructOfNumpy2 = "numpy._core.multiarray _reconstruct"
  case array = "numpy ndarray"
  case dtype = "numpy dtype"
  case encode = "_codecs encode"
  case bytes = "__builtin__ bytes"
}

/// Items and how deep tuples lie in them: releasing a chain of a million tuples would exhaust the
/// stack.
final class PickleTuple {
  static let mostDepth = 8
  let items: [PickleValue]
  let depth: Int

  init(_ items: [PickleValue]) {
    self.items = items
    depth = 1 + (items.map { if case .tuple(let inner) = $0 { inner.depth } else { 0 } }.max() ?? 0)
  }
}

/// A dictionary under construction: what a memo refers to may still grow.
final class PickleDictionary {
  var arrays: [String: PickleArray] = [:]
  /// The names of all entries, those of strings and of the table of names too.
  var names: Set<String> = []
}

/// An element type; complete once its state has been set.
final class PickleDType {
  let dtype: DType
  var isBigEndian: Bool?
  init(_ dtype: DType) { self.dtype = dtype }
}

/// An array; complete once its state has been set.
final class PickleArray {
  var tensor: Tensor?
}

/// Reads a dictionary of numpy arrays from a pickle of protocol 2.
///
/// A pickle is a program for a small stack machine, and in Python it may call whatever it imports.
/// This reader knows the opcodes that a dictionary of arrays needs and the six names of
/// `PickleGlobal`; everything else is an error, nothing is ever executed.
///
/// Source: CPython, `Lib/pickletools.py`; numpy, `array_reduce` and `array_setstate`.
struct PickleReader {
  let source: ByteSource
  let bytes: [UInt8]
  /// The next byte.
  var place = 0
  /// The byte of the current opcode, for errors.
  private(set) var at = 0
  /// Bytes of elements made so far: never more than the file has, however often it refers to one
  /// string.
  var elementBytes = 0
  private var stack: [PickleValue] = []
  private var dictionaryCount = 0
  private var marks: [Int] = []
  private var memo: [Int: PickleValue] = [:]

  /// Python sets 1000 items at a time: a stack of this size is no dictionary of arrays.
  static let mostStack = 1 << 16

  /// A model has one or two. Each may hold copies of one long name, so that many would let a small
  /// file ask for much memory.
  static let mostDictionaries = 4
  static let mostNameBytes = 4096

  /// Under this key a dygraph model keeps a table of names beside its arrays.
  static let nameTable = "StructuredToParameterName@@"

  init(_ source: ByteSource) throws {
    self.source = source
    bytes = try source.bytes(at: 0, count: source.byteCount)
  }

  /// The arrays of the dictionary.
  mutating func read() throws -> [String: Tensor] {
    guard bytes.count >= 2, bytes[0] == 0x80 else {
      throw fault("no pickle of protocol 2", "the bytes 80 02")
    }
    guard bytes[1] == 2 else {
      throw unsupported("protocol \(bytes[1])", "protocol 2, as Paddle 1.8 writes")
    }
    place = 2
    while true {
      at = place
      let opcode = try byte()
      if opcode == UInt8(ascii: ".") { break }
      try step(opcode)
      guard stack.count <= Self.mostStack else {
        throw fault("\(stack.count) values on the stack", "at most \(Self.mostStack)")
      }
    }
    guard marks.isEmpty, stack.count == 1, case .dictionary(let dictionary) = stack[0] else {
      throw fault(
        stack.count == 1 ? stack[0].name : "\(stack.count) values at the end", "one dictionary")
    }
    guard place == bytes.count else {
      at = place
      throw fault("\(bytes.count - place) bytes after the pickle", "the end of the file")
    }
    return try dictionary.arrays.mapValues { array in
      guard let tensor = array.tensor else { throw fault("an array without elements", "its state") }
      return tensor
    }
  }

  func fault(_ got: String, _ wanted: String) -> ABNError {
    source.fault(at: at, got: got, wanted: wanted, fix: "The file is damaged.")
  }

  func unsupported(_ got: String, _ wanted: String) -> ABNError {
    source.fault(
      .unsupported, at: at, got: got, wanted: wanted,
      fix: "Only dictionaries of numpy arrays are read.")
  }

  private mutating func step(_ opcode: UInt8) throws {
    switch opcode {
    case UInt8(ascii: "N"): stack.append(.none)
    case 0x88: stack.append(.bool(true))
    case 0x89: stack.append(.bool(false))
    case UInt8(ascii: "K"): stack.append(.integer(Int(try byte())))
    case UInt8(ascii: "M"): stack.append(.integer(Int(try integer(UInt16.self))))
    case UInt8(ascii: "J"): stack.append(.integer(Int(try integer(Int32.self))))
    case 0x8a: stack.append(.integer(try longInteger()))
    case UInt8(ascii: "X"): stack.append(.text(try range(Int(integer(UInt32.self)))))
    case UInt8(ascii: "U"): stack.append(.raw(try range(Int(byte()))))
    case UInt8(ascii: "T"): stack.append(.raw(try range(Int(integer(Int32.self)))))
    case UInt8(ascii: "("): marks.append(stack.count)
    case UInt8(ascii: "}"):
      dictionaryCount += 1
      guard dictionaryCount <= Self.mostDictionaries else {
        throw unsupported("\(dictionaryCount) dictionaries", "at most \(Self.mostDictionaries)")
      }
      stack.append(.dictionary(PickleDictionary()))
    case UInt8(ascii: ")"): try push(tuple: [])
    case 0x85...0x87: try push(tuple: pop(Int(opcode) - 0x84))
    case UInt8(ascii: "t"): try push(tuple: popMark())
    case UInt8(ascii: "q"): try remember(Int(byte()))
    case UInt8(ascii: "r"): try remember(Int(integer(UInt32.self)))
    case UInt8(ascii: "h"): try recall(Int(byte()))
    case UInt8(ascii: "j"): try recall(Int(integer(UInt32.self)))
    case UInt8(ascii: "c"): stack.append(.global(try global()))
    case UInt8(ascii: "R"):
      let operands = try pop(2)
      stack.append(try reduce(operands[0], operands[1]))
    case UInt8(ascii: "b"):
      let state = try pop(1)[0]
      guard let target = stack.last, stack.count > (marks.last ?? 0) else {
        throw fault("an empty stack", "a value")
      }
      try setState(target, state)
    case UInt8(ascii: "s"):
      let items = try pop(2)
      try setItems(items)
    case UInt8(ascii: "u"):
      let items = try popMark()
      try setItems(items)
    default:
      throw unsupported(
        "opcode \(String(opcode, radix: 16))", "an opcode of a dictionary of arrays")
    }
  }

  private mutating func push(tuple items: [PickleValue]) throws {
    let tuple = PickleTuple(items)
    guard tuple.depth <= PickleTuple.mostDepth else {
      throw fault("tuples \(tuple.depth) deep", "at most \(PickleTuple.mostDepth)")
    }
    stack.append(.tuple(tuple))
  }

  private mutating func pop(_ count: Int) throws -> [PickleValue] {
    guard stack.count - count >= marks.last ?? 0 else {
      throw fault("\(stack.count - (marks.last ?? 0)) values on the stack", "\(count)")
    }
    defer { stack.removeLast(count) }
    return Array(stack.suffix(count))
  }

  private mutating func popMark() throws -> [PickleValue] {
    guard let mark = marks.popLast() else { throw fault("no mark on the stack", "a mark") }
    defer { stack.removeSubrange(mark...) }
    return Array(stack[mark...])
  }

  private mutating func remember(_ key: Int) throws {
    guard let top = stack.last, stack.count > (marks.last ?? 0) else {
      throw fault("an empty stack", "a value to remember")
    }
    memo[key] = top
  }

  private mutating func recall(_ key: Int) throws {
    guard let value = memo[key] else { throw fault("the unknown value \(key)", "an earlier value") }
    stack.append(value)
  }

  private func setItems(_ items: [PickleValue]) throws {
    guard case .dictionary(let dictionary)? = stack.last, stack.count > (marks.last ?? 0) else {
      throw fault(stack.last?.name ?? "an empty stack", "a dictionary")
    }
    guard items.count % 2 == 0 else { throw fault("\(items.count) items", "pairs") }
    for pair in stride(from: 0, to: items.count, by: 2) {
      let name = try string(items[pair])
      guard dictionary.names.insert(name).inserted else {
        throw fault("the name \(name.debugDescription) twice", "each name once")
      }
      switch items[pair + 1] {
      case .array(let array): dictionary.arrays[name] = array
      case .text, .raw: continue
      case .dictionary(let table)
      where name == Self.nameTable && table.arrays.isEmpty && table !== dictionary:
        continue
      case let value:
        throw unsupported("\(value.name) under \(name.debugDescription)", "an array")
      }
    }
  }

  private mutating func global() throws -> PickleGlobal {
    let module = try line()
    let name = try line()
    let mostBytes = 64
    guard module.count + name.count <= mostBytes,
      let global = PickleGlobal(
        rawValue: "\(String(decoding: module, as: UTF8.self)) "
          + String(decoding: name, as: UTF8.self))
    else {
      let got = (module.prefix(mostBytes) + [0x2e] + name.prefix(mostBytes))
      throw unsupported(
        "the import of \(String(decoding: got, as: UTF8.self).debugDescription)",
        "the names that numpy needs to rebuild an array")
    }
    return global
  }

  private mutating func byte() throws -> UInt8 { bytes[try range(1).lowerBound] }

  private mutating func integer<I: FixedWidthInteger>(_ type: I.Type) throws -> I {
    bytes.littleEndian(I.self, at: try range(MemoryLayout<I>.size).lowerBound)
  }

  /// A number of 0...255 bytes in two's complement.
  private mutating func longInteger() throws -> Int {
    let digits = bytes[try range(Int(byte()))]
    guard digits.count <= 8 else {
      throw fault("a number of \(digits.count) bytes", "at most 8 bytes")
    }
    let isNegative = (digits.last ?? 0) >= 0x80
    return digits.reversed().reduce(isNegative ? -1 : 0) { $0 << 8 | Int($1) }
  }

  private mutating func range(_ count: Int) throws -> Range<Int> {
    guard count >= 0, count <= bytes.count - place else {
      throw source.fault(
        at: at, got: "the end of the file at byte \(bytes.count)",
        wanted: "\(count) bytes from byte \(place)", fix: "The file is cut off or damaged.")
    }
    defer { place += count }
    return place..<(place + count)
  }

  private mutating func line() throws -> ArraySlice<UInt8> {
    guard let end = bytes[place...].firstIndex(of: 0x0a) else {
      throw fault("a line without end", "a line")
    }
    defer { place = end + 1 }
    return bytes[place..<end]
  }
}
