import ABNTensors

/// Reads a pickle of protocols 2 to 5: a dictionary of numpy arrays, or a checkpoint.
///
/// A pickle is a program for a small stack machine, and in Python it may call whatever it imports.
/// Here nothing is ever executed. Of a dictionary of arrays this reader knows the opcodes that it
/// needs and the names of `PickleGlobal`; everything else is an error. A checkpoint holds much
/// else: what an unknown import would make is an object without a meaning, and its attributes are
/// kept (`Pickle+Checkpoint.swift`).
///
/// Its memory is bounded by the file's size: an opcode of one byte may put a value of many on the
/// stack. Python needs 29 bytes and more for an array; of these come at most 5 to be remembered,
/// and 3 are tuples.
///
/// Source: CPython, `Lib/pickletools.py`; numpy, `array_reduce`, `array_reduce_ex_picklebuffer` and
/// `array_setstate`.
struct PickleReader {
  let source: ByteSource
  let bytes: [UInt8]
  /// The next byte.
  var place = 0
  /// The byte of the current opcode, for errors.
  var at = 0
  /// Bytes of elements made so far: never more than the file has, however often it refers to one
  /// string.
  var elementBytes = 0
  var stack: [PickleValue] = []
  var marks: [Int] = []
  /// What a checkpoint's lists, dictionaries and objects hold; values refer to them by number, so
  /// that releasing them needs no stack, however deep they lie in one another.
  var containers: [PickleContainer] = []
  /// The storages of PyTorch that a checkpoint refers to, by key.
  var storages: [String: TorchStorage] = [:]
  let dialect: PickleDialect
  private var memo = PickleMemo()
  private var protocolVersion: UInt8 = 2
  private var dictionaryCount = 0
  private var tupleCount = 0
  private let emptyTuple = PickleTuple([])

  /// The most values and marks on the stack: Python sets 1000 items at a time, and takes more than
  /// a byte for each.
  let mostStack: Int
  /// The most values that are remembered.
  let mostMemo: Int
  /// The most tuples with items.
  let mostTuples: Int

  /// A model has one or two. Each may hold copies of one long name, so that many would let a small
  /// file ask for much memory.
  static let mostDictionaries = 4
  static let mostNameBytes = 4096

  /// Under this key a dygraph model keeps a table of names beside its arrays.
  static let nameTable = "StructuredToParameterName@@"

  init(_ source: ByteSource, dialect: PickleDialect = .arrays) throws {
    self.source = source
    self.dialect = dialect
    bytes = try source.bytes(at: 0, count: source.byteCount)
    mostStack = min(1 << 16, 64 + bytes.count / 2)
    // A checkpoint remembers every list and dictionary, empty ones too.
    mostMemo = 256 + bytes.count / (dialect == .arrays ? 5 : 3)
    mostTuples = 256 + bytes.count / (dialect == .arrays ? 6 : 4)
  }

