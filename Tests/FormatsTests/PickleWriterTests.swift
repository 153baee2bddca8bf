import InPlaceABN
import Testing

/// Against bytes that Python's pickletools reads as the same value.
@Suite struct PickleWriterTests {
  @Test func everyKindOfItem() {
    let item = PickleItem.dictionary([
      ("a", .list([.integer(7), .integer(300), .integer(-2), .integer(1 << 40)])),
      ("b", .tuple([.bool(true), .bool(false)])), ("c", .none), ("d", .list([])),
      ("e", .dictionary([])), ("f", .tuple([.text("x")])),
    ])
    let wanted: [UInt8] =
      [0x80, 4] + Array("}(".utf8)
      + [0x8c, 1] + Array("a](K".utf8) + [7] + Array("M".utf8) + [0x2c, 1] + Array("J".utf8)
      + [0xfe, 0xff, 0xff, 0xff, 0x8a, 8, 0, 0, 0, 0, 0, 1, 0, 0] + Array("e".utf8)
      + [0x8c, 1] + Array("b".utf8) + [0x88, 0x89, 0x86]
      + [0x8c, 1] + Array("cN".utf8)
      + [0x8c, 1] + Array("d]".utf8)
      + [0x8c, 1] + Array("e}".utf8)
      + [0x8c, 1] + Array("f(".utf8) + [0x8c, 1] + Array("xtu.".utf8)
    #expect(PickleWriter.bytes(item) == wanted)
  }

  /// Text beyond 255 bytes has a length of four.
  @Test func longText() {
    let bytes = PickleWriter.bytes(.text(String(repeating: "y", count: 300)))
    #expect(bytes.prefix(7) == [0x80, 4, UInt8(ascii: "X"), 0x2c, 1, 0, 0])
    #expect(bytes.count == 2 + 5 + 300 + 1)
  }
}
