import ABNTensors
import ABNTestSupport
import Foundation
import Testing

@testable import ABNFormats

@Suite("npz")
struct NPZTests {
  let folder: TemporaryFolder

  init() throws { folder = try TemporaryFolder() }

  func read(_ bytes: [UInt8]) throws -> [String: Tensor] {
    try NPZ.read(ByteSource(bytes, path: "x.npz", kind: "npz"))
  }

  /// The bytes of an npz file whose sizes from `largeBytes` on go into zip64 records.
  func file(_ tensors: [String: Tensor], largeBytes: Int = 0xffff_ffff) throws -> [UInt8] {
    let path = folder.file("made.npz")
    try AtomicFile.write(to: path) {
      try NPZ.write(tensors, path: path, ZipWriter($0, largeBytes: largeBytes))
    }
    return try contents(of: path)
  }

  let sample: [String: Tensor] = Dictionary(
    uniqueKeysWithValues: numpyTypes.enumerated().map { i, dtype in
      ("layer\(i).\(dtype)/ä", randomTensor(dtype, Shape([i % 3 + 1, 4]), seed: UInt64(i)))
    })

  @Test func comesBackUnchanged() throws {
    let path = folder.file("a.npz")
    try NPZ.write(sample, to: path)
    #expect(try NPZ.read(path) == sample)
    #expect(try NPZ.names(path) == sample.keys.sorted())
    let some = Array(sample.keys.sorted().prefix(2))
    #expect(try NPZ.read(path, only: some) == sample.filter { some.contains($0.key) })
    try NPZ.write([:], to: path)
    #expect(try NPZ.read(path) == [:])
  }

  @Test func equalArraysGiveEqualFiles() throws {
    #expect(try file(sample) == file(Dictionary(uniqueKeysWithValues: sample.shuffled())))
  }

  /// 0: every entry has the records; 300: some offsets only.
  @Test(arguments: [0, 300, 700])
  func zip64ComesBackUnchanged(largeBytes: Int) throws {
    let bytes = try file(sample, largeBytes: largeBytes)
    #expect(bytes != (try file(sample)))
    #expect(try read(bytes) == sample)
  }

  @Test func manyEntriesComeBack() throws {
    let tensors = Dictionary(
      uniqueKeysWithValues: (0..<66000).map { ("\($0)", Tensor(scalar: Int32($0))) })
    let bytes = try file(tensors)
    let zip = try ZipReader(ByteSource(bytes, path: "x.npz", kind: "npz"))
    #expect(zip.entries.count == 66000)
    let entry = try #require(zip.entries.last)
    #expect(try NPY.read(zip.stream(entry)) == tensors[String(entry.name.dropLast(4))])
  }

