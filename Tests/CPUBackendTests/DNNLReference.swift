import ABNDNNL
@testable import ABNCPUBackend
import ABNTensors
import Foundation
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

/// Memory of a descriptor's size, filled with NaN bits so that what is not written shows, between
/// guards of the same bits so that what is written beside it shows.
final class Buffer {
  /// The first of `bytes` bytes; a multiple of 64, and of 16 alone for scratch memory.
  let pointer: UnsafeMutableRawPointer
  let bytes: Int
  private let base: UnsafeMutableRawPointer
  private let start: Int

  /// The bytes of a guard: a few more than an implementation was seen to write over the end.
  private static let guardBytes = 4096
  private static let pattern = [UInt8](repeating: 0xff, count: guardBytes)

  init(bytes: Int, offset: Int = 0) {
    self.bytes = bytes
    start = Self.guardBytes + offset
    let all = start + bytes + Self.guardBytes
    base = .allocate(byteCount: all, alignment: 64)
    memset(base, 0xff, all)
    pointer = base + start
  }

  deinit { base.deallocate() }

  /// Whether both guards are as they were.
  var isIntact: Bool {
    Self.pattern.withUnsafeBytes {
      memcmp(base, $0.baseAddress!, Self.guardBytes) == 0
        && memcmp(pointer + bytes, $0.baseAddress!, Self.guardBytes) == 0
    }
  }
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
/// address that is a multiple of 16 only, and checks that it stays inside all of them.
func run(_ primitive: DNNLPrimitive, _ buffers: [DNNLPrimitive.Argument: Buffer]) throws {
  #expect(try runChecked(primitive, buffers) == [])
}

/// The same; gives the arguments whose guards were written to.
func runChecked(
  _ primitive: DNNLPrimitive, _ buffers: [DNNLPrimitive.Argument: Buffer]
) throws -> [DNNLPrimitive.Argument] {
  var all = buffers
  all[.scratchpad] = Buffer(bytes: primitive.scratchpadBytes, offset: 16)
  try primitive.execute(primitive.arguments.map { all[$0]?.pointer })
  return primitive.arguments.filter { all[$0]?.isIntact == false }
}
