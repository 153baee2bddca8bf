import ABNGraph
import ABNKernels
import ABNRuntime
import ABNTensors

// Steps over the elements of arrays: loops of `FlatKernel`, shared out to the team.

extension DType {
  /// Whether an element has 16 bits and is computed with in float32.
  var is16Bits: Bool { self == .float16 || self == .bfloat16 }

  /// The floating-point type in the kernels' words.
  var element: ABNElement? {
    switch self {
    case .float16: .float16
    case .bfloat16: .bfloat16
    case .float32: .float32
    case .float64: .float64
    default: nil
    }
  }
}

extension FlatKernel {
  /// The loop of an operator, in the precision of an element type.
  ///
  /// - Parameter isWide: whether the arithmetic is in float64 for every type.
  init(_ op: FlatOperation, in element: ABNElement, isWide: Bool = false) throws {
    self = try checkedKernel { try FlatKernel(op, isWide: isWide || element == .float64) }
  }

  /// All of `count` elements, on the team.
  func callAsFunction(_ operands: FlatOperands, count: Int) {
    Parallel.ranges(count) { self(operands, $0, length: count) }
  }
}

extension LoweringContext {
  /// The kernels' word for a type that an operator computes in.
  func element(_ dtype: DType) throws -> ABNElement {
    guard let element = dtype.element else {
      throw unsupported(dtype, wanted: "a floating-point type")
    }
    return element
  }

  /// A step over arrays of one type: the argument behind the inputs = the operator on them.
  ///
  /// - Parameter isWide: whether the arithmetic is in float64 for every type.
  func flat(
    _ op: FlatOperation, _ type: TensorType, inputs: Int, isWide: Bool = false
  ) throws -> @Sendable (StepPointers) -> Void {
    let (count, element) = (type.shape.elementCount, try element(type.dtype))
    let kernel = try FlatKernel(op, in: element, isWide: isWide)
    return { p in
      func array(_ index: Int) -> FlatOperand { FlatOperand(p[index], element) }
      let operands =
        switch inputs {
        case 1: FlatOperands(array(0), array(1))
        case 2: FlatOperands(array(0), array(1), array(2))
        default: FlatOperands(array(0), array(1), array(2), array(3))
        }
      kernel(operands, count: count)
    }
  }

  /// A step over operands that are broadcast: `loop` has the strides of the inputs (one to three),
  /// then those of the row-major result, which is the last argument. All have elements of one type.
  func flat(
    _ op: FlatOperation, over loop: StridedLoop, _ dtype: DType, isWide: Bool = false
  ) throws -> @Sendable (StepPointers) -> Void {
    let element = try element(dtype)
    let kernel = try FlatKernel(op, in: element, isWide: isWide)
    return { p in
      loop.forEachPlane { plane, range in
        func operand(_ index: Int) -> FlatOperand { loop.operand(index, plane, p[index], element) }
        let operands =
          switch loop.strides.count {
          case 2: FlatOperands(operand(0), operand(1))
          case 3: FlatOperands(operand(0), operand(1), operand(2))
          default: FlatOperands(operand(0), operand(1), operand(2), operand(3))
          }
        kernel(operands, range, length: loop.inner)
      }
    }
  }
}

extension StridedLoop {
  /// The number of loops that are around each innermost one.
  private var rows: Int { dimensions.count > 1 ? dimensions[dimensions.count - 2] : 1 }

  /// Operand `index` of the two innermost dimensions, at place `plane` of the others.
  func operand(
    _ index: Int, _ plane: Int, _ base: UnsafeRawPointer, _ element: ABNElement
  ) -> FlatOperand {
    let own = strides[index]
    let rowStride = own.count > 1 ? own[own.count - 2] : 0
    let start = base + offset(index, row: plane * rows) * element.bytes
    let isArray = own.last == 1 && (rows == 1 || rowStride == inner)
    return isArray
      ? FlatOperand(start, element)
      : FlatOperand(start, element, stride: own.last!, rowStride: rowStride)
  }

  /// Calls `body`, in parallel, with ranges of the elements of the two innermost dimensions,
  /// numbered row by row, that cover all, and the number of the place in the others.
  func forEachPlane(_ body: @Sendable (_ plane: Int, _ range: Range<Int>) -> Void) {
    let (size, grain) = (rows * inner, 16384)
    guard size > 0 else { return }
    let pieces = (size + grain - 1) / grain
    Parallel.ranges(outer / rows * pieces, grain: max(1, grain / size)) { parts in
      for part in parts {
        let (plane, piece) = part.quotientAndRemainder(dividingBy: pieces)
        body(plane, piece * grain..<min(size, (piece + 1) * grain))
      }
    }
  }
}
