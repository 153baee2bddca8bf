import ABNTensors
import Testing

@testable import ABNFormats

/// The element types that numpy has.
let numpyTypes = DType.allCases.filter { $0 != .bfloat16 }

@Suite("npy")
struct NPYTests {
  let folder: TemporaryFolder

  init() throws { folder = try TemporaryFolder() }

  /// An npy file of version 1 with this header and these bytes of elements.
  func file(_ header: String, _ elements: [UInt8], version: UInt8 = 1) -> [UInt8] {
    var bytes: [UInt8] = [0x93] + Array("NUMPY".utf8) + [version, 0]
    if version == 1 {
      bytes.appendLittleEndian(UInt16(header.utf8.count))
    } else {
      bytes.appendLittleEndian(UInt32(header.utf8.count))
    }
    return bytes + Array(header.utf8) + elements
  }

  func read(_ bytes: [UInt8]) throws -> Tensor {
    try NPY.read(ByteSource(bytes, path: "x.npy", kind: "npy"))
  }

  @Test(arguments: numpyTypes)
  func comesBackUnchanged(dtype: DType) throws {
    let shapes: [Shape] = [
      [], [1], [7], [0], [2, 3], [3, 0, 2], [2, 1, 3, 5], [1, 1, 1, 1, 1, 2],
    ]
    for (i, shape) in shapes.enumerated() {
      let tensor = randomTensor(dtype, shape, seed: UInt64(i))
      let path = folder.file("\(i).npy")
      try NPY.write(tensor, to: path)
      #expect(try NPY.read(path) == tensor)
      #expect(try contents(of: path).count % 64 == tensor.bytes % 64)
    }
  }

  /// Bytes of `numpy.save` (numpy 2.4): int32 [[1, -2], [300, 70000]].
  @Test func readsAndWritesTheBytesOfNumpy() throws {
    var header = "{'descr': '<i4', 'fortran_order': False, 'shape': (2, 2), }"
    header += String(repeating: " ", count: 118 - header.utf8.count - 1) + "\n"
    let elements: [UInt8] = [1, 0, 0, 0, 0xfe, 0xff, 0xff, 0xff, 0x2c, 1, 0, 0, 0x70, 0x11, 1, 0]
    let tensor = Tensor([1, -2, 300, 70000] as [Int32], shape: [2, 2])
    #expect(try read(file(header, elements)) == tensor)
    try NPY.write(tensor, to: folder.file("a.npy"))
    let written = try contents(of: folder.file("a.npy"))
    #expect(written.suffix(16) == elements[...])
    #expect(written[8...9] == [118, 0])
    #expect(String(decoding: written[10..<128], as: UTF8.self) == header)
  }

  @Test func readsOtherSpellingsOfTheHeader() throws {
    let tensor = Tensor([2.5, -1] as [Float], shape: [2])
    let bytes = tensor.withUnsafeBytes(Array.init)
    for header in [
      "{'descr': '<f4', 'fortran_order': False, 'shape': (2,)}",
      "{\"shape\":(2,),\"descr\":\"<f4\",\"fortran_order\":False}\n",
      "  { 'shape' : ( 2L , ) , 'fortran_order' : True , 'descr' : '=f4' , }  \n",
    ] {
      for version in [1, 2, 3] as [UInt8] {
        #expect(try read(file(header, bytes, version: version)) == tensor)
      }
    }
  }

