import ABNInspection
import ABNTensors
import Testing

@Suite struct AutomaticBatchSizeTests {
  @Test(arguments: [2, 3, 7, 8, 9, 100, 128, 129, 5000]) func largestThatFits(_ fitting: Int) throws
  {
    var asked: [Int] = []
    let found = try AutomaticBatchSize.largest(budget: 1000 + 10 * fitting, images: 20_000) {
      asked.append($0)
      return 1000 + 10 * $0
    }
    #expect(found == fitting)
    #expect(asked.count <= 2 * 13 + 2 && Set(asked).count == asked.count)
  }

  @Test(arguments: [2, 3, 5, 64, 100]) func noMoreThanThereAre(_ images: Int) throws {
    let found = try AutomaticBatchSize.largest(budget: 1 << 40, images: images) {
      #expect($0 <= images)
      return 1000 * $0
    }
    #expect(found == images)
  }

  @Test func refusals() {
    let small = #expect(throws: ABNError.self) {
      try AutomaticBatchSize.largest(budget: 1 << 20, images: 100) { $0 << 20 }
    }
    #expect(small?.category == .system)
    #expect(small?.description.contains("got 1.0 MiB, wanted at least the 2.0 MiB") == true)
    let few = #expect(throws: ABNError.self) {
      try AutomaticBatchSize.largest(budget: 1 << 20, images: 1) { $0 }
    }
    #expect(few?.category == .data)
  }

  @Test func byteCounts() throws {
    let cases: [(String, Int)] = [
      ("4096", 4096), ("0", 0), ("2GiB", 2 << 30), ("2 gib", 2 << 30), ("800MB", 800_000_000),
      ("1.5KiB", 1536), ("1.5 kb", 1500), ("0.5TiB", 1 << 39), ("3TB", 3_000_000_000_000),
      ("7B", 7), ("0.3B", 0),
    ]
    for (text, bytes) in cases { #expect(try ByteCount.parse(text, "budget") == bytes, "\(text)") }
    for text in ["", "GiB", "-1", "nan", "1e3", "1.2.3", "9999999TB", "0x10"] {
      let error = #expect(throws: ABNError.self) { try ByteCount.parse(text, "budget") }
      #expect(error?.description.contains("budget") == true, "\(text)")
    }
    let unit = #expect(throws: ABNError.self) { try ByteCount.parse("2GiBs", "budget") }
    #expect(unit?.description.contains("Did you mean \"GiB\"?") == true)
  }
}
