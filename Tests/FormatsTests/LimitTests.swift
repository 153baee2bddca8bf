import ABNTensors
import ABNTestSupport
import Foundation
import InPlaceABN
import Testing

@testable import ABNFormats

@Suite("Limits of what is read")
struct LimitTests {
  func npy(_ bytes: [UInt8], _ limits: ReadLimits = ReadLimits()) throws -> Tensor {
    try NPY.read(ByteSource(bytes, path: "x.npy", kind: "npy", limits: limits))
  }

  func npyFile(_ header: String, _ elements: [UInt8] = []) -> [UInt8] {
    var bytes: [UInt8] = NPY.magic + [2, 0]
    bytes.appendLittleEndian(UInt32(header.utf8.count))
    return bytes + Array(header.utf8) + elements
  }

  func safetensors(_ header: String, _ elements: [UInt8] = []) -> ByteSource {
    var bytes: [UInt8] = []
    bytes.appendLittleEndian(UInt64(header.utf8.count))
    return ByteSource(
      bytes + Array(header.utf8) + elements, path: "x.safetensors", kind: Safetensors.kind)
  }

  /// The steps of a transposition do not depend on dimensions of 1, however many there are.
  @Test(arguments: [0, 1, 500, 1000]) func dimensionsOfOneCostNothing(ones: Int) throws {
    let dimensions = [3] + [Int](repeating: 1, count: ones) + [2, 1, 4]
    let tensor = randomTensor(.int32, Shape(dimensions), seed: 3)
    let axes = Array(dimensions.indices.reversed())
    let (result, steps) = tensor.permuted(axes)
    #expect(steps <= 2 * tensor.elementCount + tensor.shape.rank)
    let plain = randomTensor(.int32, [3, 2, 4], seed: 3).permuted([2, 1, 0]).tensor
    #expect(result.elements(Int32.self) == plain.elements(Int32.self))
    #expect(result.shape.dimensions == dimensions.reversed())
    let two = randomTensor(.uint8, Shape([Int](repeating: 2, count: 14)), seed: 1)
    #expect(two.permuted(Array((0..<14).reversed())).steps <= 2 * two.elementCount + 14)
  }

