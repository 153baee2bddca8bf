import ABNTensors
import Testing

@testable import ABNFormats

/// The element types that Paddle 1.8 has.
let paddleTypes = DType.allCases.filter { $0 != .bfloat16 }

@Suite("Paddle parameter files")
struct PaddleTests {
  let folder: TemporaryFolder

  init() throws { folder = try TemporaryFolder() }

  func source(_ bytes: [UInt8]) -> ByteSource {
    ByteSource(bytes, path: "x", kind: PaddleParameters.kind)
  }

  func read(_ bytes: [UInt8]) throws -> Tensor {
    try PaddleParameters.readVariable(source(bytes)).tensor
  }

  /// A record with this description in front of these elements.
  func record(_ description: [UInt8], _ elements: [UInt8] = [], size: Int32? = nil) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: 16)
    bytes.appendLittleEndian(size ?? Int32(description.count))
    return bytes + description + elements
  }

  @Test(arguments: paddleTypes)
  func comesBackUnchanged(dtype: DType) throws {
    let shapes: [Shape] = [
      [], [1], [7], [0], [300, 2], [3, 0, 2], [2, 1, 3, 5], [1, 1, 1, 1, 1, 2],
    ]
    for (i, shape) in shapes.enumerated() {
      let tensor = randomTensor(dtype, shape, seed: UInt64(i))
      let path = folder.file("\(i)")
      try PaddleParameters.writeVariable(tensor, to: path)
      #expect(try PaddleParameters.readVariable(path) == tensor)
    }
  }

  /// The bytes of the original for a float32 [4] and an int64 [147, 4], as its source lays them out.
  @Test func writesTheBytesOfTheOriginal() throws {
    let path = folder.file("w")
    try PaddleParameters.writeVariable(Tensor([1, -2, 0.5, 3] as [Float]), to: path)
    let head: [UInt8] =
      [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0] + [4, 0, 0, 0] + [8, 5, 0x10, 4]
    let elements: [UInt8] = [0, 0, 0x80, 0x3f, 0, 0, 0, 0xc0, 0, 0, 0, 0x3f, 0, 0, 0x40, 0x40]
    #expect(try contents(of: path) == head + elements)

    try PaddleParameters.writeVariable(randomTensor(.int64, [147, 4], seed: 2), to: path)
    let wide = try contents(of: path)
    #expect(wide[16..<20] == [7, 0, 0, 0])
    #expect(wide[20..<27] == [8, 3, 0x10, 0x93, 1, 0x10, 4])
    #expect(wide.count == 27 + 147 * 4 * 8)
  }

  @Test func keepsLevelsOfDetail() throws {
    let path = folder.file("lod")
    let tensor = randomTensor(.float64, [6, 2], seed: 8)
    let levels = [[0, 1, 3], [0, 2, 2, 6]]
    try PaddleParameters.writeVariable(tensor, levelsOfDetail: levels, to: path)
    let bytes = try contents(of: path)
    #expect(bytes[4..<20] == [2, 0, 0, 0, 0, 0, 0, 0, 24, 0, 0, 0, 0, 0, 0, 0])
    let back = try PaddleParameters.readVariableWithLevels(path)
    #expect(back.tensor == tensor)
    #expect(back.levelsOfDetail == levels)
    #expect(try PaddleParameters.readVariable(path) == tensor)
    for wrong in [[[]], [[0]], [[1, 6]], [[0, 5]], [[0, 4, 3, 6]], [[0, 2], [0, 6]]] as [[[Int]]] {
      let error = expectError(.attribute) {
        try PaddleParameters.writeVariable(tensor, levelsOfDetail: wrong, to: path)
      }
      #expect(error?.got.contains("level ") == true)
    }
    #expect(try contents(of: path) == bytes)
  }

  @Test func readsOtherSpellingsOfTheDescription() throws {
    let elements: [UInt8] = [1, 2, 3, 4, 5, 6]
    let tensor = Tensor(elements, shape: [2, 3])
    for description in [
      [8, 20, 0x10, 2, 0x10, 3], [0x10, 2, 8, 20, 0x10, 3], [8, 20, 0x12, 2, 2, 3],
      [8, 0x94, 0, 0x10, 0x82, 0x80, 0, 0x10, 3],
    ] as [[UInt8]] {
      #expect(try read(record(description, elements)) == tensor)
    }
  }

  @Test(
    arguments: [
      // No element type, twice, an unknown field, no dimension where one is announced.
      [0x10, 1], [8, 20, 8, 20], [8, 20, 0x18, 1], [8, 20, 0x10], [8], [],
      // Numbers that never end, are too long, are negative.
      [8, 20, 0x10, 0x80], [8, 20, 0x10] + [UInt8](repeating: 0xff, count: 9) + [2],
      [8, 20, 0x10] + [UInt8](repeating: 0x80, count: 12) + [1],
      [8, 20, 0x10] + [UInt8](repeating: 0xff, count: 9) + [1],
      // Products beyond the file and beyond 64 bits, also next to a dimension of 0.
      [8, 20, 0x10, 9], [8, 20, 0x10] + [UInt8](repeating: 0xff, count: 8) + [0x7f],
      [8, 20, 0x10, 0] + [0x10, 0x80, 0x80, 0x80, 0x80, 0x80, 1]
        + [0x10, 0x80, 0x80, 0x80, 0x80, 0x80, 1],
      // A packed field that leaves the description, and one that cuts a number.
      [8, 20, 0x12, 9, 1], [8, 20, 0x12, 1, 0x80, 1],
    ] as [[UInt8]])
  func refusesOtherDescriptions(description: [UInt8]) throws {
    let error = expectError(.file) { _ = try read(record(description, [1, 2, 3, 4])) }
    #expect(error?.location?.hasPrefix("byte ") == true)
    #expect(error?.what.contains("\"x\"") == true)
  }

  @Test(arguments: [1, 7, 19, 22, 1000] as [UInt64])
  func refusesOtherTypes(code: UInt64) {
    var description: [UInt8] = [8]
    description.appendVarint(code)
    let error = expectError(.unsupported) { _ = try read(record(description, [1, 2])) }
    #expect(error?.location == "byte 21")
    #expect(error?.got.contains("\(code)") == true)
  }

  @Test func refusesSizesWithoutAllocatingThem() throws {
    let whole = record([8, 20, 0x10, 1], [1])
    #expect(try read(whole) == Tensor([1] as [UInt8]))
    for size in [-1, .min, .max, 1025, 6] as [Int32] {
      expectError(.file) { _ = try read(record([8, 20, 0x10, 1], [1], size: size)) }
    }
    for (place, at) in [(0, 0), (12, 12)] {
      var copy = whole
      copy[place] = 1
      let error = expectError(.file) { _ = try read(copy) }
      #expect(error?.location == "byte \(at)")
      #expect(error?.got.contains("version 1") == true)
    }
    // Levels of detail: too many, of an absurd size, empty, of half an offset.
    for levels in [
      [UInt64.max], [1 << 40], [1, .max], [1, 1 << 62], [1, 0], [1, 12], [1, 8, .max],
    ] {
      var bytes = [UInt8](repeating: 0, count: 4)
      for number in levels { bytes.appendLittleEndian(number) }
      expectError(.file) { _ = try read(bytes + whole.dropFirst(12)) }
    }
    let error = expectError(.file) { _ = try read(whole + [0]) }
    #expect(error?.location == "byte \(whole.count)")
    #expect(error?.fix.contains("readCombined") == true)
    let boolean = expectError(.data) { _ = try read(record([8, 0, 0x10, 3], [1, 0, 2])) }
    #expect(boolean?.location == "byte 26")
  }

  @Test func survivesDamage() throws {
    let path = folder.file("d")
    try PaddleParameters.writeVariable(
      randomTensor(.float32, [3, 2], seed: 3), levelsOfDetail: [[0, 1, 3]], to: path)
    let bytes = try contents(of: path)
    let refusals = countRefusals(of: bytes) { _ = try read($0) }
    #expect(refusals.truncated == bytes.count)
    #expect(refusals.untyped.isEmpty)
    // All but a flip in the middle offset or the elements are found.
    #expect(refusals.flipped >= 3 * (bytes.count - 24 - 8))
  }

  @Test func combinesInTheOrderOfTheNames() throws {
    // Swift and UTF-16 order these otherwise: code points do not.
    let names = ["b", "a", "a_1", "a.w", "Z", "\u{ff5e}", "\u{1f600}", "folder/x"]
    let inOrder = ["Z", "a", "a.w", "a_1", "b", "folder/x", "\u{ff5e}", "\u{1f600}"]
    var tensors: [String: Tensor] = [:]
    for (i, name) in names.enumerated() {
      tensors[name] = randomTensor(paddleTypes[i], [i + 1, 2], seed: UInt64(i))
    }
    let path = folder.file("sub/folder/all")
    try PaddleParameters.writeCombined(tensors, to: path)
    var records: [UInt8] = []
    for name in inOrder {
      try PaddleParameters.writeVariable(tensors[name]!, to: folder.file("one"))
      records += try contents(of: folder.file("one"))
    }
    #expect(try contents(of: path) == records)
    #expect(try PaddleParameters.readCombined(path, names: names.shuffled()) == tensors)

    let less = expectError(.file) {
      _ = try PaddleParameters.readCombined(path, names: Array(inOrder.dropLast()))
    }
    #expect(less?.got.contains("after 7 variables") == true)
    let more = expectError(.file) {
      _ = try PaddleParameters.readCombined(path, names: names + ["\u{1f601}"])
    }
    #expect(more?.location == "byte \(records.count)")
    #expect(more?.wanted.contains("\u{1f601}") == true)
    expectError(.name) { _ = try PaddleParameters.readCombined(path, names: names + ["a"]) }
    let refusals = countRefusals(of: records, flips: []) {
      _ = try PaddleParameters.readCombined(source($0), names: names)
    }
    #expect(refusals.truncated == records.count)
  }

  @Test func writesAFolderWithFolders() throws {
    let tensors = [
      "fc.w": randomTensor(.float32, [3, 4], seed: 1),
      "net/fc.w": randomTensor(.int64, [2], seed: 2),
      "net/block/b": randomTensor(.float16, [5], seed: 3), ".b": randomTensor(.int8, [1], seed: 4),
    ]
    let path = folder.file("new/params")
    try PaddleParameters.writeDirectory(tensors, to: path)
    #expect(try PaddleParameters.readDirectory(path) == tensors)
    // A program and what a killed process leaves are no variables.
    try AtomicFile.write("program", to: path + "/__model__")
    try AtomicFile.write("half", to: path + "/net/.abn-12.tmp")
    #expect(try PaddleParameters.readDirectory(path) == tensors)
    try AtomicFile.write("something else", to: path + "/notes")
    let error = expectError(.file) { _ = try PaddleParameters.readDirectory(path) }
    #expect(error?.what.contains("notes") == true)
    #expect(
      try PaddleParameters.readDirectory(path, names: ["net/fc.w"])
        == ["net/fc.w": tensors["net/fc.w"]!])
    let absent = expectError(.file) {
      _ = try PaddleParameters.readDirectory(path, names: ["fc.b"])
    }
    #expect(absent?.what.contains("fc.b") == true)
    expectError(.file) { _ = try PaddleParameters.readDirectory(path + "/absent") }
    expectError(.file) { _ = try PaddleParameters.readDirectory(path + "/fc.w") }
  }

  @Test(arguments: ["../x", "a/../../x", "/x", "", "a//b", "a/", ".", "a\0b"])
  func keepsInsideTheFolder(name: String) throws {
    let path = folder.file("inside")
    expectError(.name) {
      try PaddleParameters.writeDirectory([name: Tensor([1] as [Float])], to: path)
    }
    expectError(.name) { _ = try PaddleParameters.readDirectory(path, names: [name]) }
    #expect(try folder.contents == [])
  }

  @Test func writesNothingWhereOneCannotBeWritten() throws {
    let good = Tensor([1] as [Float])
    let path = folder.file("none")
    expectError(.name) {
      try PaddleParameters.writeDirectory(["a": good, "a/b/c": good], to: path)
    }
    let mixed = ["a": good, "b": randomTensor(.bfloat16, [2], seed: 1)]
    let error = expectError(.unsupported) { try PaddleParameters.writeDirectory(mixed, to: path) }
    #expect(error?.what.contains("\"b\"") == true)
    #expect(error?.got.contains("bfloat16") == true)
    expectError(.unsupported) { try PaddleParameters.writeCombined(mixed, to: path) }
    expectError(.unsupported) {
      let deep = Shape([Int](repeating: 1, count: 600))
      try PaddleParameters.writeVariable(randomTensor(.int8, deep, seed: 1), to: path)
    }
    #expect(try folder.contents == [])
    try AtomicFile.write("", to: path)
    expectError(.file) { try PaddleParameters.writeDirectory(["a": good], to: path) }
  }
}
