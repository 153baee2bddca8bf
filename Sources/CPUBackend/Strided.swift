import ABNKernels
import ABNTensors

/// A loop nest over a shape for several operands, each with its own strides; neighbouring
/// dimensions that all operands walk alike are merged.
struct StridedLoop: Sendable {
  /// The merged dimensions, outermost first; at least one.
  private(set) var dimensions: [Int]
  /// Per operand, the stride of each merged dimension, in elements.
  private(set) var strides: [[Int]]

  /// The nest over `shape` for operands with these strides.
  init(_ shape: Shape, _ operands: [[Int]]) {
    dimensions = []
    strides = operands.map { _ in [] }
    for axis in 0..<shape.rank where shape[axis] != 1 {
      let merges =
        !dimensions.isEmpty
        && zip(strides, operands).allSatisfy { merged, own in
          merged.last! == own[axis] * shape[axis]
        }
      if merges {
        dimensions[dimensions.count - 1] *= shape[axis]
        for operand in operands.indices {
          strides[operand][dimensions.count - 1] = operands[operand][axis]
        }
      } else {
        dimensions.append(shape[axis])
        for operand in operands.indices { strides[operand].append(operands[operand][axis]) }
      }
    }
    if dimensions.isEmpty {
      dimensions = [1]
      for operand in operands.indices { strides[operand] = [0] }
    }
  }

  /// One loop over `count` neighbours of each operand.
  init(flat count: Int, operands: Int) {
    dimensions = [count]
    strides = Array(repeating: [1], count: operands)
  }

  /// The strides of `own` when it is broadcast to `shape`: 0 along axes that it lacks.
  static func broadcastStrides(of own: Shape, to shape: Shape) -> [Int] {
    let ownStrides = own.strides
    return (0..<shape.rank).map { axis in
      let i = axis - (shape.rank - own.rank)
      return i < 0 || (own[i] == 1 && shape[axis] != 1) ? 0 : own[i] == 1 ? 0 : ownStrides[i]
    }
  }

  /// The length of the innermost loop.
  var inner: Int { dimensions.last! }

  /// The number of innermost loops.
  var outer: Int { dimensions.dropLast().reduce(1, *) }

  /// The stride of an operand in the innermost loop.
  func innerStride(_ operand: Int) -> Int { strides[operand].last! }

  /// Where an operand starts in innermost loop number `row`.
  @inline(__always)
  func offset(_ operand: Int, row: Int) -> Int {
    var rest = row
    var offset = 0
    var axis = dimensions.count - 2
    while axis >= 0 {
      let (quotient, remainder) = rest.quotientAndRemainder(dividingBy: dimensions[axis])
      offset += remainder * strides[operand][axis]
      rest = quotient
      axis -= 1
    }
    return offset
  }

  /// Calls `body`, in parallel, with stretches of innermost loops (the number of the loop, which of
  /// its elements) that cover all of them: long loops are cut, short ones taken together.
  func forEachStretch(_ body: @Sendable (_ row: Int, _ range: Range<Int>) -> Void) {
    let inner = inner
    let grain = 16384
    let pieces = max(1, inner / grain)
    Parallel.ranges(outer * pieces, grain: max(1, grain / max(1, inner))) { parts in
      for part in parts {
        let (row, piece) = part.quotientAndRemainder(dividingBy: pieces)
        body(row, share(piece, of: pieces, in: inner))
      }
    }
  }
}
