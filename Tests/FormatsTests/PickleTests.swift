import ABNTensors
import Foundation
import Testing

@testable import ABNFormats

/// Pickles put together opcode by opcode, as Python writes them.
@Suite("Pickled arrays")
struct PickleTests {
  typealias Bytes = [UInt8]

  func read(_ bytes: Bytes) throws -> [String: Tensor] {
    try PaddleParameters.readPickle(ByteSource(bytes, path: "m.pdparams", kind: "pickle"))
  }

  func pickle(_ body: Bytes) -> Bytes { [0x80, 2] + body + [UInt8(ascii: ".")] }
  func text(_ string: String) -> Bytes {
    var bytes: Bytes = [UInt8(ascii: "X")]
    bytes.appendLittleEndian(UInt32(string.utf8.count))
    return bytes + Array(string.utf8)
  }
  /// A string of Python 2.
  func raw(_ content: Bytes) -> Bytes { [UInt8(ascii: "U"), UInt8(content.count)] + content }
  func global(_ module: String, _ name: String) -> Bytes { Array("c\(module)\n\(name)\n".utf8) }
  func integer(_ value: Int32) -> Bytes {
    var bytes: Bytes = [UInt8(ascii: "J")]
    bytes.appendLittleEndian(value)
    return bytes
  }
  func tuple(_ items: [Bytes]) -> Bytes { Array("(".utf8) + items.joined() + Array("t".utf8) }
  func call(_ function: Bytes, _ arguments: [Bytes]) -> Bytes {
    function + tuple(arguments) + Array("R".utf8)
  }
  /// Bytes as Python 3 writes them in protocol 2.
  func encoded(_ content: Bytes) -> Bytes {
    call(
      global("_codecs", "encode"),
      [
        text(String(String.UnicodeScalarView(content.map { Unicode.Scalar($0) }))), text("latin1"),
      ])
  }
  func dtype(_ name: String, order: String = "<") -> Bytes {
    let none = Array("N".utf8)
    return call(global("numpy", "dtype"), [text(name), [0x89], [0x88]])
      + tuple([
        integer(3), text(order), none, none, none, integer(-1), integer(-1), integer(0),
      ]) + Array("b".utf8)
  }
  func array(
    _ shape: [Int32], _ dtype: Bytes, _ data: Bytes, fortran: Bool = false,
    module: String = "numpy.core.multiarray"
  ) -> Bytes {
    call(
      global(module, "_reconstruct"),
      [global("numpy", "ndarray"), tuple([integer(0)]), encoded(Array("b".utf8))])
      + tuple([integer(1), tuple(shape.map(integer)), dtype, [fortran ? 0x88 : 0x89], data])
      + Array("b".utf8)
  }
  func dictionary(_ entries: [(String, Bytes)]) -> Bytes {
    Array("}(".utf8) + entries.flatMap { text($0.0) + $0.1 } + Array("u".utf8)
  }

  let vector: [UInt8] = [0, 0, 0x80, 0x3f, 0, 0, 0, 0xc0]

