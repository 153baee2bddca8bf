import ABNGraph
import ABNOperators
import ABNRuntime
import ABNTensors

extension Accuracy: CUDALowerable {
  func lower(_ c: inout CUDAContext) throws {
    let scores = c.inputType(0)
    let rows = scores.shape[0]
    let arguments = [
      try c.read(0), try c.read(1), c.write(0), c.scratch(bytes: 4 * rows),
    ]
    let share = try c.kernel(
      [.lines, .accuracy], "share", ["-DT=\(try c.elementName(scores.dtype))"])
    c.launch(
      arguments,
      [
        try AxisLines(scores.shape, axis: 1).launch(
          c, .accuracy, "hits", scores.dtype,
          [.pointer(0), .pointer(1), .pointer(3), .i64(Int64(k))]),
        try KernelLaunch(
          share, blocks: 1, threads: 256, [.pointer(3), .pointer(2), .i64(Int64(rows))]),
      ])
  }
}
