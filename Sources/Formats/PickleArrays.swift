import ABNTensors

extension PickleReader {
  /// A name: UTF-8, also where Python 2 wrote it.
  func string(_ value: PickleValue) throws -> String {
    switch value {
    case .text(let opcode), .raw(let opcode):
      let range = try range(ofStringAt: opcode)
      guard range.count <= Self.mostNameBytes else {
        throw fault("a name of \(range.count) bytes", "at most \(Self.mostNameBytes)")
      }
      return try String.checked(bytes[range]) { fault($0, $1) }
    default: throw fault(value.name, "a string")
    }
  }

  /// What a call of one of the known functions would give.
  mutating func reduce(_ function: PickleValue, _ arguments: PickleValue) throws -> PickleValue {
    guard case .global(let global) = function, case .tuple(let tuple) = arguments else {
      throw fault("a call of \(function.name) with \(arguments.name)", "a function and a tuple")
    }
    let items = tuple.items
    func wrong() -> ABNError {
      unsupported(
        "\(global) of (\(items.prefix(4).map(\.name).joined(separator: ", ")))",
        "the arguments that numpy writes")
    }
    switch global {
    case .bytes:
      guard items.isEmpty else { throw wrong() }
      return .noBytes
    case .encode:
      guard items.count == 2, case .text(let text) = items[0], case .text(let coding) = items[1],
        bytes[try range(ofStringAt: coding)].elementsEqual("latin1".utf8)
      else { throw wrong() }
      return .latin1(text)
    case .reconstruct, .reconstructOfNumpy2:
      // An empty array of bytes, to be filled by its state.
      guard items.count == 3, case .global(.array) = items[0], case .tuple(let shape) = items[1],
        shape.items.count == 1, case .integer(0) = shape.items[0],
        try isLetterB(items[2])
      else { throw wrong() }
      return .array(PickleArray())
    case .fromBuffer, .fromBufferOfNumpy2:
      // Elements, element type, shape, order, and with order K the order of the dimensions.
      guard (4...5).contains(items.count), case .dtype(let type) = items[1],
        case .tuple(let shape) = items[2], let order = try letter(items[3])
      else { throw wrong() }
      return .array(PickleArray(try tensor(items[0], type, shape, order, items.dropFirst(4).first)))
    case .scalar, .scalarOfNumpy2:
      guard items.count == 2, case .dtype(let type) = items[0] else { throw wrong() }
      return .array(PickleArray(try tensor(items[1], type, PickleTuple([]), UInt8(ascii: "C"))))
    case .dtype:
      // The name, whether to align, whether to copy.
      guard items.count == 3, let text = textOrRaw(items[0]), isFlag(items[1]), isFlag(items[2])
      else { throw wrong() }
      let name = bytes[try range(ofStringAt: text)]
      let known = DType.allCases.first {
        NPYHeader.descriptor(of: $0)?.dropFirst().utf8.elementsEqual(name) == true
      }
      guard let known else {
        throw unsupported(
          "element type \(quoted(String(decoding: name.prefix(16), as: UTF8.self)))",
          "one of f2, f4, f8, i1, u1, i4, i8, b1")
      }
      return .dtype(PickleDType(known))
    case .array: throw wrong()
    }
  }

  /// Completes an element type or an array.
  mutating func setState(_ target: PickleValue, _ state: PickleValue) throws {
    guard case .tuple(let tuple) = state else { throw fault(state.name, "a tuple as state") }
    switch target {
    case .dtype(let dtype): dtype.isBigEndian = try byteOrder(tuple.items)
    case .array(let array):
      guard array.tensor == nil else { throw fault("a second state of an array", "one state") }
      array.tensor = try tensor(tuple.items)
    default: throw fault("a state of \(target.name)", "one of an array or an element type")
    }
  }

