import ABNTensors
import ABNTestSupport
import Foundation
import Testing

@testable import ABNFormats

/// Files of every format, changed at random: each is read or refused with a typed error, and what is
/// made of it is bounded by its size.
@Suite struct FilePropertyTests {
  typealias Bytes = [UInt8]

  struct Format: Sendable, CustomTestStringConvertible {
    let testDescription: String
    let bytes: Bytes
    /// The most bytes of elements for a byte of the file.
    let mostGrowth: Int
    let read: @Sendable (ByteSource) throws -> [String: Tensor]
  }

  static let formats: [Format] = {
    let folder = try! TemporaryFolder()
    let tensors = [
      "a": randomTensor(.float32, [3, 2], seed: 1), "b/é": randomTensor(.bool, [5], seed: 2),
      "c": randomTensor(.float16, [2, 1, 2], seed: 3), "d": Tensor(zeros: [40], dtype: .int64),
    ]
    func file(_ write: (String) throws -> Void) -> Bytes {
      try! write(folder.file("x"))
      return try! contents(of: folder.file("x"))
    }
    let array = file { try NPY.write(tensors["a"]!, to: $0) }
    let names = tensors.keys.sorted()
    let pickles = try! [2, 3, 4, 5].map { version in
      Format(
        testDescription: "pickle \(version)", bytes: try PickleProtocolTests.bytes(version),
        mostGrowth: 1, read: { try PaddleParameters.readPickle($0) })
    }
    return [
      Format(
        testDescription: "npy", bytes: array, mostGrowth: 1, read: { ["": try NPY.read($0)] }),
      Format(
        testDescription: "deflated npy", bytes: packed(array), mostGrowth: 1032,
        read: { ["": try NPY.read(ByteStream($0, coding: .deflate))] }),
      Format(
        testDescription: "gzipped npy in two pieces",
        bytes: packed(Array(array.prefix(70)), windowBits: 31)
          + packed(Array(array.dropFirst(70)), windowBits: 31), mostGrowth: 1032,
        read: { ["": try NPY.read(ByteStream($0, coding: .gzip))] }),
      Format(
        testDescription: "npz", bytes: file { try NPZ.write(tensors, to: $0) }, mostGrowth: 1,
        read: { try NPZ.read($0) }),
      Format(
        testDescription: "safetensors",
        bytes: file {
          try Safetensors.write(tensors, metadata: ["k": "v", Safetensors.checksumKey: ""], to: $0)
        }, mostGrowth: 4, read: { try Safetensors.read($0).tensors }),
      Format(
        testDescription: "Paddle variable",
        bytes: file {
          try PaddleParameters.writeVariable(tensors["a"]!, levelsOfDetail: [[0, 1, 3]], to: $0)
        }, mostGrowth: 1, read: { ["": try PaddleParameters.readVariable($0).tensor] }),
      Format(
        testDescription: "Paddle combined",
        bytes: file { try PaddleParameters.writeCombined(tensors, to: $0) }, mostGrowth: 1,
        read: { try PaddleParameters.readCombined($0, names: names) }),
    ] + pickles + checkpoints
  }()

  /// The reader of weights over everything that it takes for a checkpoint.
  private static let checkpoints: [Format] = {
    let files =
      [
        ("checkpoint", TorchFile.zip(WeightsFileTests.checkpoint)),
        ("older checkpoint", TorchFile.legacy(WeightsFileTests.legacyCheckpoint)),
      ] + [2, 4, 5].map { ("pickle \($0) as weights", try! PickleProtocolTests.bytes($0)) }
    return files.map { name, bytes in
      Format(
        testDescription: name, bytes: bytes, mostGrowth: 5,
        read: { source in
          let file = try WeightsFile(source)
          return try file.read(file.names.filter { $0 != "complex" })
        })
    }
  }()

