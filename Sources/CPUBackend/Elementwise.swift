import ABNDNNL
import ABNKernels
import ABNOperators
import ABNRuntime
import ABNTensors

extension LoweringContext {
  /// The layout of a broadcast: the output's, where each operand is an image of its own with all or
  /// one of its channels, or a value for each channel.
  func broadcastLayout(_ x: Shape, _ y: Shape, to out: Shape) -> PhysicalLayout {
    let layout = layout(ofOutput: 0)
    return layout.walks(x, of: out) && layout.walks(y, of: out) ? layout : .plain
  }
}

extension PhysicalLayout {
  /// Whether an operand that is aligned at the right of `out` can be walked beside it.
  func walks(_ operand: Shape, of out: Shape) -> Bool {
    guard out.rank >= 3, out[1] % block == 0 else { return self == .plain }
    let missing = out.rank - operand.rank
    guard missing > 0 else { return operand[1] == out[1] || operand[1] == 1 }
    // All but the channels must be 1.
    return operand.dimensions.enumerated().allSatisfy { axis, size in
      size == 1 || axis + missing == 1 && size == out[1]
    }
  }

  /// The layout in which a broadcast operand is read: its own bytes are the same in every layout
  /// where it has one value for each channel.
  func forOperand(_ shape: Shape, of out: Shape) -> PhysicalLayout {
    // Only images have blocks, so that there is a second axis.
    self != .plain && shape.rank == out.rank && shape[1] == out[1] ? self : .plain
  }

  /// The physical shape of an operand that is aligned at the right of `out`.
  func physicalBroadcast(_ shape: Shape, to out: Shape) -> Shape {
    guard self != .plain else { return shape }
    let ones = Array(repeating: 1, count: out.rank - shape.rank)
    return physicalShape(Shape(ones + shape.dimensions))
  }
}

extension Elementwise: CPULowerable {
  var walk: ImageWalk { .anyOrder }
  static var takes16Bits: Bool { true }

  func lower(_ c: inout LoweringContext) throws {
    let (x, y, out) = (c.inputType(0).shape, c.inputType(1).shape, c.outputType(0).shape)
    let op: FlatOperation =
      switch function {
      case .add: .add
      case .subtract: .subtract
      case .multiply: .multiply
      case .divide: .divide
      }
    if x == y {
      let layout = c.layout(ofInput: 0)
      let arguments = [
        try c.read(0, in: layout), try c.read(1, in: layout), c.write(0, in: layout),
      ]
      c.step(arguments, run: try c.flat(op, c.outputType(0), inputs: 2))
      return
    }
    let aligned = try alignedShape(y, to: x)
    let layout = c.broadcastLayout(x, aligned, to: out)
    let physical = layout.physicalShape(out)
    let loop = StridedLoop(
      physical,
      [x, aligned].map {
        StridedLoop.broadcastStrides(of: layout.physicalBroadcast($0, to: out), to: physical)
      } + [physical.strides])
    let arguments = [
      try c.read(0, in: layout.forOperand(x, of: out)),
      try c.read(1, in: layout.forOperand(y, of: out)), c.write(0, in: layout),
    ]
    c.step(arguments, run: try c.flat(op, over: loop, c.outputType(0).dtype))
  }
}

extension DivisorGradient: CPULowerable {
  static var takes16Bits: Bool { true }

  func lower(_ c: inout LoweringContext) throws {
    let (x, y, out) = (c.inputType(1).shape, c.inputType(2).shape, c.outputType(0).shape)
    let aligned = try Elementwise(.divide, axis: axis).alignedShape(y, to: x)
    let loop = StridedLoop(
      out,
      [x, aligned].map { StridedLoop.broadcastStrides(of: $0, to: out) }
        + [out.strides, out.strides])
    let arguments = [try c.read(1), try c.read(2), try c.read(0), c.write(0)]
    // In float64: each quotient may be beyond float32 where the product is not.
    c.step(
      arguments,
      run: try c.flat(.divisorGradient, over: loop, c.outputType(0).dtype, isWide: true))
  }
}
