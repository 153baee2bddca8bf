import ABNKernelsBaseline

/// The arithmetic of a residual block beside its layers, over arrays: the sum with the leaky ReLU behind
/// it, one term of it back, and the gradient.
///
/// ```
/// z = act(u + v);  u = act^-1(z) - v;  ds = (da + db) * act'(z);  act(s) = s where s > 0, else slope * s
/// ```
/// A slope of 1 is the identity, one of 0 is ReLU (which has no way back). Each result is rounded as the
/// formula says, in every instruction set. NaN stays where it is. A destination may be one of the
/// operands; arrays that only overlap are not allowed. Nothing is allocated; a count of 0 or less does
/// nothing. Reads and writes are bounded by memory: 12 bytes an element of float32 for `sum` and `term`,
/// 16 for `gradient`.
public struct ABNResidual: Sendable {
  private let combine: CombineEntry
  private let isDouble: Bool

  /// The arithmetic for one element type, float32 or float64. `instructionSet` nil is the one of this
  /// process.
  ///
  /// Throws `KernelError` for other element types, for a set that the processor lacks, and for an
  /// `ABN_KERNELS` that names none.
  public init(
    element: ABNElement, instructionSet: ABNInstructionSet? = nil
  ) throws(KernelError) {
    switch element {
    case .float32: isDouble = false
    case .float64: isDouble = true
    default:
      throw KernelError(
        what: "element of a residual sum", got: "\(element)", wanted: "float32 or float64",
        fix: "Convert the elements to float32.")
    }
    if let instructionSet {
      combine = try ABNInstructionSet.named(instructionSet.rawValue).get().combine
    } else {
      combine = try ABNInstructionSet.selected().combine
    }
  }

  /// z = act(u + v).
  public func sum(
    _ u: UnsafeRawPointer, _ v: UnsafeRawPointer, into z: UnsafeMutableRawPointer, count: Int,
    slope: Double
  ) {
    combine(CombineStep.sum, isDouble, u, v, u, z, count, slope)
  }

  /// u = act^-1(z) - v. `inverseSlope` is 1 / slope.
  public func term(
    _ z: UnsafeRawPointer, _ v: UnsafeRawPointer, into u: UnsafeMutableRawPointer, count: Int,
    inverseSlope: Double
  ) {
    combine(CombineStep.term, isDouble, z, v, z, u, count, inverseSlope)
  }

  /// ds = (da + db) * act'(z); at z = 0 the derivative is the slope. With a slope of 0 an infinite
  /// gradient gives 0 where z is not positive.
  public func gradient(
    _ z: UnsafeRawPointer, _ da: UnsafeRawPointer, _ db: UnsafeRawPointer,
    into ds: UnsafeMutableRawPointer, count: Int, slope: Double
  ) {
    combine(CombineStep.gradient, isDouble, z, da, db, ds, count, slope)
  }

  /// 16 sums of (u + v)^2, in the precision of the elements: sum j is of the elements j, j + 16, and so
  /// on. `count` is rounded down to a multiple of 16; below 16 the sums are 0.
  public func squares(
    _ u: UnsafeRawPointer, _ v: UnsafeRawPointer, into sums: UnsafeMutableRawPointer, count: Int
  ) {
    combine(CombineStep.squares, isDouble, u, v, u, sums, count & ~15, 1)
  }
}