  /// The arrays of the dictionary.
  mutating func read() throws -> [String: Tensor] {
    try run()
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

  /// Runs the pickle that begins at `place`, to its end.
  mutating func run() throws {
    at = place
    guard bytes.count >= place + 2, bytes[place] == 0x80 else {
      throw fault("no pickle of protocol 2 to 5", "the bytes 80 02")
    }
    protocolVersion = bytes[place + 1]
    guard (2...5).contains(protocolVersion) else {
      throw unsupported("protocol \(protocolVersion)", "protocol 2 to 5")
    }
    place += 2
    while true {
      at = place
      let opcode = try byte()
      if opcode == UInt8(ascii: ".") { break }
      try step(opcode)
      guard max(stack.count, marks.count) <= mostStack else {
        throw fault(
          "\(max(stack.count, marks.count)) values on the stack", "at most \(mostStack)")
      }
    }
  }

  func fault(_ got: String, _ wanted: String) -> ABNError {
    source.fault(at: at, got: got, wanted: wanted, fix: "The file is damaged.")
  }

  func unsupported(_ got: String, _ wanted: String) -> ABNError {
    source.fault(
      .unsupported, at: at, got: got, wanted: wanted,
      fix: dialect == .arrays
        ? "Only dictionaries of numpy arrays are read." : "Save it with protocol 2 to 5.")
  }

  private mutating func step(_ opcode: UInt8) throws {
    switch opcode {
    case UInt8(ascii: "N"): stack.append(.none)
    case 0x88: stack.append(.bool(true))
    case 0x89: stack.append(.bool(false))
    case UInt8(ascii: "K"): stack.append(.integer(Int(try byte())))
    case UInt8(ascii: "M"): stack.append(.integer(Int(try integer(UInt16.self))))
    case UInt8(ascii: "J"): stack.append(.integer(Int(try integer(Int32.self))))
    case 0x8a: stack.append(try longInteger(Int(byte())))
    case UInt8(ascii: "("): marks.append(stack.count)
    case UInt8(ascii: "}") where dialect == .arrays:
      dictionaryCount += 1
      guard dictionaryCount <= Self.mostDictionaries else {
        throw unsupported("\(dictionaryCount) dictionaries", "at most \(Self.mostDictionaries)")
      }
      stack.append(.dictionary(PickleDictionary()))
    case UInt8(ascii: ")"): stack.append(.tuple(emptyTuple))
    case 0x85...0x87: try push(tuple: pop(Int(opcode) - 0x84))
    case UInt8(ascii: "t"): try push(tuple: popMark())
    case UInt8(ascii: "q"): try remember(Int(byte()))
    case UInt8(ascii: "r"): try remember(Int(integer(UInt32.self)))
    case 0x94 where protocolVersion >= 4: try remember(memo.count)
    case UInt8(ascii: "h"): try recall(Int(byte()))
    case UInt8(ascii: "j"): try recall(Int(integer(UInt32.self)))
    case UInt8(ascii: "c"): stack.append(try imported(line(), line()))
    case 0x93 where protocolVersion >= 4: try pushGlobal()
    case 0x95 where protocolVersion >= 4: try checkFrame()
    case UInt8(ascii: "R"):
      let operands = try pop(2)
      stack.append(
        try dialect == .arrays
          ? reduce(operands[0], operands[1]) : checkpointCall(operands[0], operands[1]))
    case UInt8(ascii: "b"):
      let state = try pop(1)[0]
      guard let target = stack.last, stack.count > (marks.last ?? 0) else {
        throw fault("an empty stack", "a value")
      }
      try dialect == .arrays
        ? setState(target, state) : setCheckpointState(target, state)
    case UInt8(ascii: "s"):
      let items = try pop(2)
      try setItems(items)
    case UInt8(ascii: "u"):
      let items = try popMark()
      try setItems(items)
    case 0x97, 0x98:
      guard protocolVersion >= 5 else { fallthrough }
      throw unsupported("elements that were kept outside of the file", "elements in the file")
    default:
      guard let size = Self.stringSizes[opcode], size.since <= protocolVersion else {
        if dialect == .checkpoint, try checkpointStep(opcode) { return }
        throw unsupported(
          "opcode \(String(opcode, radix: 16))",
          dialect == .arrays
            ? "an opcode of a dictionary of arrays" : "one of protocols 2 to \(protocolVersion)")
      }
      let content = try range(ofStringAt: at)
      place = content.upperBound
      stack.append(size.isText ? .text(at) : .raw(at))
    }
  }

  /// The opcodes of strings: bytes of the length behind it, the first protocol that has it, whether
  /// the string is UTF-8 and not bytes.
  private static let stringSizes: [UInt8: (length: Int, since: UInt8, isText: Bool)] = [
    UInt8(ascii: "X"): (4, 1, true), 0x8c: (1, 4, true), 0x8d: (8, 4, true),
    UInt8(ascii: "U"): (1, 1, false), UInt8(ascii: "T"): (4, 1, false),
    UInt8(ascii: "C"): (1, 3, false), UInt8(ascii: "B"): (4, 3, false), 0x8e: (8, 4, false),
    0x96: (8, 5, false),
  ]

  /// The content of the string whose opcode stands at byte `start`.
  func range(ofStringAt start: Int) throws -> Range<Int> {
    let length = Self.stringSizes[bytes[start]]!.length
    let first = start + 1 + length
    guard first <= bytes.count else { throw cutOff(length, from: start + 1) }
    var size = bytes[(start + 1)..<first].reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
    // Of Python 2; the sign is for the stack machine only.
    if bytes[start] == UInt8(ascii: "T"), size > Int32.max { size = .max }
    guard size <= bytes.count - first else { throw cutOff(Int(clamping: size), from: first) }
    return first..<(first + Int(size))
  }

  /// A frame says how much may be read at once; it must lie in the file.
  private mutating func checkFrame() throws {
    let size = try integer(UInt64.self)
    guard size <= bytes.count - place else { throw cutOff(Int(clamping: size), from: place) }
  }

  private mutating func pushGlobal() throws {
    let names = try pop(2)
    guard case .text(let module) = names[0], case .text(let name) = names[1] else {
      throw fault("an import of \(names[0].name) and \(names[1].name)", "two strings")
    }
    let (first, second) = (try range(ofStringAt: module), try range(ofStringAt: name))
    stack.append(try imported(bytes[first], bytes[second]))
  }

  /// What an import stands for.
  private func imported(
    _ module: ArraySlice<UInt8>, _ name: ArraySlice<UInt8>
  ) throws -> PickleValue {
    if dialect == .arrays { return .global(try global(module, name)) }
    return checkpointImport(module, name)
  }

  mutating func push(tuple items: [PickleValue]) throws {
    let tuple = items.isEmpty ? emptyTuple : PickleTuple(items)
    tupleCount += items.isEmpty ? 0 : 1
    guard tupleCount <= mostTuples else {
      throw fault("\(tupleCount) tuples by byte \(at)", "at most \(mostTuples)")
    }
    guard tuple.depth <= PickleTuple.mostDepth else {
      throw fault("tuples \(tuple.depth) deep", "at most \(PickleTuple.mostDepth)")
    }
    stack.append(.tuple(tuple))
  }

  mutating func pop(_ count: Int) throws -> [PickleValue] {
    guard stack.count - count >= marks.last ?? 0 else {
      throw fault("\(stack.count - (marks.last ?? 0)) values on the stack", "\(count)")
    }
    defer { stack.removeLast(count) }
    return Array(stack.suffix(count))
  }

  mutating func popMark() throws -> [PickleValue] {
    guard let mark = marks.popLast() else { throw fault("no mark on the stack", "a mark") }
    defer { stack.removeSubrange(mark...) }
    return Array(stack[mark...])
  }

  private mutating func remember(_ key: Int) throws {
    guard let top = stack.last, stack.count > (marks.last ?? 0) else {
      throw fault("an empty stack", "a value to remember")
    }
    memo.remember(top, as: key)
    guard memo.count <= mostMemo else {
      throw fault("\(memo.count) values to remember by byte \(at)", "at most \(mostMemo)")
    }
  }

  private mutating func recall(_ key: Int) throws {
    guard let value = memo[key] else { throw fault("the unknown value \(key)", "an earlier value") }
    stack.append(value)
  }

  private mutating func setItems(_ items: [PickleValue]) throws {
    if dialect == .checkpoint { return try addEntries(items) }
    guard case .dictionary(let dictionary)? = stack.last, stack.count > (marks.last ?? 0) else {
      throw fault(stack.last?.name ?? "an empty stack", "a dictionary")
    }
    guard items.count % 2 == 0 else { throw fault("\(items.count) items", "pairs") }
    for pair in stride(from: 0, to: items.count, by: 2) {
      let name = try string(items[pair])
      guard dictionary.names.insert(name).inserted else {
        throw fault("the name \(quoted(name)) twice", "each name once")
      }
      switch items[pair + 1] {
      case .array(let array): dictionary.arrays[name] = array
      case .text, .raw: continue
      case .dictionary(let table)
      where name == Self.nameTable && table.arrays.isEmpty && table !== dictionary:
        continue
      case let value:
        throw unsupported("\(value.name) under \(quoted(name))", "an array")
      }
    }
  }

  private func global(
    _ module: ArraySlice<UInt8>, _ name: ArraySlice<UInt8>
  ) throws -> PickleGlobal {
    let mostBytes = 64
    guard module.count + name.count <= mostBytes,
      let global = PickleGlobal(
        rawValue: "\(String(decoding: module, as: UTF8.self)) "
          + String(decoding: name, as: UTF8.self))
    else {
      let got = (module.prefix(mostBytes) + [0x2e] + name.prefix(mostBytes))
      throw unsupported(
        "the import of \(quoted(String(decoding: got, as: UTF8.self)))",
        "the names that numpy needs to rebuild an array")
    }
    return global
  }

  mutating func byte() throws -> UInt8 { bytes[try range(1).lowerBound] }

  mutating func integer<I: FixedWidthInteger>(_ type: I.Type) throws -> I {
    bytes.littleEndian(I.self, at: try range(MemoryLayout<I>.size).lowerBound)
  }

  /// A number of so many bytes in two's complement.
  mutating func longInteger(_ count: Int) throws -> PickleValue {
    let digits = bytes[try range(count)]
    guard digits.count <= 8 else {
      // The seed of a random number generator, say.
      if dialect == .checkpoint { return .opaque }
      throw fault("a number of \(digits.count) bytes", "at most 8 bytes")
    }
    return .integer(Self.integer(digits))
  }

  /// The number of at most 8 bytes in two's complement, lowest first.
  static func integer(_ digits: ArraySlice<UInt8>) -> Int {
    let isNegative = (digits.last ?? 0) >= 0x80
    return digits.reversed().reduce(isNegative ? -1 : 0) { $0 << 8 | Int($1) }
  }

  private func cutOff(_ count: Int, from place: Int) -> ABNError {
    source.fault(
      at: at, got: "the end of the file at byte \(bytes.count)",
      wanted: "\(count) bytes from byte \(place)", fix: "The file is cut off or damaged.")
  }

  mutating func range(_ count: Int) throws -> Range<Int> {
    guard count >= 0, count <= bytes.count - place else {
      throw cutOff(count, from: place)
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