  /// (3, byte order, None, None, None, -1, -1, 0): no records, no metadata.
  private func byteOrder(_ items: [PickleValue]) throws -> Bool {
    guard items.count == 8, case .integer(3) = items[0], let text = textOrRaw(items[1]),
      case .none = items[2], case .none = items[3], case .none = items[4]
    else { throw unsupported("an element type of another kind", "a plain one") }
    let order = bytes[try range(ofStringAt: text)]
    switch order.first {
    case UInt8(ascii: "<") where order.count == 1, UInt8(ascii: "|") where order.count == 1:
      return false
    case UInt8(ascii: ">") where order.count == 1: return true
    default:
      throw fault(
        "byte order \(quoted(String(decoding: order.prefix(8), as: UTF8.self)))",
        "<, > or |")
    }
  }

  /// (1, shape, element type, whether column-major, elements).
  private mutating func tensor(_ items: [PickleValue]) throws -> Tensor {
    guard items.count == 5, case .integer(1) = items[0], case .tuple(let shape) = items[1],
      case .dtype(let type) = items[2], isFlag(items[3])
    else { throw unsupported("an array of another kind", "a plain one") }
    let isFortran =
      switch items[3] {
      case .bool(true), .integer(1): true
      default: false
      }
    return try tensor(items[4], type, shape, isFortran ? UInt8(ascii: "F") : UInt8(ascii: "C"))
  }

  /// An array of these elements; its order is C (row-major), F (column-major), or K: row-major, and
  /// then its dimensions are put in the order of `axes`.
  private mutating func tensor(
    _ elements: PickleValue, _ type: PickleDType, _ shape: PickleTuple, _ order: UInt8,
    _ axes: PickleValue? = nil
  ) throws -> Tensor {
    guard let isBigEndian = type.isBigEndian, Array("CFK".utf8).contains(order) else {
      throw unsupported("an array of another kind", "a plain one")
    }
    try source.admit(dimensions: shape.items.count) { got, wanted, _ in fault(got, wanted) }
    let dimensions = try numbers(shape)
    let isFortran = order == UInt8(ascii: "F")
    let (range, isLatin1) = try content(elements)
    guard let size = checkedBytes(of: dimensions, type.dtype), size <= range.count else {
      throw fault(
        "shape \(Shape(dimensions)) of \(type.dtype)",
        "a shape whose elements fit into \(range.count) bytes")
    }
    // One string may be named often; whoever writes arrays writes each once.
    guard size <= bytes.count - elementBytes else {
      throw fault(
        "\(elementBytes + size) bytes of elements", "no more than the file's \(bytes.count)")
    }
    elementBytes += size
    try source.admit(dimensions: dimensions.count, bytes: size) { got, wanted, fix in
      source.fault(at: at, got: got, wanted: wanted, fix: fix)
    }
    var tensor = try Tensor(
      uninitialized: Shape(isFortran ? dimensions.reversed() : dimensions), dtype: type.dtype
    )
    .checked()
    let count = tensor.withUnsafeMutableBytes {
      isLatin1 ? copyLatin1(range, into: $0) : copyRaw(range, into: $0)
    }
    guard count == size else {
      throw fault("elements that are no text in latin1 of \(size) bytes", "\(size) bytes")
    }
    if isBigEndian {
      tensor.withUnsafeMutableBytes { swapBytes($0, elementBytes: type.dtype.bytes) }
    }
    if tensor.firstInvalidBoolean != nil {
      throw source.fault(
        .data, at: at, got: "a boolean that is neither 0 nor 1", wanted: "0 or 1")
    }
    if isFortran { return try tensor.reversedDimensions.checked() }
    guard order == UInt8(ascii: "K"), let axes, case .tuple(let tuple) = axes else { return tensor }
    let permutation = try numbers(tuple)
    guard permutation.sorted().elementsEqual(dimensions.indices) else {
      throw fault("an order of dimensions \(permutation)", "each of 0..<\(dimensions.count) once")
    }
    return try tensor.permuted(permutation).tensor.checked()
  }

  private func numbers(_ tuple: PickleTuple) throws -> [Int] {
    try tuple.items.map { item in
      guard case .integer(let number) = item, number >= 0 else {
        throw fault("dimension \(item.name)", "0...2^63 - 1")
      }
      return number
    }
  }

