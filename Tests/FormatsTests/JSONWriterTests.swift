import Foundation
import Testing

@testable import ABNFormats

/// What is written as JSON: read back by Foundation and by the package's own scanner.
@Suite struct JSONWriterTests {
  private func read(_ text: String) throws -> Any {
    try JSONSerialization.jsonObject(with: Data(text.utf8), options: .fragmentsAllowed)
  }

  /// Every character that JSON or a script in a page takes for something else.
  @Test func textsComeBack() throws {
    var scalars = (0...0x9f).compactMap(Unicode.Scalar.init)
    scalars += ["\u{2028}", "\u{2029}", "\u{fffe}", "\u{1f600}"]
    let all = String(String.UnicodeScalarView(scalars)) + "</script><!--"
    #expect(try read(JSON.quoted(all)) as? String == all)
    for scalar in scalars {
      #expect(try read(JSON.quoted(String(scalar))) as? String == String(scalar), "\(scalar.value)")
    }
    let written = JSON.quoted(all)
    #expect(!written.contains("<"))
    #expect(written.unicodeScalars.allSatisfy { $0.value >= 0x20 && $0.value != 0x2028 })
  }

  @Test func numbersComeBackAndThoseThatAreNoneAreNull() throws {
    for value in [
      0, -0.0, 1, 0.1, -1.5, 1e-300, .leastNonzeroMagnitude, 1e16, 1e300, .greatestFiniteMagnitude,
    ] {
      let text = JSON.number(value).line
      #expect(try read(text) as? Double == value, "\(text)")
      #expect(!text.hasSuffix(".0"))
    }
    for value in [Double.nan, .infinity, -.infinity] { #expect(JSON.number(value).line == "null") }
    #expect(JSON.integer(UInt64.max).line == "18446744073709551615")
    #expect(JSON.integer(Int.min).line == "-9223372036854775808")
  }

  @Test func layouts() {
    let value = JSON.object([
      ("b", .array([.integer(1), .null, .bool(true)])), ("a", .object([])), ("c", .array([])),
    ])
    #expect(value.line == #"{"b":[1,null,true],"a":{},"c":[]}"#)
    #expect(
      value.lines == """
        {
          "b": [
            1,
            null,
            true
          ],
          "a": {},
          "c": []
        }

        """)
  }

  private enum Name: String, Codable { case first }

  private struct Sample: Codable, Equatable {
    struct Inner: Codable, Equatable { var list: [Double?]; var none: Int? }
    var zeta = UInt64.max
    var alpha = -3
    var byte: UInt8 = 7
    var half: Float = 0.1
    var yes = true
    var name = Name.first
    var inner = [Inner(list: [1.5, nil], none: nil), Inner(list: [], none: 4)]
    var map = ["k<": "v\n", "a": ""]
    var absent: String?
  }

  /// What Foundation's encoder gives, with the members sorted; equal values give equal texts.
  @Test func encodesWhatCodableValuesSay() throws {
    let sample = Sample()
    let text = try JSON(encoding: sample).line
    #expect(try JSONDecoder().decode(Sample.self, from: Data(text.utf8)) == sample)
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    let foundation = String(decoding: try encoder.encode(sample), as: UTF8.self)
    #expect(text.replacing("\\u003c", with: "<") == foundation)
    #expect(try JSON(encoding: sample).line == text)
    #expect(try JSON(encoding: [Double.nan, 1]).line == "[null,1]")
    #expect(try JSON(encoding: ["x": Float.infinity]).line == #"{"x":null}"#)
  }

  /// A value beside whose members others stand: both containers are one object.
  @Test func severalContainersAreOneObject() throws {
    struct Both: Encodable {
      enum Keys: String, CodingKey { case beside }
      func encode(to encoder: any Encoder) throws {
        try Sample.Inner(list: [2], none: 1).encode(to: encoder)
        var container = encoder.container(keyedBy: Keys.self)
        try container.encode("x", forKey: .beside)
      }
    }
    #expect(try JSON(encoding: Both()).line == #"{"beside":"x","list":[2],"none":1}"#)
  }

  /// A tree grows in the time of its size: a hundred thousand elements take no copy each.
  @Test func longLists() throws {
    let list = (0..<100_000).map { $0 }
    #expect(try JSON(encoding: list).line.utf8.count == 588_891)
  }
}
