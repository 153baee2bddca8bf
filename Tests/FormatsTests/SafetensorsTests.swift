import ABNTensors
import Foundation
import Testing

@testable import ABNFormats

@Suite("safetensors")
struct SafetensorsTests {
  let folder: TemporaryFolder

  init() throws { folder = try TemporaryFolder() }

  func read(_ bytes: [UInt8]) throws -> (tensors: [String: Tensor], metadata: [String: String]) {
    try Safetensors.read(ByteSource(bytes, path: "x.safetensors", kind: "safetensors"))
  }

  func file(_ header: String, _ elements: [UInt8]) -> [UInt8] {
    var bytes: [UInt8] = []
    bytes.appendLittleEndian(UInt64(header.utf8.count))
    return bytes + Array(header.utf8) + elements
  }

  @Test func comesBackUnchanged() throws {
    var tensors: [String: Tensor] = [:]
    for (i, dtype) in DType.allCases.enumerated() {
      for shape in [[], [3], [2, 0], [1, 2, 3]] as [Shape] {
        tensors["\"\(dtype)\"\\\u{1}/é🙂 \(shape)"] = randomTensor(dtype, shape, seed: UInt64(i))
      }
    }
    let metadata = ["format": "abn", "": "empty", "quote\"\n\t\u{7f}\u{1f}": "\\ ∂x 🙂"]
    let path = folder.file("a.safetensors")
    try Safetensors.write(tensors, metadata: metadata, to: path)
    let back = try Safetensors.read(path: path)
    #expect(back.tensors == tensors)
    #expect(back.metadata == metadata)
    let first = try contents(of: path)
    #expect(first.littleEndian(UInt64.self, at: 0) % 8 == 0)
    try Safetensors.write(
      Dictionary(uniqueKeysWithValues: tensors.shuffled()), metadata: metadata, to: path)
    #expect(try contents(of: path) == first)
    try Safetensors.write([:], to: path)
    #expect(try Safetensors.read(path: path) == ([:], [:]))
  }

