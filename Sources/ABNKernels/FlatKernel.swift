import ABNKernelsBaseline
import CKernels

/// One operand of a flat loop: where its elements stand, and of which type they are.
package struct FlatOperand: @unchecked Sendable {
  // Sendable: who writes where is the caller's to say, with the ranges that it gives its team's
  // members.
  var operand: abn_flat_operand

  /// No operand.
  package static var none: FlatOperand {
    var result = FlatOperand(UnsafeRawPointer(bitPattern: 64)!, .float32)
    result.operand.base = nil
    return result
  }

  /// An array, element after element.
  package init(_ base: UnsafeRawPointer, _ element: ABNElement) {
    self.init(base, element, stride: 1, rowStride: -1)
  }

  /// Column j of row i at base + i * rowStride + j * stride, counted in elements: a stride of 0 is
  /// one number for all of a row, a row stride of 0 one row for all rows.
  package init(_ base: UnsafeRawPointer, _ element: ABNElement, stride: Int, rowStride: Int) {
    operand = abn_flat_operand(
      base: UnsafeMutableRawPointer(mutating: base), element: element.rawValue, stride: stride,
      row_stride: rowStride)
  }

  /// One number for all elements.
  package static func number(_ base: UnsafeRawPointer, _ element: ABNElement) -> FlatOperand {
    FlatOperand(base, element, stride: 0, rowStride: 0)
  }

  /// Bits, eight to a byte, the first of them the lowest: they are read as 1 and 0, and written as
  /// whether a result is not 0.
  package static func bits(_ base: UnsafeRawPointer) -> FlatOperand {
    var result = FlatOperand(base, .float32)
    result.operand.element = 4
    return result
  }

  /// Whether it is read and written where it stands, or is none.
  fileprivate func isArray(of element: ABNElement) -> Bool {
    operand.base == nil || operand.element == element.rawValue && operand.row_stride < 0
  }

  /// With the row stride of an array, where it has no other.
  fileprivate func rows(of length: Int) -> abn_flat_operand {
    var result = operand
    if result.row_stride < 0 { result.row_stride = length }
    return result
  }
}

/// The operands of a call, as `FlatOperation` names them.
package struct FlatOperands: Sendable {
  package var a = FlatOperand.none
  package var b = FlatOperand.none
  package var c = FlatOperand.none
  package var d = FlatOperand.none
  package var out = FlatOperand.none
  package var second = FlatOperand.none
  package var third = FlatOperand.none
  /// Whether the result of an activation goes past the caches: of one that is larger than they are.
  package var streams = false

  package init(_ a: FlatOperand, _ out: FlatOperand) { (self.a, self.out) = (a, out) }
  package init(_ a: FlatOperand, _ b: FlatOperand, _ out: FlatOperand) {
    (self.a, self.b, self.out) = (a, b, out)
  }
  package init(_ a: FlatOperand, _ b: FlatOperand, _ c: FlatOperand, _ out: FlatOperand) {
    (self.a, self.b, self.c, self.out) = (a, b, c, out)
  }
  package init(
    _ a: FlatOperand, _ b: FlatOperand, _ c: FlatOperand, _ d: FlatOperand, _ out: FlatOperand
  ) {
    (self.a, self.b, self.c, self.d, self.out) = (a, b, c, d, out)
  }

  fileprivate func areArrays(of element: ABNElement) -> Bool {
    a.isArray(of: element) && b.isArray(of: element) && c.isArray(of: element)
      && d.isArray(of: element) && out.isArray(of: element) && second.isArray(of: element)
      && third.isArray(of: element)
  }
}

/// A loop over elements in the instruction set of this process: arithmetic on the elements of up to
/// four arrays, whose results go to up to three others, or are added up.
///
/// Elements of 16 bits are computed with in float32; `isWide`: all are in float64, and rounded once
/// more to an element of 16 bits. A result may take the place of an operand of its own type. What
/// an element's result is does not depend on which others a call works on. Nothing is checked.
package struct FlatKernel: Sendable {
  private let entry: @Sendable (UnsafePointer<abn_flat_call>) -> Void
  private let code: Int
  private let isWide: Bool
  private let constants: [Double]

  /// The loop of an operation.
  ///
  /// - Throws: `KernelError` for a set that the processor lacks, and for an `ABN_KERNELS` that
  ///   names none.
  package init(
    _ operation: FlatOperation, isWide: Bool = false, instructionSet: ABNInstructionSet? = nil
  ) throws(KernelError) {
    entry = try ABNInstructionSet.checked(instructionSet).entries.flat
    code = operation.code
    self.isWide = isWide
    let given = operation.constants
    constants = given + Array(repeating: 0, count: 16 - given.count)
  }

  /// Elements `range`, numbered row by row, of rows of `length` elements (nil: of one row). The
  /// range begins at a multiple of 16.
  package func callAsFunction(_ operands: FlatOperands, _ range: Range<Int>, length: Int? = nil) {
    run(operands, range, length ?? range.upperBound, nil)
  }

  /// The sum over `range` in an order of its own; the largest element, where the operation is that.
  package func total(_ operands: FlatOperands, _ range: Range<Int>, length: Int? = nil) -> Double {
    withLanes(operands, range, length: length) { lanes in
      let isLargest = code == FlatCode.largest
      var width = 8
      while width > 0 {
        for lane in 0..<width {
          let (x, y) = (lanes[lane], lanes[lane + width])
          lanes[lane] = isLargest ? (y > x ? y : x) : x + y
        }
        width /= 2
      }
      return lanes[0]
    }
  }

  /// Calls `body` with 16 sums: sum j is of the elements j, j + 16 ... of the range.
  package func withLanes<R>(
    _ operands: FlatOperands, _ range: Range<Int>, length: Int? = nil,
    _ body: (UnsafeMutablePointer<Double>) -> R
  ) -> R {
    withUnsafeTemporaryAllocation(of: Double.self, capacity: 16) { lanes in
      lanes.initialize(repeating: code == FlatCode.largest ? -.infinity : 0)
      run(operands, range, length ?? range.upperBound, lanes.baseAddress)
      return body(lanes.baseAddress!)
    }
  }

  private func run(
    _ o: FlatOperands, _ range: Range<Int>, _ length: Int, _ sums: UnsafeMutablePointer<Double>?
  ) {
    if range.isEmpty { return }
    let own = isWide ? ABNElement.float64 : .float32
    func enter(_ room: UnsafeMutableRawBufferPointer, _ stride: Int) {
      constants.withUnsafeBufferPointer { constants in
        var call = abn_flat_call(
          operation: code, is_wide: isWide, streams: o.streams, a: o.a.rows(of: length),
          b: o.b.rows(of: length),
          c: o.c.rows(of: length), d: o.d.rows(of: length), out: o.out.rows(of: length),
          second: o.second.rows(of: length), third: o.third.rows(of: length),
          first: range.lowerBound, count: range.count, length: length,
          constants: constants.baseAddress!, sums: sums, room: room.baseAddress!,
          room_stride: stride)
        entry(&call)
      }
    }
    if o.areArrays(of: own) {
      // Small enough for the stack.
      withUnsafeTemporaryAllocation(byteCount: 7 * 128, alignment: 16) { enter($0, 128) }
    } else {
      withUnsafeTemporaryAllocation(byteCount: 7 * 2176, alignment: 16) { enter($0, 2176) }
    }
  }
}
