import ABNFormats
import ABNTensors
import CZlib
import Foundation

// libFuzzer's program: the reader of weights of every format, on bytes that it makes. `scripts/fuzz weights`
// builds it with the address sanitizer and runs it.

/// libFuzzer's loop: it calls the function with each input.
@_silgen_name("LLVMFuzzerRunDriver")
private func runFuzzer(
  _ count: UnsafeMutablePointer<Int32>,
  _ words: UnsafeMutablePointer<UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>>,
  _ testOneInput: @convention(c) (UnsafePointer<UInt8>?, Int) -> Int32
) -> Int32

if let folder = ProcessInfo.processInfo.environment["ABN_FUZZ_SEEDS"] { try writeSeeds(folder) }
var count = CommandLine.argc
var words = CommandLine.unsafeArgv
exit(
  runFuzzer(&count, &words) { start, count in
    let bytes = Array(UnsafeBufferPointer(start: start, count: count))
    read(bytes)
    // A zip file ends at the first wrong checksum: behind it is looked with all of them right.
    if bytes.starts(with: [0x50, 0x4b]) { read(withRightChecksums(bytes)) }
    return 0
  })

/// The first files, one of each format.
private func writeSeeds(_ folder: String) throws {
  let tensors = [
    "conv1.weight": Tensor((0..<54).map { Float($0) }, shape: [2, 3, 3, 3]),
    "bn1.num_batches_tracked": Tensor(scalar: 3 as Int64),
  ]
  try Safetensors.write(tensors, metadata: ["model": "x"], to: "\(folder)/safetensors")
  try NPZ.write(tensors, to: "\(folder)/npz")
  let checkpoint = TorchFile.Value.dictionary([
    ("epoch", .integer(3)), ("best", .float(0.5)),
    ("state_dict", TorchFile.state(["conv1.weight": tensors["conv1.weight"]!], prefix: "module.")),
    (
      "optimizer", .dictionary([("state", .numbered([(0, .list([.none, .tuple([.text("x")])]))]))])
    ),
    ("args", .object("argparse.Namespace", [("lr", .float(0.1))])),
    (
      "last",
      .strided(
        tensors["conv1.weight"]!, storage: "FloatStorage", shape: [3, 2], strides: [1, 3], first: 4)
    ),
  ])
  for (name, bytes) in [
    ("torch", TorchFile.zip(checkpoint)), ("torch-legacy", TorchFile.legacy(checkpoint)),
    ("pickle", arrays()),
  ] {
    try Data(bytes).write(to: URL(filePath: "\(folder)/\(name)"))
  }
}

/// One input: it is opened, and every tensor in it is read.
private func read(_ bytes: [UInt8]) {
  var limits = ReadLimits()
  limits.mostBytes = 1 << 26
  let source = ByteSource(bytes, path: "x", kind: "weights", limits: limits)
  do {
    let file = try WeightsFile(source)
    for name in file.names.prefix(64) {
      do {
        let tensor = try file.read([name])[name]
        precondition(tensor != nil)
      } catch { check(error) }
    }
  } catch { check(error) }
}

/// Whatever is wrong with a file is said in one line of bounded length.
private func check(_ error: any Error) {
  guard let error = error as? ABNError else { preconditionFailure("\(error)") }
  precondition(error.description.utf8.count < 1 << 14)
}

/// A zip file's stored entries with the checksums that they should have.
private func withRightChecksums(_ bytes: [UInt8]) -> [UInt8] {
  var bytes = bytes
  func number(_ place: Int, _ size: Int) -> Int {
    bytes[place..<place + size].reversed().reduce(0) { $0 << 8 | Int($1) }
  }
  var place = 0
  while place + 46 <= bytes.count {
    defer { place += 1 }
    guard bytes[place] == 0x50, number(place, 4) == 0x0201_4b50 else { continue }
    let (size, header) = (number(place + 20, 4), number(place + 42, 4))
    guard header + 30 <= bytes.count else { continue }
    let first = header + 30 + number(header + 26, 2) + number(header + 28, 2)
    guard first <= bytes.count, size <= bytes.count - first else { continue }
    let sum = bytes[first..<first + size].withUnsafeBufferPointer {
      crc32(0, $0.baseAddress, uInt($0.count))
    }
    for i in 0..<4 { bytes[place + 16 + i] = UInt8(truncatingIfNeeded: sum >> (8 * UInt(i))) }
  }
  return bytes
}

/// `{"w": array([1, -2], dtype=float32)}` by numpy 1, with protocol 2.
private func arrays() -> [UInt8] {
  func text(_ text: String) -> [UInt8] {
    [0x58, UInt8(text.utf8.count), 0, 0, 0] + Array(text.utf8)
  }
  let type =
    Array("cnumpy\ndtype\n(".utf8) + text("f4") + [0x89, 0x88] + Array("tR(K\u{3}".utf8) + text("<")
    + Array("NNNJ".utf8) + [0xff, 0xff, 0xff, 0xff, 0x4a, 0xff, 0xff, 0xff, 0xff]
    + Array("K\0tb".utf8)
  let array =
    Array("cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\0t".utf8) + [0x55, 1, 0x62]
    + Array("tR(K\u{1}(K\u{2}t".utf8) + type + [0x89, 0x55, 8, 0, 0, 0x80, 0x3f, 0, 0, 0, 0xc0]
    + Array("tb".utf8)
  return [0x80, 2] + Array("}(".utf8) + text("w") + array + Array("u.".utf8)
}
