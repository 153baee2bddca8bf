@testable import ABNCPUBackend
import ABNTensors
import Testing

/// A dense row-major tensor in float64, for references that spell the definitions out.
struct Reference: Equatable {
  var dims: [Int]
  var values: [Double]

  init(_ dims: [Int], _ values: [Double]) {
    self.dims = dims
    self.values = values
  }

  init(zeros dims: [Int]) { self.init(dims, [Double](repeating: 0, count: dims.reduce(1, *))) }

  /// Uniform numbers in [-1, 1) that a float32 (`bits` 24) or bfloat16 (`bits` 8) holds exactly.
  init(random dims: [Int], bits: Int = 24, using generator: inout some RandomNumberGenerator) {
    let scale = Double(1 << (bits - 1))
    let range = Int(-scale)..<Int(scale)
    self.init(
      dims,
      (0..<dims.reduce(1, *)).map { _ in Double(Int.random(in: range, using: &generator)) / scale })
  }

  func offset(_ index: [Int]) -> Int { zip(index, dims).reduce(0) { $0 * $1.1 + $1.0 } }

  subscript(_ index: [Int]) -> Double {
    get { values[offset(index)] }
    set { values[offset(index)] = newValue }
  }

  /// The same numbers, other sizes.
  func reshaped(_ dims: [Int]) -> Reference { Reference(dims, values) }

  /// Every index of `sizes`, the last axis fastest.
  static func indices(_ sizes: [Int]) -> [[Int]] {
    sizes.reduce([[]]) { heads, size in heads.flatMap { head in (0..<size).map { head + [$0] } } }
  }

  /// The largest distance to another, relative to the largest number in this one.
  func distance(to other: Reference) -> Double {
    guard dims == other.dims else { return .infinity }
    let largest = values.map(abs).max() ?? 0
    let gap = zip(values, other.values).map { abs($0 - $1) }
    return gap.contains { $0.isNaN } ? .infinity : (gap.max() ?? 0) / max(largest, 1e-30)
  }
}

/// A generator whose numbers are the same on every machine.
struct SplitMix: RandomNumberGenerator {
  var state: UInt64
  init(seed: UInt64) { state = seed }
  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var z = state
    z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
    return z ^ (z >> 31)
  }
}

/// Memory of a descriptor's size, filled with NaN bits so that what is not written shows.
final class Buffer {
  let pointer: UnsafeMutableRawPointer
  let bytes: Int

  init(bytes: Int) {
    self.bytes = bytes
    pointer = .allocate(byteCount: max(bytes, 64), alignment: 64)
    pointer.initializeMemory(as: UInt8.self, repeating: 0xff, count: max(bytes, 64))
  }

  deinit { pointer.deallocate() }
}

/// Writes a reference into memory of a descriptor, through a reorder.
func store(_ tensor: Reference, as descriptor: DNNLDescriptor) throws -> Buffer {
  let plain = try DNNLDescriptor(tensor.dims, .float32, .plain)
  let staging = Buffer(bytes: plain.byteCount)
  for (i, value) in tensor.values.enumerated() {
    staging.pointer.storeBytes(of: Float(value), toByteOffset: 4 * i, as: Float.self)
  }
  let result = Buffer(bytes: descriptor.byteCount)
  let reorder = try DNNLPrimitive.reorder(from: plain, to: descriptor)
  try run(reorder, [.source: staging, .destination: result])
  return result
}

/// Reads memory of a descriptor into a reference, through a reorder.
func load(_ buffer: Buffer, as descriptor: DNNLDescriptor) throws -> Reference {
  let plain = try DNNLDescriptor(descriptor.dims, .float32, .plain)
  let staging = Buffer(bytes: plain.byteCount)
  let reorder = try DNNLPrimitive.reorder(from: descriptor, to: plain)
  try run(reorder, [.source: buffer, .destination: staging])
  let count = descriptor.dims.reduce(1, *)
  return Reference(
    descriptor.dims,
    (0..<count).map {
      Double(staging.pointer.load(fromByteOffset: 4 * $0, as: Float.self))
    })
}

/// Runs a primitive on named buffers, with a scratchpad of exactly the bytes it asks for at an
/// address that is a multiple of 16 only, and checks that it stays inside.
func run(_ primitive: DNNLPrimitive, _ buffers: [DNNLPrimitive.Argument: Buffer]) throws {
  let scratchpad = Buffer(bytes: 16 + primitive.scratchpadBytes + 64)
  let pointers = primitive.arguments.map { argument in
    argument == .scratchpad ? scratchpad.pointer + 16 : buffers[argument]?.pointer
  }
  try primitive.execute(pointers)
  let bytes = UnsafeRawBufferPointer(start: scratchpad.pointer, count: scratchpad.bytes)
  #expect(bytes.prefix(16).allSatisfy { $0 == 0xff })
  #expect(bytes.suffix(64).allSatisfy { $0 == 0xff })
}
