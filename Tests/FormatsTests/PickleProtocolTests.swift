import ABNTensors
import Foundation
import Testing

@testable import ABNFormats

/// Files of numpy 2.4.6 and Python's pickle, and the same by opcodes for numpy 1.
@Suite("Pickles of every protocol")
struct PickleProtocolTests {
  typealias Bytes = [UInt8]

  func read(_ bytes: Bytes) throws -> [String: Tensor] {
    try PaddleParameters.readPickle(ByteSource(bytes, path: "m.pdparams", kind: "pickle"))
  }

  /// `{"w": ..., ..., "StructuredToParameterName@@": {...}}`: row- and column-major, dimensions in
  /// another order, none, no elements, numpy's scalars, big endian, every third element left out.
  static let expected: [String: Tensor] = [
    "w": Tensor([1.5, -2, 3, 4, 5, 6] as [Float], shape: [2, 3]),
    "f": Tensor([1, 2, 3, 4, 5, 6] as [Float16], shape: [2, 3]),
    "k": Tensor([0, 1, 6, 7, 2, 3, 8, 9, 4, 5, 10, 11] as [Int32], shape: [3, 2, 2]),
    "e": Tensor([] as [Float], shape: [0, 3]), "s": Tensor(scalar: 2.5),
    "z": Tensor(scalar: 7 as Int64), "b": Tensor([true, false]),
    "g": Tensor([1, 256] as [Int32]), "n": Tensor([0, 2, 3, 5] as [UInt8], shape: [2, 2]),
  ]