  /// Made by `safetensors.numpy.save` (safetensors 0.8).
  @Test func readsAndWritesTheBytesOfTheReference() throws {
    let text = """
      2AAAAAAAAAB7Il9fbWV0YWRhdGFfXyI6eyJmb3JtYXQiOiJucCIsIsOkXCIiOiJcbiJ9LCJuIjp7ImR0eXBlIjoiST\
      Y0Iiwic2hhcGUiOltdLCJkYXRhX29mZnNldHMiOlswLDhdfSwidyI6eyJkdHlwZSI6IkYzMiIsInNoYXBlIjpbMSwy\
      XSwiZGF0YV9vZmZzZXRzIjpbOCwxNl19LCJmbGFnIjp7ImR0eXBlIjoiQk9PTCIsInNoYXBlIjpbM10sImRhdGFfb2\
      Zmc2V0cyI6WzE2LDE5XX19ICAgICD5/////////wAAwD8AABDAAQAB
      """
    let bytes = [UInt8](try #require(Data(base64Encoded: text)))
    let tensors = [
      "w": Tensor([1.5, -2.25] as [Float], shape: [1, 2]), "flag": Tensor([true, false, true]),
      "n": Tensor(scalar: Int64(-7)),
    ]
    let metadata = ["format": "np", "ä\"": "\n"]
    let (readTensors, readMetadata) = try read(bytes)
    #expect(readTensors == tensors)
    #expect(readMetadata == metadata)
    try Safetensors.write(tensors, metadata: metadata, to: folder.file("b"))
    #expect(try contents(of: folder.file("b")) == bytes)
    let refusals = countRefusals(of: bytes, flips: [0x01, 0x02, 0x20, 0x80, 0xff]) {
      _ = try read($0)
    }
    #expect(refusals.truncated == bytes.count)
    #expect(refusals.untyped.isEmpty)
    #expect(refusals.flipped > 216)
  }

  @Test(arguments: [
    (#"{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}"#, "bytes of data"),
    (#"{"a":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}}"#, "a hole"),
    (
      #"{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[5],"data_offsets":[3,8]}}"#,
      "an overlap"
    ),
    (
      #"{"a":{"dtype":"U8","shape":[3],"data_offsets":[0,3]},"b":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}}"#,
      "a hole after"
    ),
    (#"{"a":{"dtype":"U8","shape":[16],"data_offsets":[0,16]}}"#, "8 bytes of data"),
    (#"{"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}}"#, "data_offsets [0, 8]"),
    (#"{"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}}"#, "shape"),
    (#"{"a":{"dtype":"F32","shape":[2.0],"data_offsets":[0,8]}}"#, "shape"),
    (#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}}"#, "data_offsets [8, 0]"),
    (#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8,8]}}"#, "data_offsets"),
    (
      #"{"a":{"dtype":"U8","shape":[4294967296,4294967296,16],"data_offsets":[0,8]}}"#,
      "data_offsets"
    ),
    (#"{"a":{"dtype":"F32","shape":[2]}}"#, "no data_offsets"),
    (#"{"a":{"dtype":3,"shape":[2],"data_offsets":[0,8]}}"#, "no string"),
    (#"{"a":[]}"#, "no JSON object"),
    (#"{"__metadata__":{"a":1}}"#, "no string"),
    (#"{"__metadata__":[]}"#, "another kind"),
    (#"[]"#, "without '{'"),
    (#" {}"#, "without '{'"),
    (#"{"a":{"dtype":"U8","shape":[8],"data_offsets":[0,8]}"#, "end of the text"),
    (
      #"{"a":{"dtype":"U8","shape":[8],"data_offsets":[0,8]},"a":{"dtype":"U8","shape":[0],"data_offsets":[8,8]}}"#,
      "twice"
    ),
  ])
  func refusesOtherHeaders(header: String, got: String) {
    let error = expectError(.file) { _ = try read(file(header, [1, 2, 3, 4, 5, 6, 7, 8])) }
    #expect(error?.got.contains(got) == true, "\(String(describing: error))")
    #expect(error?.location?.hasPrefix("byte ") == true)
  }

  @Test func refusesOtherTypesAndValues() throws {
    let half = #"{"a":{"dtype":"F4","shape":[16],"data_offsets":[0,8]}}"#
    expectError(.unsupported) { _ = try read(file(half, [UInt8](repeating: 1, count: 8))) }
    let flags = #"{"a":{"dtype":"BOOL","shape":[3],"data_offsets":[0,3]}}"#
    let error = expectError(.data) { _ = try read(file(flags, [1, 0, 7])) }
    #expect(error?.location == "byte \(8 + flags.utf8.count + 2)")
    expectError(.name) {
      try Safetensors.write(["__metadata__": Tensor(scalar: 1 as Float)], to: folder.file("c"))
    }
    #expect(try folder.contents == [])
  }

  @Test func refusesALongHeader() {
    for length in [100_000_001, 1 << 40, UInt64.max] as [UInt64] {
      var bytes: [UInt8] = []
      bytes.appendLittleEndian(length)
      expectError(.file) { _ = try read(bytes + Array("{}".utf8)) }
    }
  }
}

@Suite("JSON")
struct JSONTests {
  func parse(_ text: String) throws -> JSONTree {
    try JSONTree(parsing: Array(text.utf8)) { offset, got, wanted in
      ABNError(.file, "text", at: "byte \(offset)", got: got, wanted: wanted)
    }
  }

  @Test func parsesEveryKind() throws {
    let text =
      #" {"a" : [1, -2.5e+3 ,0, true,false , null, [], {}], "A\/\u00e9\ud83d\ude42": "\b\f\n\r\t\"\\"} "#
    let expected = JSONTree.object([
      .init(
        name: "a", offset: 2,
        value: .array([
          .number("1"), .number("-2.5e+3"), .number("0"), .boolean(true), .boolean(false), .null,
          .array([]), .object([]),
        ])),
      .init(name: "A/é🙂", offset: 52, value: .string("\u{8}\u{c}\n\r\t\"\\")),
    ])
    #expect(try parse(text) == expected)
  }

  /// What is skipped is checked all the same.
  @Test(arguments: [
    "", "{", "[1,]", "{\"a\":1,}", "01", "1.", "1e", "+1", ".5", "-", "tru", "nan", "'a'", "\"a",
    "\"\u{1}\"", #""\x""#, #""\u12g4""#, #""\ud800""#, #""\ud800\u0041""#, #""\udc00""#, "1 2",
    "{\"a\" 1}", "{1:2}", #"{"a":1,"a":2}"#,
  ])
  func refusesWhatIsNoJSON(text: String) {
    expectError(.file) { _ = try parse(text) }
    expectError(.file) {
      var scanner = JSONScanner(Array(text.utf8)) { offset, got, wanted in
        ABNError(.file, "text", at: "byte \(offset)", got: got, wanted: wanted)
      }
      try scanner.skip()
      try scanner.finish()
    }
  }

  @Test func refusesManyLevels() throws {
    func nested(_ levels: Int) -> String {
      String(repeating: "[", count: levels) + String(repeating: "]", count: levels)
    }
    #expect(throws: Never.self) { _ = try parse(nested(64)) }
    expectError(.file) { _ = try parse(nested(65)) }
    expectError(.file) { _ = try parse(String(repeating: "[", count: 100_000)) }
  }

  @Test func quotesWhatItParses() throws {
    let text = String(String.UnicodeScalarView((1...0x2ff).compactMap(Unicode.Scalar.init))) + "🙂"
    #expect(try parse(JSON.quoted(text)) == .string(text))
  }
}
