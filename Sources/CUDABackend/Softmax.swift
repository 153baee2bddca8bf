import ABNGraph
import ABNOperators
import ABNRuntime
import ABNTensors

/// Lines along one axis of a row-major tensor, shared out to threads: see lines.cuh.
struct AxisLines {
  let count: Int
  let length: Int
  let inner: Int
  private let parts: Int

  init(_ shape: Shape, axis: Int) {
    let axis = axis < 0 ? axis + shape.rank : axis
    length = shape[axis]
    inner = shape.dimensions[(axis + 1)...].reduce(1, *)
    count = shape.dimensions[..<axis].reduce(inner, *)
    let most = powerOfTwo(atLeast: length / 2)
    if inner == 1 {
      parts = min(256, most)
    } else {
      // Neighbouring lines side by side, as far as there are so many; more threads for each only
      // where there are too few lines for a card.
      let room = 256 / powerOfTwo(atLeast: min(count, 32))
      parts = min(room, most, powerOfTwo(atLeast: 32768 / max(1, count)))
    }
  }

  /// A launch over all lines.
  func launch(
    _ c: CUDAContext, _ file: KernelFile, _ entry: String, _ dtype: DType,
    defines: [String] = [], _ arguments: [KernelArgument]
  ) throws -> KernelLaunch {
    let kernel = try c.kernel([.lines, file], entry, ["-DT=\(try c.elementName(dtype))"] + defines)
    var lines = KernelStruct()
    lines.append(count, length, max(1, inner))
    lines.append(UInt32(parts))
    lines.append(UInt32(inner == 1 ? 0 : 1))
    let blocks = (count * parts + 255) / 256
    return try KernelLaunch(
      kernel, blocks: min(max(blocks, 1), 1 << 22), threads: 256, arguments + [lines.argument])
  }
}

extension Softmax: CUDALowerable {
  func lower(_ c: inout CUDAContext) throws {
    let x = c.inputType(0)
    let arguments = [try c.read(0), c.write(0)]
    c.launch(
      arguments,
      [
        try AxisLines(x.shape, axis: axis).launch(
          c, .softmax, "softmax", x.dtype, [.pointer(0), .pointer(1)])
      ])
  }
}

extension SoftmaxGradient: CUDALowerable {
  func lower(_ c: inout CUDAContext) throws {
    let y = c.inputType(0)
    let arguments = [try c.read(0), try c.read(1), c.write(0)]
    c.launch(
      arguments,
      [
        try AxisLines(y.shape, axis: axis).launch(
          c, .softmax, "softmaxGradient", y.dtype, defines: ["-DGRADIENT"],
          [.pointer(0), .pointer(1), .pointer(2)])
      ])
  }
}