  @Test func turnsBigEndianElements() throws {
    let shape = "'fortran_order': False, 'shape': (2,)"
    #expect(
      try read(file("{'descr': '>i4', \(shape)}", [0, 0, 1, 2, 0xff, 0xff, 0xff, 0xfd]))
        == Tensor([258, -3] as [Int32]))
    #expect(
      try read(file("{'descr': '>f2', \(shape)}", [0x3c, 0, 0xc0, 0]))
        == Tensor([1, -2] as [Float16])
    )
    #expect(
      try read(
        file(
          "{'descr': '>f8', \(shape)}",
          [0x3f, 0xf0] + [0, 0, 0, 0, 0, 0, 0xc0] + [0, 0, 0, 0, 0, 0, 0]))
        == Tensor([1, -2] as [Double]))
  }

  @Test(arguments: numpyTypes)
  func transposesFortranOrder(dtype: DType) throws {
    let tensor = randomTensor(dtype, [2, 3, 4], seed: 5)
    let size = dtype.bytes
    let from = tensor.withUnsafeBytes(Array.init)
    var columns: [UInt8] = []
    for k in 0..<4 {
      for j in 0..<3 {
        for i in 0..<2 {
          let place = ((i * 3 + j) * 4 + k) * size
          columns += from[place..<place + size]
        }
      }
    }
    let descriptor = NPYHeader.descriptor(of: dtype)!
    let header = "{'descr': '\(descriptor)', 'fortran_order': True, 'shape': (2, 3, 4)}"
    #expect(try read(file(header, columns)) == tensor)
  }

  @Test func refusesBFloat16() throws {
    let tensor = randomTensor(.bfloat16, [3], seed: 1)
    let error = expectError(.unsupported) { try NPY.write(tensor, to: folder.file("b.npy")) }
    #expect(error!.got.contains("bfloat16"))
    #expect(try folder.contents == [])
  }

  @Test(arguments: [
    ("{'descr': '<c8', 'fortran_order': False, 'shape': (1,)}", ABNError.Category.unsupported),
    ("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}", .unsupported),
    ("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,)}", .unsupported),
    ("{'descr': '<u2', 'fortran_order': False, 'shape': (4,)}", .unsupported),
    ("{'descr': '<f4', 'fortran_order': False, 'shape': (3,)}", .file),
    ("{'descr': '<f4', 'fortran_order': False, 'shape': (1,)}", .file),
    ("{'descr': '<f4', 'fortran_order': False, 'shape': (-2,)}", .file),
    ("{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387904, 4)}", .file),
    ("{'descr': '<f4', 'fortran_order': False, 'shape': (0, 9223372036854775807, 3)}", .file),
    ("{'descr': '<f4', 'fortran_order': False, 'shape': (92233720368547758070,)}", .file),
    ("{'descr': '<f4', 'fortran_order': False}", .file),
    ("{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (2,)}", .file),
    ("{'descr': '<f4', 'fortran_order': 0, 'shape': (2,)}", .file),
    ("{'descr': '<f4', 'fortran_order': False, 'shape': (2,), 'more': 1}", .file),
    ("{'descr': '<f4', 'fortran_order': False, 'shape': (2,)} x", .file),
    ("", .file),
  ])
  func refusesOtherHeaders(header: String, category: ABNError.Category) {
    let error = expectError(category) { _ = try read(file(header, [1, 2, 3, 4, 5, 6, 7, 8])) }
    #expect(error?.location?.hasPrefix("byte ") == true)
  }

  @Test func refusesOtherVersionsAndMarks() {
    let header = "{'descr': '|u1', 'fortran_order': False, 'shape': (1,)}"
    expectError(.unsupported) { _ = try read(file(header, [1], version: 4)) }
    expectError(.file) { _ = try read([0x93, 0x6e] + file(header, [1]).dropFirst(2)) }
    expectError(.file) { _ = try NPY.read(folder.file("absent.npy")) }
    expectError(.file) { _ = try NPY.read(folder.path) }
  }

  @Test func refusesBooleansThatAreNone() {
    let header = "{'descr': '|b1', 'fortran_order': False, 'shape': (3,)}"
    let error = expectError(.data) { _ = try read(file(header, [0, 1, 2])) }
    #expect(error?.location == "byte \(10 + header.utf8.count + 2)")
  }

  @Test func survivesDamage() throws {
    let path = folder.file("c.npy")
    try NPY.write(randomTensor(.float32, [2, 5], seed: 3), to: path)
    let bytes = try contents(of: path)
    let refusals = countRefusals(of: bytes) { _ = try read($0) }
    #expect(refusals.truncated == bytes.count)
    #expect(refusals.untyped.isEmpty)
    // Every flip in the mark, the version and the length is found.
    #expect(refusals.flipped >= 3 * 10)
  }
}