  /// Where elements stand, and whether as a text.
  private func content(_ value: PickleValue) throws -> (Range<Int>, isLatin1: Bool) {
    switch value {
    case .latin1(let text): (try range(ofStringAt: text), true)
    case .raw(let raw): (try range(ofStringAt: raw), false)
    case .noBytes: (0..<0, false)
    default: throw fault("\(value.name) as elements", "bytes")
    }
  }

  /// Copies raw bytes; gives their number, or nil where they do not fill the buffer.
  private func copyRaw(_ range: Range<Int>, into buffer: UnsafeMutableRawBufferPointer) -> Int? {
    guard range.count == buffer.count else { return nil }
    bytes.withUnsafeBytes { buffer.copyMemory(from: UnsafeRawBufferPointer(rebasing: $0[range])) }
    return buffer.count
  }

  /// Turns UTF-8 of code points up to U+00FF into one byte each; nil for other text, or where it
  /// does not fill the buffer.
  private func copyLatin1(_ range: Range<Int>, into buffer: UnsafeMutableRawBufferPointer) -> Int? {
    bytes.withUnsafeBufferPointer { bytes -> Int? in
      var place = range.lowerBound
      var filled = 0
      while place < range.upperBound {
        guard filled < buffer.count else { return nil }
        let byte = bytes[place]
        if byte < 0x80 {
          buffer[filled] = byte
          place += 1
        } else {
          guard byte == 0xc2 || byte == 0xc3, place + 1 < range.upperBound,
            bytes[place + 1] & 0xc0 == 0x80
          else { return nil }
          buffer[filled] = byte << 6 | bytes[place + 1] & 0x3f
          place += 2
        }
        filled += 1
      }
      return filled
    }
  }

  /// Whether a value is the byte that numpy writes for an array that is to be filled.
  private func isLetterB(_ value: PickleValue) throws -> Bool {
    switch value {
    case .raw(let opcode), .latin1(let opcode):
      bytes[try range(ofStringAt: opcode)].elementsEqual("b".utf8)
    default: false
    }
  }

  /// The only letter of a text.
  private func letter(_ value: PickleValue) throws -> UInt8? {
    guard let opcode = textOrRaw(value) else { return nil }
    let text = bytes[try range(ofStringAt: opcode)]
    return text.count == 1 ? text.first : nil
  }

  private func textOrRaw(_ value: PickleValue) -> Int? {
    switch value {
    case .text(let opcode), .raw(let opcode): opcode
    default: nil
    }
  }

  /// Python 3 writes flags as booleans, Python 2 as 0 and 1.
  private func isFlag(_ value: PickleValue) -> Bool {
    switch value {
    case .bool, .integer(0), .integer(1): true
    default: false
    }
  }
}

extension PaddleParameters {
  /// Reads the arrays of a `.pdparams` or `.pdopt` file: a pickle of protocols 2 to 5 that holds a
  /// dictionary of numpy arrays by name, written by Python 2 or 3 with numpy 1 or 2.
  ///
  /// Nothing in the file is executed: only the opcodes of such a dictionary and the names that
  /// numpy's arrays need are known. Strings in the dictionary and the table of names that a dygraph
  /// model carries (`StructuredToParameterName@@`) are left out.
  ///
  /// - Throws: `ABNError(.file)` with the byte at which the file is damaged;
  ///   `ABNError(.unsupported)` with the byte of another opcode, import, protocol, kind of object
  ///   or element type; `ABNError(.data)` for a boolean that is neither 0 nor 1.
  public static func readPickle(
    _ path: String, limits: ReadLimits = ReadLimits()
  ) throws -> [String: Tensor] {
    try readPickle(ByteSource(path: path, kind: "pickle", limits: limits))
  }

  static func readPickle(_ source: ByteSource) throws -> [String: Tensor] {
    var reader = try PickleReader(source)
    return try reader.read()
  }
}
