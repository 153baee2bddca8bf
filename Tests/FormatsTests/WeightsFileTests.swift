import ABNTensors
import ABNTestSupport
import Foundation
import Testing

@testable import ABNFormats

/// Weights in every format by their contents, among whatever Python programs save beside them.
@Suite("Files of weights")
struct WeightsFileTests {
  typealias Bytes = [UInt8]
  typealias Value = TorchFile.Value

  static func open(_ bytes: Bytes) throws -> WeightsFile {
    try WeightsFile(ByteSource(bytes, path: "w.pth", kind: "weights"))
  }

  static func readAll(_ bytes: Bytes) throws -> [String: Tensor] {
    let file = try open(bytes)
    return try file.read(file.names)
  }

  static let a = randomTensor(.float32, [3, 2], seed: 1)
  static let b = randomTensor(.float16, [2, 1, 2], seed: 2)

  /// A checkpoint with everything that stands in nobody's way.
  static let checkpoint = Value.dictionary([
    ("epoch", .integer(3)), ("best", .float(0.5)), ("arch", .text("net")), ("none", .none),
    (
      "state_dict",
      .ordered([
        ("module.a", .tensor(a, storage: "FloatStorage")),
        ("module.b", .tensor(b, storage: "HalfStorage")),
      ])
    ),
    (
      "optimizer",
      .dictionary([
        (
          "state",
          .numbered([
            (0, .dictionary([("step", .integer(7)), ("m", .tensor(a, storage: "FloatStorage"))]))
          ])
        ),
        (
          "param_groups",
          .list([.dictionary([("lr", .float(0.1)), ("params", .list([.integer(0)]))])])
        ),
      ])
    ),
    (
      "args", .object("argparse.Namespace", [("lr", .float(0.1)), ("gpus", .tuple([.integer(0)]))])
    ),
    ("complex", .tensor(randomTensor(.float32, [4], seed: 4), storage: "ComplexFloatStorage")),
  ])

