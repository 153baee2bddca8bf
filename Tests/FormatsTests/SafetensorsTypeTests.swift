import ABNTensors
import Foundation
import Testing

@testable import ABNFormats

/// Element types that `DType` does not have, reading by name, and the checksum.
@Suite("safetensors: types, names, checksum")
struct SafetensorsTypeTests {
  let folder: TemporaryFolder

  init() throws { folder = try TemporaryFolder() }

  func source(_ header: String, _ elements: [UInt8]) -> ByteSource {
    var bytes: [UInt8] = []
    bytes.appendLittleEndian(UInt64(header.utf8.count))
    return ByteSource(
      bytes + Array(header.utf8) + elements, path: "x.safetensors", kind: Safetensors.kind)
  }

  func one(_ type: String, _ count: Int, _ elements: [UInt8]) throws -> Tensor {
    let header =
      #"{"a":{"dtype":"\#(type)","shape":[\#(count)],"data_offsets":[0,\#(elements.count)]}}"#
    let tensors = try Safetensors.read(source(header, elements)).tensors
    return try #require(tensors["a"])
  }

  @Test func integers() throws {
    #expect(
      try one("I16", 3, [0, 0x80, 0xff, 0xff, 0xff, 0x7f])
        == Tensor([-32768, -1, 32767] as [Int32]))
    #expect(try one("U16", 2, [0xff, 0xff, 1, 0]) == Tensor([65535, 1] as [Int32]))
    #expect(
      try one("U32", 2, [0xff, 0xff, 0xff, 0xff, 1, 0, 0, 0])
        == Tensor([4_294_967_295, 1] as [Int64])
    )
    let most: [UInt8] = [UInt8](repeating: 0xff, count: 7) + [0x7f]
    #expect(try one("U64", 1, most) == Tensor([Int64.max]))
    let error = expectError(.data) {
      _ = try one("U64", 2, most + [UInt8](repeating: 0xff, count: 8))
    }
    #expect(error?.got.contains("2^63") == true && error?.location?.hasPrefix("byte ") == true)
    #expect(try one("U16", 0, []) == Tensor([] as [Int32]))
    let many = (0..<70_000).map { UInt16(truncatingIfNeeded: $0) }
    #expect(
      try one("U16", 70_000, many.flatMap { [UInt8($0 & 255), UInt8($0 >> 8)] })
        == Tensor(many.map { Int32($0) }))
  }

  /// The numbers that the papers state, and every one against the formula with its own exponent.
  @Test func floatsOf8Bits() throws {
    let table: [(String, [(UInt8, Float)])] = [
      (
        "F8_E4M3",
        [
          (0, 0), (0x80, -0.0), (0x38, 1), (0xb8, -1), (0x7e, 448), (0xfe, -448), (0x08, 0x1p-6),
          (0x07, 0x1.cp-7), (0x01, 0x1p-9), (0x40, 2), (0x3c, 1.5),
        ]
      ),
      (
        "F8_E5M2",
        [
          (0, 0), (0x80, -0.0), (0x3c, 1), (0x7b, 57344), (0x7c, .infinity), (0xfc, -.infinity),
          (0x04, 0x1p-14), (0x03, 0x1.8p-15), (0x01, 0x1p-16), (0x3e, 1.5),
        ]
      ),
      ("F8_E8M0", [(127, 1), (0, 0x1p-127), (128, 2), (254, 0x1p127)]),
      (
        "F8_E4M3FNUZ", [(0, 0), (0x40, 1), (0x7f, 240), (0xff, -240), (0x08, 0x1p-7), (1, 0x1p-10)]
      ),
      (
        "F8_E5M2FNUZ", [(0, 0), (0x40, 1), (0x7f, 57344), (0x04, 0x1p-15), (1, 0x1p-17)]
      ),
    ]
    let nans: [String: Set<UInt8>] = [
      "F8_E4M3": [0x7f, 0xff], "F8_E5M2": [0x7d, 0x7e, 0x7f, 0xfd, 0xfe, 0xff], "F8_E8M0": [0xff],
      "F8_E4M3FNUZ": [0x80], "F8_E5M2FNUZ": [0x80],
    ]
    for (type, values) in table {
      let all = try one(type, 256, Array(UInt8.min ... .max)).elements(Float.self)
      for (bits, value) in values {
        #expect(all[Int(bits)].bitPattern == value.bitPattern, "\(type) \(bits): \(all[Int(bits)])")
      }
      #expect(Set((UInt8.min ... .max).filter { all[Int($0)].isNaN }) == nans[type])
      // Positive numbers ascend with their bits; negative ones are their mirror.
      let positive = all.prefix(type == "F8_E8M0" ? 256 : 128).filter { !$0.isNaN }
      #expect(zip(positive, positive.dropFirst()).allSatisfy { $0 < $1 })
      if type != "F8_E8M0" {
        for bits in 1..<128 where !all[bits].isNaN { #expect(all[bits + 128] == -all[bits]) }
      }
    }
  }

  @Test func othersStandInNobodysWay() throws {
    let header = """
      {"p":{"dtype":"F4","shape":[4],"data_offsets":[0,2]},\
      "u":{"dtype":"U16","shape":[1],"data_offsets":[2,4]},\
      "w":{"dtype":"F32","shape":[1],"data_offsets":[4,8]},\
      "c":{"dtype":"C64","shape":[1],"data_offsets":[8,16]}}
      """
    let bytes: [UInt8] = [1, 2, 5, 1, 0, 0, 0x80, 0x3f] + [UInt8](repeating: 0, count: 8)
    let file = source(header, bytes)
    #expect(try Safetensors.read(file, only: ["w"]).tensors == ["w": Tensor([1 as Float])])
    #expect(try Safetensors.read(file, only: ["u"]).tensors == ["u": Tensor([261 as Int32])])
    #expect(try Safetensors.read(file, only: []).tensors.isEmpty)
    let all = expectError(.unsupported) { _ = try Safetensors.read(file) }
    #expect(all?.got.contains("\"p\": dtype F4") == true && all?.fix.contains("names") == true)
    expectError(.unsupported) { _ = try Safetensors.read(file, only: ["c"]) }
    let near = expectError(.name) { _ = try Safetensors.read(file, only: ["w", "ww"]) }
    #expect(near?.fix.contains("Did you mean") == true)
    // Where they stand is looked at all the same.
    expectError(.file) { _ = try Safetensors.read(source(header, bytes + [0]), only: ["w"]) }
    try AtomicFile.write(file.bytes(at: 0, count: file.byteCount), to: folder.file("a"))
    #expect(try Safetensors.names(path: folder.file("a")).names == ["c", "p", "u", "w"])
  }

  @Test func theChecksumIsThatOfTheDefinition() {
    let tensors = ["w": Tensor([1, -2] as [Float], shape: [2, 1])]
    var bytes = Array("m".utf8)
    func append(_ text: String) {
      bytes.appendLittleEndian(UInt64(text.utf8.count))
      bytes += text.utf8
    }
    append("format")
    append("x 1")
    bytes += Array("t".utf8)
    append("w")
    append("F32")
    for number in [2, 2, 1] as [UInt64] { bytes.appendLittleEndian(number) }
    bytes += [0, 0, 0x80, 0x3f, 0, 0, 0, 0xc0]
    // The CRC-32 of IEEE 802.3, bit by bit.
    var sum = UInt32.max
    for byte in bytes {
      sum ^= UInt32(byte)
      for _ in 0..<8 { sum = sum >> 1 ^ (sum & 1 == 1 ? 0xedb8_8320 : 0) }
    }
    let digits = String(~sum, radix: 16)
    let wanted = "crc32:" + String(repeating: "0", count: 8 - digits.count) + digits
    #expect(
      Safetensors.checksum(
        of: tensors, metadata: ["format": "x 1", Safetensors.checksumKey: "anything"]) == wanted)
  }

  /// Whatever bit of the file turns over: an error, or the same contents.
  @Test func everyTurnedBitIsFound() throws {
    let tensors = [
      "a": randomTensor(.float32, [3], seed: 1), "é": randomTensor(.bool, [2, 1], seed: 2),
    ]
    let path = folder.file("a")
    let metadata = ["format": "x 2.0", "mean": "0.5 0.25", Safetensors.checksumKey: ""]
    try Safetensors.write(tensors, metadata: metadata, to: path)
    let bytes = try contents(of: path)
    let whole = try Safetensors.read(path: path)
    #expect(whole.metadata[Safetensors.checksumKey]?.hasPrefix("crc32:") == true)
    var found = 0
    for i in bytes.indices {
      for bit in 0..<8 {
        var copy = bytes
        copy[i] ^= 1 << bit
        let source = ByteSource(copy, path: "x", kind: Safetensors.kind)
        do {
          let read = try Safetensors.read(source)
          // Without its own name a checksum is none: the version in the metadata demands it.
          let lacksName = read.metadata[Safetensors.checksumKey] == nil
          #expect(lacksName || read == whole, "byte \(i), bit \(bit)")
        } catch {
          #expect(error is ABNError)
          found += 1
        }
      }
    }
    #expect(found > 7 * bytes.count)
    // Another program that keeps the metadata and changes nothing; one that changes a number.
    try Safetensors.write(whole.tensors, metadata: whole.metadata, to: path)
    #expect(try contents(of: path) == bytes)
  }

  @Test func formatsAndVersions() throws {
    let format = FileFormat(kind: "model", major: 2, minor: 1)
    #expect(format.description == "swift-inplace-abn model 2.1")
    #expect(FileFormat(format.description) == format)
    #expect(FileFormat("swift-inplace-abn model 1") == FileFormat(kind: "model", major: 1))
    for text in [
      "", "model 2.1", "swift-inplace-abn model", "swift-inplace-abn model x", "other model 1",
      "swift-inplace-abn model 1.2.3", "swift-inplace-abn  1", "swift-inplace-abn model -1",
      "swift-inplace-abn model 1.", "swift-inplace-abn model 99999999999999999999",
    ] {
      #expect(FileFormat(text) == nil, "\(text)")
    }
    func read(_ text: String?) throws -> FileFormat {
      try FileFormat.read(
        text.map { [FileFormat.key: $0] } ?? [:], kind: "model", newest: 2, path: "x")
    }
    #expect(try read("swift-inplace-abn model 2.7").minor == 7)
    #expect(try read("swift-inplace-abn model 1").major == 1)
    let newer = expectError(.unsupported) { _ = try read("swift-inplace-abn model 3.0") }
    #expect(newer?.fix.contains("newer release") == true)
    let other = expectError(.file) { _ = try read("swift-inplace-abn checkpoint 1.0") }
    #expect(other?.got.contains("checkpoint") == true)
    for text in [nil, "pt", "swift-inplace-abn model 0"] {
      expectError(.file) { _ = try read(text) }
    }
  }

  @Test func widening() {
    let halves = Tensor([1.5, -0.0, .infinity, 65504, 0x1p-24] as [Float16])
    #expect(
      halves.widened(to: .float32) == Tensor([1.5, -0.0, .infinity, 65504, 0x1p-24] as [Float]))
    #expect(halves.widened(to: .float64)?.doubles == halves.doubles)
    let brain = randomTensor(.bfloat16, [4, 5], seed: 3)
    #expect(brain.widened(to: .float32)?.shape == [4, 5])
    let wide = brain.widened(to: .float32)!
    #expect(
      zip(wide.elements(Float.self), brain.elements(BFloat16.self)).allSatisfy {
        $0.bitPattern == UInt32($1.bitPattern) << 16
      })
    #expect(Tensor([1.5]).widened(to: .float32) == nil)
    #expect(Tensor([1] as [Int32]).widened(to: .float32) == nil)
  }
}