  @Test(arguments: paddleTypes)
  func readsEveryTypeAndOrder(type: DType) throws {
    let tensor = randomTensor(type, [2, 3], seed: 4)
    let name = String(NPYHeader.descriptor(of: type)!.dropFirst())
    let bytes = tensor.withUnsafeBytes(Array.init)
    let size = type.bytes
    let elements = (0..<6).map { Array(bytes[($0 * size)..<($0 * size + size)]) }
    let columns = [0, 3, 1, 4, 2, 5].flatMap { elements[$0] }
    let swapped = elements.flatMap { $0.reversed() }
    let order = size == 1 ? "|" : "<"
    let entries = [
      ("a", array([2, 3], dtype(name, order: order), encoded(bytes))),
      ("b", array([2, 3], dtype(name, order: order), encoded(columns), fortran: true)),
      ("c", array([2, 3], dtype(name, order: size == 1 ? "|" : ">"), encoded(swapped))),
      (
        "d", array([2, 3], dtype(name, order: order), raw(bytes), module: "numpy._core.multiarray")
      ),
    ]
    let read = try read(pickle(dictionary(entries)))
    for key in ["a", "b", "c", "d"] { #expect(read[key] == tensor, "\(key)") }
  }

  @Test func readsShapesWithoutElementsAndScalars() throws {
    let none = global("__builtin__", "bytes") + Array(")R".utf8)
    let read = try read(
      pickle(
        dictionary([
          ("empty", array([0, 3], dtype("f4"), none)),
          ("scalar", array([], dtype("i1", order: "|"), encoded([0xfe]))),
        ])))
    #expect(read["empty"] == Tensor([] as [Float], shape: [0, 3]))
    #expect(read["scalar"] == Tensor(scalar: -2 as Int8))
    #expect(try self.read(pickle(Array("}".utf8))).isEmpty)
  }

  @Test func leavesOutTheTableOfNames() throws {
    let table = dictionary([("fc.weight", text("linear_0.w_0"))])
    let body = dictionary([
      ("fc.weight", array([2], dtype("f4"), encoded(vector))), (PickleReader.nameTable, table),
      ("note", text("hello")),
    ])
    #expect(try read(pickle(body)) == ["fc.weight": Tensor([1, -2] as [Float])])
    expectError(.unsupported) { _ = try read(pickle(dictionary([("other", table)]))) }
  }

  /// `os.system("...")` and its relatives: refused by name, before anything is made of them.
  @Test(arguments: [
    ("posix", "system"), ("__builtin__", "eval"), ("builtins", "exec"), ("os", "system"),
    ("numpy", "load"), ("numpy.core.multiarray", "fromfile"), ("_codecs", "decode"),
    ("collections", "OrderedDict"), (String(repeating: "x", count: 500), "y"),
  ])
  func refusesOtherImports(module: String, name: String) throws {
    let body = call(global(module, name), [text("touch abn-was-here")])
    let error = expectError(.unsupported) { _ = try read(pickle(body)) }
    #expect(error?.location == "byte 2")
    #expect(error?.got.contains(module.prefix(64)) == true)
    #expect(!FileManager.default.fileExists(atPath: "abn-was-here"))
  }

  @Test func refusesEveryOtherOpcode() {
    let known = Set("NKMJXUT(})tqrhjcRbsu.".utf8).union([0x88, 0x89, 0x8a, 0x85, 0x86, 0x87])
    for opcode in UInt8.min ... .max where !known.contains(opcode) {
      let error = expectError(.unsupported) { _ = try read(pickle([0x4e, opcode])) }
      #expect(error?.location == "byte 3")
    }
    for version in [0, 1, 6, 255] as [UInt8] {
      expectError(.unsupported) { _ = try read([0x80, version, UInt8(ascii: "}"), 0x2e]) }
    }
    expectError(.file) { _ = try read(Array("(dp0\n.".utf8)) }
  }

  @Test func refusesWhatIsNoArray() {
    let f4 = dtype("f4")
    let data = encoded(vector)
    let wrong: [(Bytes, ABNError.Category)] = [
      (array([3], f4, data), .file), (array([1], f4, data), .file), (array([-2], f4, data), .file),
      (array([.max, .max, .max], f4, data), .file), (array([2], f4, text("abcdefgh")), .file),
      (array([2], f4, call(global("_codecs", "encode"), [text("€"), text("latin1")])), .file),
      (array([2], dtype("f4", order: "="), data), .file),
      (array([2], dtype("U1"), data), .unsupported),
      (array([2], dtype("c8"), data), .unsupported), (array([2], dtype("u4"), data), .unsupported),
      (array([8], dtype("b1", order: "|"), data), .data), (integer(5), .unsupported),
      (Array("N".utf8), .unsupported), (f4, .unsupported), (tuple([]), .unsupported),
    ]
    for (value, category) in wrong {
      let error = expectError(category) { _ = try read(pickle(dictionary([("a", value)]))) }
      #expect(error?.location?.hasPrefix("byte ") == true)
    }
    // An array whose elements never come; a name twice; no dictionary; something behind the end.
    let bare = call(
      global("numpy.core.multiarray", "_reconstruct"),
      [global("numpy", "ndarray"), tuple([integer(0)]), encoded(Array("b".utf8))])
    let good = array([2], f4, data)
    for body in [
      dictionary([("a", bare)]), dictionary([("a", good), ("a", good)]), good, Array("}}".utf8),
      Array("}h\u{1}".utf8), Array("R".utf8), Array("t".utf8), Array("q\0".utf8), Array("(".utf8),
      [],
      Array("}(q\0u".utf8), Array("}(b".utf8), Array("}(Nu".utf8), Array("}.".utf8),
      [0x8a, 9] + Bytes(repeating: 1, count: 9), [UInt8(ascii: "T"), 0xff, 0xff, 0xff, 0xff],
      [UInt8(ascii: "X"), 0xff, 0xff, 0xff, 0xff],
    ] {
      expectError(.file) { _ = try read(pickle(body)) }
    }
  }

  /// Small files that ask for much: each is refused long before that.
  @Test func refusesBombs() throws {
    // One tuple in another, a million times: releasing them would exhaust the stack.
    expectError(.file) {
      _ = try read(pickle([0x4e] + Bytes(repeating: 0x85, count: 1_000_000)))
    }
    expectError(.file) { _ = try read(pickle(Bytes(repeating: 0x4e, count: 1_000_000))) }
    expectError(.unsupported) {
      _ = try read(pickle(Bytes(repeating: UInt8(ascii: "}"), count: 1_000_000)))
    }
    expectError(.file) {
      let name = String(repeating: "x", count: 5000)
      _ = try read(pickle(dictionary([(name, array([2], dtype("f4"), encoded(vector)))])))
    }
    // A dictionary in itself, and elements that a hundred arrays share.
    expectError(.unsupported) { _ = try read(pickle(Array("}q\0X\u{1}\0\0\0ah\0s".utf8))) }
    let size = 100_000
    let shared = encoded(Bytes(repeating: 1, count: size)) + Array("q\u{9}".utf8)
    let entries = (0..<100).map { i in
      (
        "\(i)",
        array(
          [Int32(size)], dtype("u1", order: "|"), i == 0 ? shared : Array("h\u{9}".utf8))
      )
    }
    let error = expectError(.file) { _ = try read(pickle(dictionary(entries))) }
    #expect(error?.got.contains("bytes of elements") == true)
  }

  @Test func survivesDamage() throws {
    let bytes = pickle(
      dictionary([
        ("a.w", array([2], dtype("f4"), encoded(vector))),
        ("b", array([2, 1], dtype("f4", order: ">"), raw(vector), fortran: true)),
      ]))
    #expect(try read(bytes).count == 2)
    let refusals = countRefusals(of: bytes) { _ = try read($0) }
    #expect(refusals.truncated == bytes.count)
    #expect(refusals.untyped.isEmpty)
    #expect(refusals.flipped > bytes.count)
  }
}
