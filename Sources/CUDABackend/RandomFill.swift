import ABNOperators
import ABNRuntime
import ABNTensors

extension AssignValue: CUDALowerable {
  /// The bytes that travel with one launch: the arguments of a kernel are at most 4,096.
  private static var most: Int { 2048 }

  func lower(_ c: inout CUDAContext) throws {
    let bytes = values.withUnsafeBytes { Array($0) }
    let kernel = try c.kernel(
      generated: """
        struct Bytes { u8 b[\(Self.most)]; };
        extern "C" __global__ void give(u8* out, const Bytes bytes, i32 count) {
          for (i32 i = threadIdx.x; i < count; i += blockDim.x) out[i] = bytes.b[i];
        }

        """, "give")
    let launches = try stride(from: 0, to: bytes.count, by: Self.most).map { first in
      let own = Array(bytes[first..<min(first + Self.most, bytes.count)])
      let padded = own + Array(repeating: 0, count: Self.most - own.count)
      return try KernelLaunch(
        kernel, blocks: 1, threads: 256,
        [.offset(0, bytes: first), .bytes(padded), .i32(Int32(own.count))])
    }
    c.launch([c.write(0)], launches)
  }
}