  static let files: [Int: String] = [
    2: """
    gAJ9cQAoWAEAAAB3cQFjbnVtcHkuX2NvcmUubXVsdGlhcnJheQpfcmVjb25zdHJ1Y3QKcQJjbnVtcHkKbmRhcnJheQpx\
    A0sAhXEEY19jb2RlY3MKZW5jb2RlCnEFWAEAAABicQZYBgAAAGxhdGluMXEHhnEIUnEJh3EKUnELKEsBSwJLA4ZxDGNu\
    dW1weQpkdHlwZQpxDVgCAAAAZjRxDomIh3EPUnEQKEsDWAEAAAA8cRFOTk5K/////0r/////SwB0cRJiiWgFWB0AAAAA\
    AMOAPwAAAMOAAABAQAAAwoBAAADCoEAAAMOAQHETaAeGcRRScRV0cRZiWAEAAABmcRdoAmgDSwCFcRhoCYdxGVJxGihL\
    AUsCSwOGcRtoDVgCAAAAZjJxHImIh3EdUnEeKEsDaBFOTk5K/////0r/////SwB0cR9iiGgFWAwAAAAAPABEAEAARQBC\
    AEZxIGgHhnEhUnEidHEjYlgBAAAAa3EkaAJoA0sAhXElaAmHcSZScScoSwFLA0sCSwKHcShoDVgCAAAAaTRxKYmIh3Eq\
    UnErKEsDaBFOTk5K/////0r/////SwB0cSxiiWgFWDAAAAAAAAAAAQAAAAYAAAAHAAAAAgAAAAMAAAAIAAAACQAAAAQA\
    AAAFAAAACgAAAAsAAABxLWgHhnEuUnEvdHEwYlgBAAAAZXExaAJoA0sAhXEyaAmHcTNScTQoSwFLAEsDhnE1aBCJY19f\
    YnVpbHRpbl9fCmJ5dGVzCnE2KVJxN3RxOGJYAQAAAHNxOWNudW1weS5fY29yZS5tdWx0aWFycmF5CnNjYWxhcgpxOmgN\
    WAIAAABmOHE7iYiHcTxScT0oSwNoEU5OTkr/////Sv////9LAHRxPmJoBVgIAAAAAAAAAAAABEBxP2gHhnFAUnFBhnFC\
    UnFDWAEAAAB6cURoAmgDSwCFcUVoCYdxRlJxRyhLASloDVgCAAAAaThxSImIh3FJUnFKKEsDaBFOTk5K/////0r/////\
    SwB0cUtiiWgFWAgAAAAHAAAAAAAAAHFMaAeGcU1ScU50cU9iWAEAAABicVBoAmgDSwCFcVFoCYdxUlJxUyhLAUsChXFU\
    aA1YAgAAAGIxcVWJiIdxVlJxVyhLA1gBAAAAfHFYTk5OSv////9K/////0sAdHFZYoloBVgCAAAAAQBxWmgHhnFbUnFc\
    dHFdYlgBAAAAZ3FeaAJoA0sAhXFfaAmHcWBScWEoSwFLAoVxYmgNWAIAAABpNHFjiYiHcWRScWUoSwNYAQAAAD5xZk5O\
    Tkr/////Sv////9LAHRxZ2KJaAVYCAAAAAAAAAEAAAEAcWhoB4ZxaVJxanRxa2JYAQAAAG5xbGgCaANLAIVxbWgJh3Fu\
    UnFvKEsBSwJLAoZxcGgNWAIAAAB1MXFxiYiHcXJScXMoSwNoWE5OTkr/////Sv////9LAHRxdGKJaAVYBAAAAAACAwVx\
    dWgHhnF2UnF3dHF4YlgbAAAAU3RydWN0dXJlZFRvUGFyYW1ldGVyTmFtZUBAcXl9cXpYCQAAAGZjLndlaWdodHF7WAwA\
    AABsaW5lYXJfMC53XzBxfHN1Lg==
    """,
    3: """
    gAN9cQAoWAEAAAB3cQFjbnVtcHkuX2NvcmUubXVsdGlhcnJheQpfcmVjb25zdHJ1Y3QKcQJjbnVtcHkKbmRhcnJheQpx\
    A0sAhXEEQwFicQWHcQZScQcoSwFLAksDhnEIY251bXB5CmR0eXBlCnEJWAIAAABmNHEKiYiHcQtScQwoSwNYAQAAADxx\
    DU5OTkr/////Sv////9LAHRxDmKJQxgAAMA/AAAAwAAAQEAAAIBAAACgQAAAwEBxD3RxEGJYAQAAAGZxEWgCaANLAIVx\
    EmgFh3ETUnEUKEsBSwJLA4ZxFWgJWAIAAABmMnEWiYiHcRdScRgoSwNoDU5OTkr/////Sv////9LAHRxGWKIQwwAPABE\
    AEAARQBCAEZxGnRxG2JYAQAAAGtxHGgCaANLAIVxHWgFh3EeUnEfKEsBSwNLAksCh3EgaAlYAgAAAGk0cSGJiIdxIlJx\
    IyhLA2gNTk5OSv////9K/////0sAdHEkYolDMAAAAAABAAAABgAAAAcAAAACAAAAAwAAAAgAAAAJAAAABAAAAAUAAAAK\
    AAAACwAAAHEldHEmYlgBAAAAZXEnaAJoA0sAhXEoaAWHcSlScSooSwFLAEsDhnEraAyJQwBxLHRxLWJYAQAAAHNxLmNu\
    dW1weS5fY29yZS5tdWx0aWFycmF5CnNjYWxhcgpxL2gJWAIAAABmOHEwiYiHcTFScTIoSwNoDU5OTkr/////Sv////9L\
    AHRxM2JDCAAAAAAAAARAcTSGcTVScTZYAQAAAHpxN2gCaANLAIVxOGgFh3E5UnE6KEsBKWgJWAIAAABpOHE7iYiHcTxS\
    cT0oSwNoDU5OTkr/////Sv////9LAHRxPmKJQwgHAAAAAAAAAHE/dHFAYlgBAAAAYnFBaAJoA0sAhXFCaAWHcUNScUQo\
    SwFLAoVxRWgJWAIAAABiMXFGiYiHcUdScUgoSwNYAQAAAHxxSU5OTkr/////Sv////9LAHRxSmKJQwIBAHFLdHFMYlgB\
    AAAAZ3FNaAJoA0sAhXFOaAWHcU9ScVAoSwFLAoVxUWgJWAIAAABpNHFSiYiHcVNScVQoSwNYAQAAAD5xVU5OTkr/////\
    Sv////9LAHRxVmKJQwgAAAABAAABAHFXdHFYYlgBAAAAbnFZaAJoA0sAhXFaaAWHcVtScVwoSwFLAksChnFdaAlYAgAA\
    AHUxcV6JiIdxX1JxYChLA2hJTk5OSv////9K/////0sAdHFhYolDBAACAwVxYnRxY2JYGwAAAFN0cnVjdHVyZWRUb1Bh\
    cmFtZXRlck5hbWVAQHFkfXFlWAkAAABmYy53ZWlnaHRxZlgMAAAAbGluZWFyXzAud18wcWdzdS4=
    """,
    4: """
    gASVQgMAAAAAAAB9lCiMAXeUjBZudW1weS5fY29yZS5tdWx0aWFycmF5lIwMX3JlY29uc3RydWN0lJOUjAVudW1weZSM\
    B25kYXJyYXmUk5RLAIWUQwFilIeUUpQoSwFLAksDhpRoBYwFZHR5cGWUk5SMAmY0lImIh5RSlChLA4wBPJROTk5K////\
    /0r/////SwB0lGKJQxgAAMA/AAAAwAAAQEAAAIBAAACgQAAAwECUdJRijAFmlGgEaAdLAIWUaAmHlFKUKEsBSwJLA4aU\
    aA6MAmYylImIh5RSlChLA2gSTk5OSv////9K/////0sAdJRiiEMMADwARABAAEUAQgBGlHSUYowBa5RoBGgHSwCFlGgJ\
    h5RSlChLAUsDSwJLAoeUaA6MAmk0lImIh5RSlChLA2gSTk5OSv////9K/////0sAdJRiiUMwAAAAAAEAAAAGAAAABwAA\
    AAIAAAADAAAACAAAAAkAAAAEAAAABQAAAAoAAAALAAAAlHSUYowBZZRoBGgHSwCFlGgJh5RSlChLAUsASwOGlGgRiUMA\
    lHSUYowBc5RoAowGc2NhbGFylJOUaA6MAmY4lImIh5RSlChLA2gSTk5OSv////9K/////0sAdJRiQwgAAAAAAAAEQJSG\
    lFKUjAF6lGgEaAdLAIWUaAmHlFKUKEsBKWgOjAJpOJSJiIeUUpQoSwNoEk5OTkr/////Sv////9LAHSUYolDCAcAAAAA\
    AAAAlHSUYowBYpRoBGgHSwCFlGgJh5RSlChLAUsChZRoDowCYjGUiYiHlFKUKEsDjAF8lE5OTkr/////Sv////9LAHSU\
    YolDAgEAlHSUYowBZ5RoBGgHSwCFlGgJh5RSlChLAUsChZRoDowCaTSUiYiHlFKUKEsDjAE+lE5OTkr/////Sv////9L\
    AHSUYolDCAAAAAEAAAEAlHSUYowBbpRoBGgHSwCFlGgJh5RSlChLAUsCSwKGlGgOjAJ1MZSJiIeUUpQoSwNoT05OTkr/\
    ////Sv////9LAHSUYolDBAACAwWUdJRijBtTdHJ1Y3R1cmVkVG9QYXJhbWV0ZXJOYW1lQECUfZSMCWZjLndlaWdodJSM\
    DGxpbmVhcl8wLndfMJRzdS4=
    """,
    5: """
    gAWVUQMAAAAAAAB9lCiMAXeUjBNudW1weS5fY29yZS5udW1lcmljlIwLX2Zyb21idWZmZXKUk5QolhgAAAAAAAAAAADA\
    PwAAAMAAAEBAAACAQAAAoEAAAMBAlIwFbnVtcHmUjAVkdHlwZZSTlIwCZjSUiYiHlFKUKEsDjAE8lE5OTkr/////Sv//\
    //9LAHSUYksCSwOGlIwBQ5R0lFKUjAFmlGgEKJYMAAAAAAAAAAA8AEQAQABFAEIARpRoCIwCZjKUiYiHlFKUKEsDaAxO\
    Tk5K/////0r/////SwB0lGJLAksDhpSMAUaUdJRSlIwBa5RoBCiWMAAAAAAAAAAAAAAAAQAAAAIAAAADAAAABAAAAAUA\
    AAAGAAAABwAAAAgAAAAJAAAACgAAAAsAAACUaAiMAmk0lImIh5RSlChLA2gMTk5OSv////9K/////0sAdJRiSwJLA0sC\
    h5SMAUuUSwFLAEsCh5R0lFKUjAFllGgEKJYAAAAAAAAAAJRoC0sASwOGlGgPdJRSlIwBc5SMFm51bXB5Ll9jb3JlLm11\
    bHRpYXJyYXmUjAZzY2FsYXKUk5RoCIwCZjiUiYiHlFKUKEsDaAxOTk5K/////0r/////SwB0lGJDCAAAAAAAAARAlIaU\
    UpSMAXqUaAQolggAAAAAAAAABwAAAAAAAACUaAiMAmk4lImIh5RSlChLA2gMTk5OSv////9K/////0sAdJRiKWgPdJRS\
    lIwBYpRoBCiWAgAAAAAAAAABAJRoCIwCYjGUiYiHlFKUKEsDjAF8lE5OTkr/////Sv////9LAHSUYksChZRoD3SUUpSM\
    AWeUaAQolggAAAAAAAAAAAAAAQAAAQCUaAiMAmk0lImIh5RSlChLA4wBPpROTk5K/////0r/////SwB0lGJLAoWUaA90\
    lFKUjAFulGgtjAxfcmVjb25zdHJ1Y3SUk5RoBowHbmRhcnJheZSTlEsAhZRDAWKUh5RSlChLAUsCSwKGlGgIjAJ1MZSJ\
    iIeUUpQoSwNoRE5OTkr/////Sv////9LAHSUYolDBAACAwWUdJRijBtTdHJ1Y3R1cmVkVG9QYXJhbWV0ZXJOYW1lQECU\
    fZSMCWZjLndlaWdodJSMDGxpbmVhcl8wLndfMJRzdS4=
    """,
  ]