  /// Made by `numpy.savez_compressed` (numpy 2.4).
  @Test func readsTheDeflatedFileOfNumpy() throws {
    let text = """
      UEsDBC0AAAAIAAAAIQDGJlDE//////////8JABQAemVyb3MubnB5AQAQAMABAAAAAAAAUgAAAAAAAACb7BfqGxDJyF\
      DGUK2eklqcXKRupaBuk2mhrqOgnpZfVFKUmBefX5SSChJ3S8wpTgWKF2ckFqQC+RomBjqaOgq1CuQDLgYqA0Yq00xU\
      ppmpTAMAUEsDBC0AAAAIAAAAIQD242I4//////////8FABQAaC5ucHkBABAAiAAAAAAAAABOAAAAAAAAAJvsF+obEM\
      nIUMZQrZ6SWpxcpG6loG6TZqSuo6Cell9UUpSYF59flJIKEndLzClOBYoXZyQWpAL5GkY6CkaaOgq1CmQDLgY7hgMM\
      DP+rAVBLAQItAy0AAAAIAAAAIQDGJlDEUgAAAMABAAAJAAAAAAAAAAAAAACAAQAAAAB6ZXJvcy5ucHlQSwECLQMtAA\
      AACAAAACEA9uNiOE4AAACIAAAABQAAAAAAAAAAAAAAgAGNAAAAaC5ucHlQSwUGAAAAAAIAAgBqAAAAEgEAAAAA
      """
    let bytes = [UInt8](try #require(Data(base64Encoded: text)))
    let expected = [
      "zeros": Tensor((0..<40).map { Int64($0 / 10) }),
      "h": Tensor([1.5, -2, 0, 65504] as [Float16], shape: [2, 2]),
    ]
    #expect(try read(bytes) == expected)
    let refusals = countRefusals(of: bytes) { copy in
      // A change that is not refused may only concern what carries no data, or a name.
      let tensors = try read(copy)
      #expect(Set(tensors.values.map(\.description)) == Set(expected.values.map(\.description)))
    }
    #expect(refusals.truncated == bytes.count)
    #expect(refusals.untyped.isEmpty)
    #expect(refusals.flipped > bytes.count)
  }

  @Test func readsWhatItsOwnDeflateMakes() throws {
    let tensor = Tensor((0..<70_000).map { Float($0 % 1000) }, shape: [70, 1000])
    let plain = try NPY.header(for: tensor, in: "") + tensor.withUnsafeBytes(Array.init)
    let bytes = packed(plain)
    let source = ByteSource(bytes, path: "x", kind: "npy")
    let stream = try ByteStream(source, coding: .deflate)
    #expect(try NPY.read(stream) == tensor)
    #expect(stream.checksum == plain.withUnsafeBytes { cyclicChecksum($0) })
    // Another byte behind the end mark.
    let longer = ByteSource(bytes + [0], path: "x", kind: "npy")
    expectError(.file) { _ = try NPY.read(ByteStream(longer, coding: .deflate)) }
  }

  /// A header that claims much more than a deflate stream of this length can hold.
  @Test func refusesAClaimOfManyBytes() throws {
    let header = "{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,)}"
    var plain: [UInt8] = NPY.magic + [1, 0]
    plain.appendLittleEndian(UInt16(header.utf8.count))
    plain += Array(header.utf8)
    let source = ByteSource(packed(plain), path: "x", kind: "npy")
    let error = expectError(.file) { _ = try NPY.read(ByteStream(source, coding: .deflate)) }
    #expect(error?.got.contains("1000000000000") == true)
  }

  @Test(arguments: [0xffff_ffff, 0])
  func survivesDamage(largeBytes: Int) throws {
    let tensors = [
      "a": randomTensor(.float32, [3], seed: 1), "b": randomTensor(.bool, [2, 2], seed: 2),
    ]
    let bytes = try file(tensors, largeBytes: largeBytes)
    let refusals = countRefusals(of: bytes) { copy in
      // A change that is not refused may only concern what carries no data, or a name.
      let values = Set(try read(copy).values.map(\.description))
      #expect(values == Set(tensors.values.map(\.description)))
    }
    #expect(refusals.truncated == bytes.count)
    #expect(refusals.untyped.isEmpty)
    #expect(refusals.flipped > bytes.count)
  }

  @Test func refusesOverlappingEntries() throws {
    let one = ["a": randomTensor(.uint8, [9], seed: 1)]
    var bytes = try file(["a": one["a"]!, "b": one["a"]!])
    // The second entry of the table of contents is made to name the first one's bytes.
    let tableOffset = Int(bytes.littleEndian(UInt32.self, at: bytes.count - 6))
    let second = tableOffset + 46 + 5
    for i in 42..<46 { bytes[second + i] = 0 }
    bytes[second + 46] = UInt8(ascii: "a")
    #expect(expectError(.file) { _ = try read(bytes) }?.got.contains("twice") == true)
    bytes[tableOffset + 46] = UInt8(ascii: "c")
    bytes[30] = UInt8(ascii: "a")
    expectError(.file) { _ = try read(bytes) }
  }

  @Test func namesWhatIsMissing() throws {
    let path = folder.file("a.npz")
    try NPZ.write(["weight": randomTensor(.float32, [2], seed: 1)], to: path)
    let error = expectError(.name) { _ = try NPZ.read(path, only: ["wieght"]) }
    #expect(error?.fix == "Did you mean \"weight\"?")
    expectError(.file) { _ = try NPZ.read(folder.file("none.npz")) }
    expectError(.name) { try NPZ.write(["": Tensor(scalar: 1 as Float)], to: path) }
    expectError(.unsupported) {
      try NPZ.write(["b": randomTensor(.bfloat16, [1], seed: 1)], to: path)
    }
    #expect(try NPZ.names(path) == ["weight"])
  }
}

@Suite("Files beside the package")
struct SharedFileTests {
  @Test(
    .enabled(
      if: SharedFolder.path != nil, "there is no shared folder: the golden cases are not read"),
    arguments: ["oracle/golden", "oracle/truth"])
  func everyCaseCanBeRead(name: String) throws {
    let files = SharedFolder.files(in: name, suffix: ".npz")
    #expect(files.count >= 12)
    for file in files {
      let tensors = try NPZ.read(file)
      let meta = try #require(tensors["meta"], "\(file)")
      #expect(meta.dtype == .uint8)
      #expect(meta.elements(UInt8.self).first == UInt8(ascii: "{"), "\(file)")
      if let x = tensors["x"] {
        #expect(x.doubles.contains { $0 != 0 } && x.doubles.allSatisfy(\.isFinite), "\(file)")
      }
      #expect(tensors["gamma"]?.shape == tensors["beta"]?.shape, "\(file)")
    }
  }
}