  /// A damaged entry is refused each time that it is read, also after a first error.
  @Test func aDamagedEntryStaysDamaged() throws {
    let numbers: [Float] = [1234.5, 6.25, -7.75]
    let tensor = Tensor(numbers, shape: [3])
    var bytes = TorchFile.zip(.dictionary([("x", .tensor(tensor, storage: "FloatStorage"))]))
    let pattern = tensor.withUnsafeBytes { Array($0) }
    let place = try #require(
      (0..<bytes.count - pattern.count).first {
        bytes[$0..<$0 + pattern.count].elementsEqual(pattern)
      })
    #expect(try Self.readAll(bytes)["x"] == tensor)
    bytes[place + 5] ^= 0x40
    let file = try Self.open(bytes)
    for _ in 0..<3 { expectError(.file) { _ = try file.read(["x"]) } }
  }

  /// Tensors that share a storage of which each reads all: what is copied in all is bounded by the
  /// file.
  @Test(arguments: [true, false]) func manyReadsOfOneStorage(isZip: Bool) throws {
    let tensor = randomTensor(.float32, [4096], seed: 3)
    let view = Value.strided(
      tensor, storage: "FloatStorage", shape: [2], strides: [4095], first: 0)
    let root = Value.dictionary([("x", view)])
    let bytes: Bytes = isZip ? TorchFile.zip(root) : TorchFile.legacy(root)
    let file = try Self.open(bytes)
    #expect(try file.read(["x"])["x"]?.elementCount == 2)
    let most = 64 * (bytes.count + 1 << 10) / (4 * 4096)
    expectError(.unsupported) { for _ in 0...most { _ = try file.read(["x"]) } }
  }

  /// The same without the complex numbers: an older file says how many elements there are, and the
  /// writer has none of that type.
  static let legacyCheckpoint: Value = {
    guard case .dictionary(let entries) = checkpoint else { return checkpoint }
    return .dictionary(entries.dropLast())
  }()

  static let layouts: [(String, WeightsFile.Format, @Sendable (Value) -> Bytes)] = [
    ("zip", .torch, { TorchFile.zip($0) }), ("legacy", .torchLegacy, { TorchFile.legacy($0) }),
  ]

  @Test(arguments: 0..<2) func checkpoints(layout: Int) throws {
    let (_, format, write) = Self.layouts[layout]
    let root = layout == 0 ? Self.checkpoint : Self.legacyCheckpoint
    let file = try Self.open(write(root))
    #expect(file.format == format)
    let names = [
      "state_dict.module.a", "state_dict.module.b", "optimizer.state.0.m",
    ]
    #expect(file.names == names + (layout == 0 ? ["complex"] : []))
    let tensors = try file.read(names)
    #expect(
      tensors[names[0]] == Self.a && tensors[names[1]] == Self.b && tensors[names[2]] == Self.a)
    if layout == 0 {
      let error = expectError(.unsupported) { _ = try file.read(["complex"]) }
      #expect(error?.got.contains("complex64") == true)
    }
  }

  /// Every type of PyTorch that has one here, or one that holds its values.
  @Test(arguments: 0..<2) func types(layout: Int) throws {
    let short = Tensor([1, 255, 0, 128] as [UInt8])
    let cases: [(Value, Tensor)] =
      [
        (.float32, "FloatStorage"), (.float64, "DoubleStorage"), (.float16, "HalfStorage"),
        (.bfloat16, "BFloat16Storage"), (.int64, "LongStorage"), (.int32, "IntStorage"),
        (.int8, "CharStorage"), (.uint8, "ByteStorage"), (.bool, "BoolStorage"),
      ].map { type, storage in
        let tensor = randomTensor(type, [3, 5], seed: 8)
        return (.tensor(tensor, storage: storage), tensor)
      }
    for (value, tensor) in cases {
      let bytes = Self.layouts[layout].2(.dictionary([("x", value)]))
      #expect(try Self.readAll(bytes) == ["x": tensor])
    }
    // Two bytes a number: a storage of half as many.
    if layout == 0 {
      let value = Value.strided(short, storage: "ShortStorage", shape: [2], strides: [1], first: 0)
      #expect(
        try Self.readAll(TorchFile.zip(.dictionary([("x", value)])))
          == ["x": Tensor([-255, -32768] as [Int32])])
    }
  }

  /// Tensors in other orders than row-major, and parts of a storage.
  @Test(arguments: 0..<2) func strides(layout: Int) throws {
    let whole = Tensor((0..<24).map { Float($0) }, shape: [24])
    func read(_ shape: [Int], _ strides: [Int], _ first: Int) throws -> Tensor? {
      let value = Value.strided(
        whole, storage: "FloatStorage", shape: shape, strides: strides, first: first)
      return try Self.readAll(Self.layouts[layout].2(.ordered([("x", value)])))["x"]
    }
    func wanted(_ shape: [Int], _ values: [Int]) -> Tensor {
      Tensor(values.map { Float($0) }, shape: Shape(shape))
    }
    #expect(try read([2, 3], [3, 1], 4) == wanted([2, 3], [4, 5, 6, 7, 8, 9]))
    #expect(try read([2, 3], [1, 2], 0) == wanted([2, 3], [0, 2, 4, 1, 3, 5]))
    // Channels last: [1, 2, 3, 4] stored as [1, 3, 4, 2].
    #expect(
      try read([1, 2, 3, 4], [24, 1, 8, 2], 0)
        == wanted([1, 2, 3, 4], (0..<2).flatMap { c in (0..<12).map { 2 * $0 + c } }))
    #expect(try read([3], [0], 5) == wanted([3], [5, 5, 5]))
    #expect(try read([], [], 7) == wanted([], [7]))
    #expect(try read([0, 3], [3, 1], 24) == wanted([0, 3], []))
    for (shape, strides, first) in [
      ([25], [1], 0), ([2], [24], 0), ([1], [1], 24), ([2], [.max], 1),
    ] {
      expectError(.file) { _ = try read(shape, strides, first) }
    }
  }

  /// A network that was saved whole has the names of its state; its classes are never looked for.
  @Test func wholeModules() throws {
    func module(_ name: String, _ children: [(String, Value)], _ own: [(String, Value)] = [])
      -> Value
    {
      .object(
        name,
        [
          ("training", .integer(1)), ("_parameters", .ordered(own)),
          ("_modules", .ordered(children)),
        ])
    }
    let conv = module(
      "torch.nn.modules.conv.Conv2d", [], [("weight", .tensor(Self.a, storage: "FloatStorage"))])
    let bytes = TorchFile.zip(module("__main__.Net", [("conv1", conv)]))
    #expect(try Self.readAll(bytes) == ["conv1.weight": Self.a])
  }

  /// Paddle's ways to save a tensor, at any depth, and arrays that are none.
  @Test func nestedArrays() throws {
    let p = PickleTests()
    func array(_ type: String) -> Bytes { p.array([2], p.dtype(type), p.encoded(p.vector)) }
    let call = { (name: String, items: [Bytes]) in p.call(p.global("__builtin__", name), items) }
    let bytes = p.pickle(
      p.dictionary([
        ("epoch", p.integer(3)),
        ("model", p.dictionary([("fc.weight", array("f4")), ("note", p.text("x"))])),
        ("named", call("tuple", [p.tuple([p.text("linear_0.w_0"), array("f4")])])),
        ("data", call("eval", [p.text("data"), p.dictionary([("data", array("f4"))])])),
        ("complex", array("c8")), ("short", p.array([3], p.dtype("f4"), p.encoded(p.vector))),
      ]))
    let file = try Self.open(bytes)
    #expect(file.format == .pickle)
    #expect(file.names == ["model.fc.weight", "named", "data", "complex", "short"])
    let wanted = Tensor([1, -2] as [Float])
    #expect(
      try file.read(["model.fc.weight", "named", "data"])
        == ["model.fc.weight": wanted, "named": wanted, "data": wanted])
    expectError(.unsupported) { _ = try file.read(["complex"]) }
    expectError(.file) { _ = try file.read(["short"]) }
    // The public reader of dictionaries of arrays takes none of this.
    expectError(.unsupported) {
      _ = try PaddleParameters.readPickle(ByteSource(bytes, path: "x", kind: "pickle"))
    }
  }

  /// `os.system("...")`: an object without a meaning, and nothing is called.
  @Test func nothingIsExecuted() throws {
    let call = Array("cposix\nsystem\n(X\u{14}\0\0\0touch abn-was-here.xtR".utf8)
    var bytes: Bytes = [0x80, 2] + Array("}(X\u{1}\0\0\0x".utf8)
    bytes += call + Array("u.".utf8)
    #expect(try Self.open(bytes).names.isEmpty)
    #expect(!FileManager.default.fileExists(atPath: "abn-was-here.x"))
    expectError(.unsupported) {
      _ = try PaddleParameters.readPickle(ByteSource(bytes, path: "x", kind: "pickle"))
    }
  }

  /// The formats that existed before, by their contents.
  @Test func otherFormats() throws {
    let folder = try TemporaryFolder()
    let tensors = ["a": Self.a, "c": randomTensor(.int64, [4], seed: 3)]
    try Safetensors.write(tensors, metadata: ["k": "v"], to: folder.file("x.pth"))
    let safetensors = try WeightsFile(path: folder.file("x.pth"))
    #expect(safetensors.format == .safetensors && safetensors.metadata == ["k": "v"])
    #expect(try safetensors.read(["a", "c"]) == tensors)
    #expect(try safetensors.read(["c"]) == ["c": tensors["c"]!])
    try NPZ.write(tensors, to: folder.file("x"))
    let npz = try WeightsFile(path: folder.file("x"))
    #expect(npz.format == .npz && npz.names == ["a", "c"])
    #expect(try npz.read(["a"]) == ["a": Self.a])
    for version in 2...5 {
      let bytes = try PickleProtocolTests.bytes(version)
      let file = try Self.open(bytes)
      #expect(file.format == .pickle)
      #expect(try file.read(file.names) == PickleProtocolTests.expected)
    }
  }

  @Test func filesThatAreNone() throws {
    for (bytes, says) in [
      ([], "empty"), (Array("version https://git-lfs.github.com/spec/v1\n".utf8), "git lfs pull"),
      (Array("\n<!DOCTYPE html><html>".utf8), "web page"), ([0x89] + Array("HDF\r\n".utf8), "HDF5"),
      ([0x1f, 0x8b, 8, 0], "gunzip"), (Array("hello, world".utf8), "safetensors"),
      (Bytes(repeating: 0, count: 40), "loadParams"),
      (Bytes(repeating: 0x20, count: 257) + Array("ustar".utf8), "tar"),
    ] as [(Bytes, String)] {
      let error = expectError(.file) { _ = try Self.open(bytes) }
      #expect(error?.description.contains(says) == true, "\(String(describing: error))")
      #expect(error?.description.contains("w.pth") == true)
    }
    let folder = try TemporaryFolder()
    try Data(TorchFile.zip(.none).prefix(80)).write(to: URL(filePath: folder.file("cut")))
    expectError(.file) { _ = try WeightsFile(path: folder.file("cut")) }
  }

  /// One list in another, a hundred thousand times; one dictionary under many names; names that double.
  @Test func bombs() throws {
    let deep =
      [0x80, 2] + Bytes(repeating: UInt8(ascii: "]"), count: 100_000)
      + Bytes(repeating: UInt8(ascii: "a"), count: 99_999) + [0x2e]
    expectError(.file) { _ = try Self.open(deep) }
    // 24 dictionaries, each twice in the next: 2^24 paths.
    var body: Bytes = Array("}q\0X\u{1}\0\0\0v".utf8) + Array("K\u{1}s".utf8)
    for level in 1...24 {
      body += Array("}(X\u{1}\0\0\0a".utf8) + [UInt8(ascii: "h"), UInt8(level - 1)]
      body += Array("X\u{1}\0\0\0b".utf8) + [UInt8(ascii: "h"), UInt8(level - 1)]
      body += Array("u".utf8) + [UInt8(ascii: "q"), UInt8(level)]
    }
    #expect(try Self.open([0x80, 2] + body + [0x2e]).names.isEmpty)
    // A dictionary that is in itself.
    #expect(try Self.open([0x80, 2] + Array("}q\0X\u{1}\0\0\0ah\0s.".utf8)).names.isEmpty)
    // A tensor of no stride that asks for more than the file could hold.
    let value = Value.strided(
      Self.a, storage: "FloatStorage", shape: [1 << 30], strides: [0], first: 0)
    expectError(.file) { _ = try Self.readAll(TorchFile.zip(.dictionary([("x", value)]))) }
  }

  /// Opcodes of a byte or two that make lists, dictionaries and tuples: how many depends on the file.
  @Test(arguments: ["]", "}", "]0", "}0", "N\u{85}0"]) func fewContainers(unit: String) throws {
    let part = unit.unicodeScalars.map { UInt8($0.value) }
    let body = [Bytes](repeating: part, count: 100_000).joined()
    let source = ByteSource([0x80, 2] + body + [0x4e, 0x2e], path: "x", kind: "weights")
    var reader = try PickleReader(source, dialect: .checkpoint)
    expectError(.file) { _ = try reader.readCheckpoint() }
    #expect(reader.containers.count <= 257 + source.byteCount / 4)
    #expect(reader.stack.count <= reader.mostStack + 1)
  }

  /// Cut off at every length, and every byte flipped: read or refused with a typed error.
  @Test(arguments: 0..<2) func survivesDamage(layout: Int) throws {
    let bytes = Self.layouts[layout].2(
      .dictionary([
        ("epoch", .integer(1)), ("state_dict", TorchFile.state(["a": Self.a], prefix: "module.")),
      ]))
    #expect(try Self.readAll(bytes).count == 1)
    let refusals = countRefusals(of: bytes) { _ = try Self.readAll($0) }
    #expect(refusals.truncated == bytes.count)
    #expect(refusals.untyped.isEmpty)
    #expect(refusals.flipped > bytes.count / 4)
  }

  /// What the original saved, as its own reader has it.
  @Test(arguments: SharedFolder.files(in: "oracle/paddle-files", suffix: "model.pdparams"))
  func savedByTheOriginal(path: String) throws {
    let file = try WeightsFile(path: path)
    #expect(file.format == .pickle)
    #expect(try file.read(file.names) == PaddleParameters.readPickle(path))
  }

  /// Published weights that a stranger made: 97 tensors of a ResNet-20.
  @Test(arguments: SharedFolder.files(in: "data/weights", suffix: "resnet20-cifar10.th"))
  func publishedWeights(path: String) throws {
    let file = try WeightsFile(path: path)
    #expect(file.format == .torchLegacy && file.names.count == 97)
    let first = try file.read([file.names[0]])
    #expect(file.names[0] == "state_dict.module.conv1.weight")
    #expect(first[file.names[0]]?.shape == [16, 3, 3, 3])
    let sum = try file.read(file.names).values.reduce(0) { $0 + $1.elementCount }
    // 269,722 trained numbers, and mean and variance of 688 channels.
    #expect(sum == 269_722 + 2 * 688)
  }
}
