import ABNGraph
import ABNOperators
import ABNRuntime
import ABNTensors

extension Dropout: CUDALowerable {
  // A mask belongs to elements by their row-major number.
  var walk: ImageWalk { isTest ? .anyOrder : .rowMajor }

  func lower(_ c: inout CUDAContext) throws {
    let type = c.inputType(0)
    let dtype = try c.floatType(ofInput: 0)
    if isTest {
      let order = c.order(ofInput: 0)
      let arguments = [try c.read(0, in: order), c.write(0, in: order)]
      guard testFactor != 1 else { return try c.copy(arguments, bytes: type.bytes) }
      return try c.flat(
        FlatFormula(
          [dtype], [dtype], "out = a * factor + Num(0);", [("factor", .real(testFactor))]),
        count: type.shape.elementCount, arguments)
    }
    // Reading tells that the counter must have a value; the update is one argument.
    _ = try c.read(1)
    let arguments = [try c.read(0), c.write(0), c.write(1), c.write(2)]
    let draw = try KernelLaunch(
      c.kernel([.counters], "draw"), blocks: 1, threads: 1, [.pointer(2), .pointer(3)])
    c.launch(arguments, [draw, try c.dropoutLaunch(self, type, [0, 1, 3])])
  }
}

extension DropoutGradient: CUDALowerable {
  func lower(_ c: inout CUDAContext) throws {
    let arguments = [try c.read(0), try c.read(1), c.write(0)]
    c.launch(arguments, [try c.dropoutLaunch(forward, c.inputType(0), [0, 2, 1])])
  }
}

extension CUDAContext {
  /// out = x * mask, for the arguments x, out and draw.
  fileprivate func dropoutLaunch(_ dropout: Dropout, _ type: TensorType, _ arguments: [Int]) throws
    -> KernelLaunch
  {
    let name = FlatElement.number(try floatType(ofInput: 0)).name
    let count = type.shape.elementCount
    let kernel = try kernel([.dropout], "dropout", ["-DT=\(name)"])
    return try KernelLaunch(
      kernel, blocks: max(1, min((count + 1023) / 1024, 1 << 20)), threads: 256,
      arguments.map { .pointer($0) } + [
        .i64(Int64(count)), .i64(Int64(bitPattern: dropout.source.seed)),
        .i64(Int64(bitPattern: dropout.source.stream)),
        // Words below this are dropped; 2^32 drops all.
        .i64(Int64(dropout.probability * 0x1p32)), .f64(dropout.trainingFactor),
      ])
  }
}