  static func bytes(_ version: Int) throws -> Bytes {
    let text = try #require(files[version])
    return [UInt8](try #require(Data(base64Encoded: text)))
  }

  @Test(arguments: [2, 3, 4, 5]) func readsWhatNumpyWrites(version: Int) throws {
    let bytes = try Self.bytes(version)
    #expect(try read(bytes) == Self.expected)
    let refusals = countRefusals(of: bytes) { _ = try read($0) }
    #expect(refusals.truncated == bytes.count)
    #expect(refusals.untyped.isEmpty)
    #expect(refusals.flipped > bytes.count)
  }

  func text(_ string: String) -> Bytes { [0x8c, UInt8(string.utf8.count)] + Array(string.utf8) }
  func long(_ opcode: UInt8, _ content: Bytes) -> Bytes {
    var bytes: Bytes = [opcode]
    bytes.appendLittleEndian(UInt64(content.count))
    return bytes + content
  }
  func global(_ module: String, _ name: String) -> Bytes { text(module) + text(name) + [0x93] }
  func tuple(_ items: [Bytes]) -> Bytes { Array("(".utf8) + items.joined() + Array("t".utf8) }
  func number(_ value: UInt8) -> Bytes { [UInt8(ascii: "K"), value] }
  var dtype: Bytes {
    let none = Array("N".utf8)
    let minus: Bytes = [UInt8(ascii: "J"), 0xff, 0xff, 0xff, 0xff]
    return global("numpy", "dtype") + tuple([text("u1"), [0x89], [0x88]]) + Array("R".utf8)
      + tuple([number(3), text("|"), none, none, none, minus, minus, number(0)])
      + Array("b".utf8)
  }
  func file(_ value: Bytes, version: UInt8 = 5) -> Bytes {
    [0x80, version] + Array("}".utf8) + text("a") + value + Array("s.".utf8)
  }

  /// Longer forms of strings, the names of numpy 1, frames.
  @Test func readsOtherForms() throws {
    let data: Bytes = [1, 2, 3, 4]
    let tensor = Tensor(data, shape: [2, 2])
    let shape = tuple([number(2), number(2)])
    for module in ["numpy.core", "numpy._core"] {
      for content in [
        long(0x96, data), long(0x8e, data), [UInt8(ascii: "C"), 4] + data,
        [UInt8(ascii: "B"), 4, 0, 0, 0] + data,
      ] {
        let buffered =
          global("\(module).numeric", "_frombuffer")
          + tuple([content, dtype, shape, long(0x8d, Array("C".utf8))]) + Array("R".utf8)
        #expect(try read(file(buffered)) == ["a": tensor])
        let rebuilt =
          global("\(module).multiarray", "_reconstruct")
          + tuple([global("numpy", "ndarray"), tuple([number(0)]), [UInt8(ascii: "C"), 1, 0x62]])
          + Array("R".utf8) + tuple([number(1), shape, dtype, [0x89], content])
          + Array("b".utf8)
        #expect(try read(file(rebuilt)) == ["a": tensor])
        if content[0] != 0x96 { #expect(try read(file(rebuilt, version: 4)) == ["a": tensor]) }
        var frame: Bytes = [0x95]
        frame.appendLittleEndian(UInt64(1))
        #expect(try read([0x80, 5] + frame + file(rebuilt).dropFirst(2)) == ["a": tensor])
        frame[8] = 1
        expectError(.file) { _ = try read([0x80, 5] + frame + file(rebuilt).dropFirst(2)) }
      }
    }
  }

  @Test func refusesOtherArguments() throws {
    let data = long(0x96, [1, 2, 3, 4])
    let shape = tuple([number(2), number(2)])
    func call(_ arguments: [Bytes]) -> Bytes {
      file(
        global("numpy.core.numeric", "_frombuffer") + tuple(arguments) + Array("R".utf8))
    }
    let axes = tuple([number(1), number(0)])
    #expect(
      try read(call([data, dtype, shape, text("K"), axes]))
        == ["a": Tensor([1, 3, 2, 4] as [UInt8], shape: [2, 2])])
    for arguments in [
      [data, dtype, shape], [data, dtype, shape, text("A")], [data, dtype, shape, text("CC")],
      [data, shape, shape, text("C")], [data, dtype, data, text("C")],
      [data, dtype, tuple([number(3)]), text("C")], [data, dtype, tuple([number(5)]), text("C")],
      [data, dtype, shape, text("K"), tuple([number(1), number(1)])],
      [data, dtype, shape, text("K"), tuple([number(1)])],
      [data, dtype, shape, text("K"), tuple([number(1), number(2)])],
      [text("abcd"), dtype, shape, text("C")],
    ] {
      #expect(throws: ABNError.self) { _ = try read(call(arguments)) }
    }
    // Elements that the writer handed over beside the file.
    let outside = expectError(.unsupported) {
      _ = try read(call([[0x97], dtype, shape, text("C")]))
    }
    #expect(outside?.got.contains("outside of the file") == true)
    // Opcodes that a protocol does not have yet; lengths beyond the file.
    expectError(.unsupported) { _ = try read(file([0x8f])) }
    expectError(.unsupported) { _ = try read(file(text("x"), version: 3)) }
    expectError(.unsupported) { _ = try read(file(data, version: 4)) }
    for opcode in [0x8d, 0x8e, 0x96, 0x95] as [UInt8] {
      expectError(.file) { _ = try read(file([opcode] + Bytes(repeating: 0xff, count: 8))) }
    }
    for names in [[number(1), text("x")], [text("os"), text("system")], [text("x")]] {
      #expect(throws: ABNError.self) { _ = try read(file(names.joined() + [0x93])) }
    }
  }
}
