import ABNOperators
import ABNRuntime
import ABNTensors

extension FoldNormalization: CUDALowerable {
  func lower(_ c: inout CUDAContext) throws {
    let weight = c.inputType(0)
    let filters = weight.shape[0]
    let arguments = try (0..<c.inputCount).map { try c.read($0) } + [c.write(0), c.write(1)]
    let inputs = c.inputCount
    let own = inputs > 5 ? KernelArgument.pointer(5) : .null
    let kernel = try c.kernel([.fold], "fold", ["-DT=\(try c.elementName(weight.dtype))"])
    c.launch(
      arguments,
      [
        try KernelLaunch(
          kernel, blocks: min(max(filters, 1), 1 << 16), threads: 256,
          (0..<5).map { .pointer($0) } + [
            own, .pointer(inputs), .pointer(inputs + 1), .i64(Int64(filters)),
            .i64(Int64(weight.shape.elementCount / max(1, filters))), .f64(epsilon),
          ])
      ])
  }
}