  @Test func manyDimensionsAreRefused() throws {
    func file(_ count: Int) -> [UInt8] {
      let shape = String(repeating: "1,", count: count)
      return npyFile("{'descr': '|u1', 'fortran_order': True, 'shape': (\(shape))}", [7])
    }
    #expect(try npy(file(1024)).elements(UInt8.self) == [7])
    let error = expectError(.file) { _ = try npy(file(1025)) }
    #expect(error?.wanted.contains("1024") == true)
    expectError(.file) { _ = try npy(file(39_000)) }
    var more = ReadLimits()
    more.mostDimensions = 40_000
    #expect(try npy(file(39_000), more).shape.rank == 39_000)
    let shape = [String](repeating: "1", count: 1025).joined(separator: ",")
    expectError(.file) {
      _ = try Safetensors.read(
        safetensors(#"{"a":{"dtype":"U8","shape":[\#(shape)],"data_offsets":[0,1]}}"#, [1]))
    }
  }

  /// 64 MiB of zeros in 64 KiB: refused by who cannot have it, before there is room for it.
  @Test func deflateIsBounded() throws {
    let count = 1 << 26
    let header = "{'descr': '|u1', 'fortran_order': False, 'shape': (\(count),)}"
    let bytes = packed(npyFile(header, [UInt8](repeating: 0, count: count)))
    #expect(bytes.count < 1 << 17)
    var limits = ReadLimits()
    limits.mostBytes = count - 1
    let source = ByteSource(bytes, path: "x", kind: "npy", limits: limits)
    let error = expectError(.file) { _ = try NPY.read(ByteStream(source, coding: .deflate)) }
    #expect(error?.wanted.contains("mostBytes") == true)
    limits.mostBytes = count
    let other = ByteSource(bytes, path: "x", kind: "npy", limits: limits)
    #expect(try NPY.read(ByteStream(other, coding: .deflate)).bytes == count)
    #expect(other.meter.elementBytes == count)
  }

  @Test func entriesAndBytesOfAllTensorsCount() throws {
    let folder = try TemporaryFolder()
    let tensors = Dictionary(
      uniqueKeysWithValues: (0..<10).map { ("\($0)", randomTensor(.float32, [25], seed: 1)) })
    let (npz, safe) = (folder.file("a.npz"), folder.file("a.safetensors"))
    try NPZ.write(tensors, to: npz)
    try Safetensors.write(tensors, to: safe)
    try PaddleParameters.writeDirectory(tensors, to: folder.file("d"))
    try PaddleParameters.writeCombined(tensors, to: folder.file("c"))
    let names = tensors.keys.sorted()
    func readers(_ limits: ReadLimits) -> [() throws -> [String: Tensor]] {
      [
        { try NPZ.read(npz, limits: limits) },
        { try Safetensors.read(path: safe, limits: limits).tensors },
        { try PaddleParameters.readDirectory(folder.file("d"), limits: limits) },
        { try PaddleParameters.readCombined(folder.file("c"), names: names, limits: limits) },
      ]
    }
    var limits = ReadLimits()
    limits.mostBytes = 1000
    for read in readers(limits) { #expect(try read() == tensors) }
    limits.mostBytes = 999
    for read in readers(limits) { expectError(.file) { _ = try read() } }
    limits = ReadLimits()
    limits.mostEntries = 9
    for read in readers(limits) { expectError(.file) { _ = try read() } }
  }

  /// Comparing texts sorts the marks of a letter: no name may have thousands.
  @Test func namesOfCombiningMarksAreRefused() throws {
    func marks(_ count: Int) -> String {
      "e"
        + String(
          String.UnicodeScalarView(
            (0..<count).map { [0x301, 0x323][$0 % 2] }
              .compactMap { Unicode.Scalar($0 as UInt32) }))
    }
    for count in [31, 125_000] {
      let name = marks(count)
      for header in [
        #"{"\#(name)":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}"#,
        #"{"a":{"dtype":"\#(name)","shape":[1],"data_offsets":[0,1]}}"#,
        #"{"a":{"\#(name)":1,"dtype":"U8","shape":[1],"data_offsets":[0,1]}}"#,
        #"{"__metadata__":{"\#(name)":"x"},"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}"#,
      ] {
        let error = expectError(.file) { _ = try Safetensors.read(safetensors(header, [1])) }
        #expect(error?.got.contains("combining marks") == true, "\(String(describing: error))")
      }
      expectError(.file) { _ = try npy(npyFile("{'\(name)': 1}")) }
      expectError(.unsupported) { _ = try npy(npyFile("{'descr': '\(name)'}")) }
    }
    let allowed = safetensors(
      #"{"\#(marks(30) + marks(30))":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}"#, [1])
    #expect(try Safetensors.read(allowed).tensors.count == 1)
    let folder = try TemporaryFolder()
    try NPZ.write([marks(31): Tensor(scalar: 1 as Float)], to: folder.file("m.npz"))
    expectError(.file) { _ = try NPZ.read(folder.file("m.npz")) }
  }

  /// Opcodes of a byte that make values of many: what a pickle may keep depends on its size.
  @Test(arguments: [")", "N\u{85}", "(", "N", "K1\u{85}", "}"], [1000, 64_000])
  func picklesKeepLittle(unit: String, count: Int) throws {
    let part = unit.unicodeScalars.map { UInt8($0.value) }
    for tail in [[], [0x94]] as [[UInt8]] {
      let body = [[UInt8]](repeating: part + tail, count: count).joined()
      let source = ByteSource([0x80, 4] + body + [0x2e], path: "x", kind: "pickle")
      var reader = try PickleReader(source)
      #expect(reader.mostStack <= min(1 << 16, 64 + source.byteCount / 2))
      #expect(reader.mostMemo <= 256 + source.byteCount / 5)
      #expect(throws: ABNError.self) { _ = try reader.read() }
      #expect(max(reader.stack.count, reader.marks.count) <= reader.mostStack + 3)
    }
    #expect(MemoryLayout<PickleValue>.stride <= 16)
  }

  /// In a process of its own, whose largest size the system knows.
  @Test func memoryIsBoundedByTheFile() async {
    await #expect(processExitsWith: .success) {
      let size = 1 << 19
      func repeated(_ text: String) -> String {
        String(repeating: text, count: size / text.utf8.count)
      }
      func json(_ value: String) -> [UInt8] {
        var bytes: [UInt8] = []
        let header = #"{"a":{"more":\#(value),"dtype":"U8","shape":[1],"data_offsets":[0,1]}}"#
        bytes.appendLittleEndian(UInt64(header.utf8.count))
        return bytes + Array(header.utf8) + [1]
      }
      func pickle(_ text: String) -> [UInt8] {
        [0x80, 4] + repeated(text).unicodeScalars.map { UInt8($0.value) } + [0x2e]
      }
      let headers = ["1,", "[],", "[1],", "\"\",", "{\"a\":[]},"].map {
        json("[\(repeated($0))1]")
      }
      let pickles = [")", "(", "N\u{85}", "N\u{94}", "(t\u{94}"].map { pickle($0) }
      for (kind, files) in [("json", headers), ("pickle", pickles)] {
        for (i, bytes) in files.enumerated() {
          let before = try #require(ProcessMemory.peakBytes)
          let source = ByteSource(bytes, path: "x", kind: kind)
          if kind == "json" {
            #expect(try Safetensors.read(source).tensors["a"]?.elements(UInt8.self) == [1])
          } else {
            #expect(throws: ABNError.self) { _ = try PaddleParameters.readPickle(source) }
          }
          let growth = try #require(ProcessMemory.peakBytes) - before
          #expect(growth < 14 * size, "\(kind) \(i): \(growth) bytes")
        }
      }
    }
  }
}

@Suite("Texts of errors")
struct ErrorTextTests {
  @Test func isOneLineWithoutControl() {
    let wild = "a\u{1b}[31mred\u{7}\r\n\tb\u{9b}c\u{202e}d\u{2028}e\u{feff}f\u{0}"
    for (what, got, wanted, fix) in [
      (wild, "g", "w", ""), ("x", wild, "w", wild), ("x", "g", wild, "f"),
    ] {
      for error in [
        ABNError(.file, what, at: wild, got: got, wanted: wanted, fix: fix),
        ABNError(.file, what, got: got, wanted: wanted, fix: fix)
          .located(in: wild, at: SourceLocation(fileID: #fileID, line: #line)),
      ] {
        let categories = error.description.unicodeScalars.map(\.properties.generalCategory)
        #expect(!categories.contains { [.control, .format, .lineSeparator].contains($0) })
        #expect(
          error.description.contains(#"\u{1B}[31mred\u{07}\r\n\tb\u{009B}c\u{202E}d\u{2028}"#))
      }
    }
    for text in ["a \"b\" \\n", "Größe ∂x 日本語", "👩‍👧 e\u{301}", ""] {
      #expect(DisplayText.line(text) == text)
    }
  }

  @Test func isShort() throws {
    for letter in ["x", "é", "日", "🙂", "\u{1b}"] {
      for count in [2000, 4000, 3_000_001] {
        let text = "<" + String(repeating: letter, count: count) + ">"
        let line = DisplayText.line(text)
        let isShort = text.utf8.count <= DisplayText.mostBytes
        #expect(line.utf8.count <= 6 * DisplayText.mostBytes + 60)
        #expect(line.first == "<" && line.last == ">")
        #expect(line.contains("bytes) ...") != isShort && !line.contains("\u{fffd}"))
      }
    }
    let huge = String(repeating: "n", count: 20 << 20)
    let error = ABNError(.name, huge, at: huge, got: huge, wanted: huge, fix: huge)
    #expect(error.description.utf8.count < 12_000)
    #expect(nearestMatch(to: huge, in: ["relu", huge]) == nil)
    #expect(nearestMatch(to: "rleu", in: [huge, "relu"]) == "relu")
  }

  /// A name of 20 MiB in a file, with an escape sequence in it.
  @Test func namesOfFilesPassThroughIt() throws {
    let name = "\u{1b}]0;x\u{7}" + String(repeating: "a", count: 1 << 20)
    let header =
      #"{\#(JSON.quoted(name)):{"dtype":"F99","shape":[1],"data_offsets":[0,1]}}"#
    var bytes: [UInt8] = []
    bytes.appendLittleEndian(UInt64(header.utf8.count))
    let source = ByteSource(bytes + Array(header.utf8) + [1], path: "x", kind: Safetensors.kind)
    let error = expectError(.unsupported) { _ = try Safetensors.read(source) }
    let text = try #require(error?.description)
    #expect(text.utf8.count < 12_000 && !text.contains("\u{1b}") && !text.contains("\u{7}"))
    expectError(.name) { _ = try Safetensors.read(source, only: ["b"]) }
  }
}