  /// Bytes turned over, replaced by telling ones, taken out, put in, copied from elsewhere, cut off.
  static func changed(_ bytes: Bytes, _ random: inout SequentialRandom) -> Bytes {
    func below(_ count: Int) -> Int { Int(random.next() % UInt64(max(count, 1))) }
    var copy = bytes
    for _ in 0...below(4) {
      let place = below(copy.count)
      let count = min(1 + below(8), copy.count - place)
      switch below(8) {
      case 0, 1: if !copy.isEmpty { copy[place] ^= 1 << UInt8(below(8)) }
      case 2:
        let telling: [UInt8] = [
          0, 1, 0x7f, 0x80, 0xff, 0x28, 0x29, 0x2e, 0x30, 0x39, 0x5b, 0x7b, 0x94,
        ]
        if !copy.isEmpty { copy[place] = telling[below(telling.count)] }
      case 3: copy.removeSubrange(place..<place + count)
      case 4: copy.insert(contentsOf: (0..<count).map { _ in UInt8(below(256)) }, at: place)
      case 5:
        let from = below(bytes.count)
        copy.insert(contentsOf: bytes[from..<min(from + 40, bytes.count)], at: place)
      case 6: copy.removeSubrange(place...)
      default:
        for i in place..<place + count { copy[i] = [0, 0xff][below(2)] }
      }
    }
    return copy
  }

  @Test(arguments: formats) func changedFilesAreReadOrRefused(format: Format) throws {
    let whole = ByteSource(format.bytes, path: "x", kind: "test")
    #expect(throws: Never.self) { _ = try format.read(whole) }
    var refused = 0
    let cases = 700 * soakFactor
    for number in 0..<cases {
      let seed = soakSeed &+ UInt64(number)
      var random = SequentialRandom(
        CounterRandom(seed: seed, stream: UInt64(format.bytes.count)))
      let bytes = Self.changed(format.bytes, &random)
      let source = ByteSource(bytes, path: "x", kind: "test")
      do {
        _ = try format.read(source)
      } catch {
        #expect(error is ABNError, "seed \(seed): \(error)")
        #expect("\(error)".utf8.count < 6 * DisplayText.mostBytes, "seed \(seed)")
        refused += 1
      }
      #expect(
        source.meter.elementBytes <= format.mostGrowth * bytes.count,
        "seed \(seed): room for \(source.meter.elementBytes) bytes")
    }
    #expect(refused > cases / 3)
  }

  /// What a folder's writer takes its reader gives back, whole; what it does not take leaves nothing.
  @Test func foldersComeBackWhole() throws {
    let parts = [
      "a", "w.0", ".hidden", "__model__", ".abn-12ab.tmp", ".abn-x.tmp", "..", ".", "", "ä",
      "a\u{308}",
      " ", "\n", "日本", "\u{301}x", "__model__2", ".abn-1.tmp.w",
      String(repeating: "n", count: 255), String(repeating: "n", count: 256),
      String(repeating: "日", count: 86),
    ]
    var taken = 0
    for number in 0..<60 * soakFactor {
      let seed = soakSeed &+ UInt64(number)
      var random = SequentialRandom(CounterRandom(seed: seed, stream: 0xf01d))
      func below(_ count: Int) -> Int { Int(random.next() % UInt64(count)) }
      var tensors: [String: Tensor] = [:]
      for i in 0...below(3) {
        let depth = below(12) == 0 ? 33 : 1 + below(3)
        let easy = below(3) > 0
        let name = (0..<depth).map { _ in
          easy || depth == 33 ? ["a", "b", "w.0", ".c"][below(4)] : parts[below(parts.count)]
        }.joined(separator: "/")
        tensors[name] = Tensor([Int32(i), Int32(truncatingIfNeeded: seed)])
      }
      let folder = try TemporaryFolder()
      do {
        try PaddleParameters.writeDirectory(tensors, to: folder.file("in"))
        taken += 1
        #expect(try PaddleParameters.readDirectory(folder.file("in")) == tensors, "seed \(seed)")
      } catch {
        #expect((error as? ABNError)?.category == .name, "seed \(seed): \(error)")
        #expect(try folder.contents == [], "seed \(seed): \(tensors.keys)")
      }
    }
    #expect(taken > 10)
  }
}
