import ABNTestSupport
import Foundation
import InPlaceABN
import Testing

@testable import ABNFormats

@Suite struct TensorBoardFileTests {
  /// RFC 3720, B.4, and the check value of the catalogue of CRCs.
  @Test func knownChecksums() {
    #expect(CRC32C.checksum([]) == 0)
    #expect(CRC32C.checksum(Array("123456789".utf8)) == 0xE306_9283)
    #expect(CRC32C.checksum([UInt8](repeating: 0, count: 32)) == 0x8A91_36AA)
    #expect(CRC32C.checksum([UInt8](repeating: 0xFF, count: 32)) == 0x62A8_AB43)
    #expect(CRC32C.checksum(UInt8(0)..<32) == 0x46DD_794E)
    #expect(CRC32C.checksum((UInt8(0)..<32).reversed()) == 0x113F_DB5C)
  }

  /// The buckets hold what counting gives, whatever the numbers.
  @Test func histogramsCount() throws {
    #expect(TensorBoardHistogram.limits.count == 2 * 775 + 1)
    for seed in soakSeed..<soakSeed + UInt64(20 * soakFactor) {
      let random = CounterRandom(seed: seed, stream: 0x6869)
      let values: [Double] = (0..<500).map { number in
        let bits: UInt32 = random.bits(UInt64(number))
        switch bits % 8 {
        case 0: return [0, -0.0, .nan, .infinity, -.infinity][Int(bits >> 8) % 5]
        case 1: return TensorBoardHistogram.limits[Int(bits >> 8) % 1551]
        case 2: return Double(bits >> 8) * 1e300
        default:
          let size = Double(bits >> 8) / Double(1 << 24)
          return pow(10, size * 40 - 20) * (bits & 8 == 0 ? 1 : -1)
        }
      }
      let dtype: DType = seed % 2 == 0 ? .float64 : .float32
      let tensor = Tensor(values, shape: [500]).cast(to: dtype)
      let finite = tensor.doubles.filter(\.isFinite)
      let histogram = TensorBoardHistogram(tensor)
      #expect(histogram.count == finite.count)
      #expect(histogram.min == finite.min() && histogram.max == finite.max())
      #expect(histogram.sum == finite.reduce(0, +))
      #expect(histogram.sumOfSquares == finite.reduce(0) { $0 + $1 * $1 })
      let (limits, counts) = histogram.buckets
      #expect(limits == limits.sorted() && limits.last == .greatestFiniteMagnitude)
      var below = -Double.infinity
      for (limit, count) in zip(limits, counts) {
        let isLast = limit == limits.last
        let expected = finite.count { $0 >= below && ($0 < limit || isLast) }
        #expect(Double(expected) == count, "seed \(seed), below \(limit)")
        below = limit
      }
      // Nothing empty stands beside something empty.
      for place in 1..<counts.count { #expect(counts[place] > 0 || counts[place - 1] > 0) }
    }
  }

  @Test func readBack() throws {
    let folder = FileManager.default.temporaryDirectory.path + "/abn-events-\(UUID().uuidString)"
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: folder) }
    let before = Date().timeIntervalSince1970
    let first = try TensorBoardFile(folder: folder)
    let second = try TensorBoardFile(folder: folder, purgingFrom: 7)
    #expect(first.path != second.path && first.path < second.path)
    let weights = TensorBoardHistogram(Tensor([Float(-1), 0.25, 0.25, 3]))
    let step = 300_000_000_000
    try second.append(
      step: step,
      [
        ("loss", .scalar(0.125)), ("w/a", .histogram(weights)),
        ("p", .picture(width: 300, height: 2, channels: 3, png: [1, 2, 3])),
        ("t", .text("größer | kleiner")),
      ])
    try second.append(step: 5, [])
    try second.append(step: 5, [("loss", .scalar(-2))])
    try second.flush()
    let events = try EventFile(path: second.path).events
    #expect(events.map(\.step) == [0, 7, step, 5])
    #expect(events.map(\.version) == ["brain.Event:2", nil, nil, nil])
    #expect(events.map(\.isStart) == [false, true, false, false])
    #expect(events.allSatisfy { $0.time >= before && $0.time < before + 600 })
    let values = events[2].values
    #expect(values.map(\.tag) == ["loss", "w/a", "p", "t"] && values[0].scalar == 0.125)
    #expect(values[1].histogram == [-1, 3, 4, 2.5, 10.125])
    #expect(values[1].counts.filter { $0 > 0 } == [1, 2, 1])
    #expect(values[2].size == [2, 300, 3] && values[2].png == [1, 2, 3])
    #expect(values[3].text == "größer | kleiner" && values[3].plugin == "text")
    #expect(try EventFile(path: first.path).events.map(\.version) == ["brain.Event:2"])
  }

  /// A full disk: an error with the path, and nothing of the piece stays.
  @Test func aPieceIsWholeOrNotThere() throws {
    let path = FileManager.default.temporaryDirectory.path + "/abn-log-\(UUID().uuidString)"
    defer { try? FileManager.default.removeItem(atPath: path) }
    try "abc\n".write(toFile: path, atomically: false, encoding: .utf8)
    var calls = FileCalls.system
    var isFull = false
    calls.write = { descriptor, bytes, count in
      // Every other call takes two bytes, and then the disk is full.
      if isFull {
        errno = ENOSPC
        return -1
      }
      isFull = true
      return write(descriptor, bytes, min(count, 2))
    }
    let file = try AppendedFile(path: path, isNew: false, calls: calls)
    let error = #expect(throws: ABNError.self) { try file.append("12345\n") }
    #expect(error?.description.contains("No space left on device") == true)
    #expect(error?.description.contains(path) == true)
    #expect(try String(contentsOfFile: path, encoding: .utf8) == "abc\n")
    isFull = false
    try file.append("x\n".prefix(2).description)
    #expect(try String(contentsOfFile: path, encoding: .utf8) == "abc\nx\n")
    #expect(throws: ABNError.self) { try AppendedFile(path: path, isNew: true) }
    #expect(throws: ABNError.self) { try AppendedFile(path: "/dev/full") }
  }
}
