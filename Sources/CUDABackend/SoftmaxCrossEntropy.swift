import ABNGraph
import ABNOperators
import ABNRuntime
import ABNTensors

/// A label that is no class: the processor's step throws an error before it starts; a card's does
/// not look at data, and makes the loss of that row NaN, and its gradient.
extension SoftmaxCrossEntropy: CUDALowerable {
  func lower(_ c: inout CUDAContext) throws {
    let x = c.inputType(0)
    let arguments = [try c.read(0), try c.read(1), c.write(0), c.write(1)]
    c.launch(
      arguments,
      [
        try AxisLines(x.shape, axis: axis).launch(
          c, .loss, "crossEntropy", x.dtype, defines: softLabel ? ["-DSOFT"] : [],
          [.pointer(0), .pointer(1), .pointer(2), .pointer(3), .i64(Int64(ignoreIndex))])
      ], note: softLabel ? nil : "a label that is no class makes the loss NaN")
  }
}

extension SoftmaxCrossEntropyGradient: CUDALowerable {
  func lower(_ c: inout CUDAContext) throws {
    let y = c.inputType(0)
    let arguments = [try c.read(0), try c.read(1), try c.read(2), c.write(0)]
    c.launch(
      arguments,
      [
        try AxisLines(y.shape, axis: forward.axis).launch(
          c, .loss, "crossEntropyGradient", y.dtype,
          defines: ["-DGRADIENT"] + (forward.softLabel ? ["-DSOFT"] : []),
          [.pointer(0), .pointer(1), .pointer(2), .pointer(3), .i64(Int64(forward.ignoreIndex))])
      ])
  }
}
