import ABNKernels
import ABNKernelsBaseline

#if arch(x86_64)
import ABNKernelsAVX2
import ABNKernelsAVX512
#endif

// What the kernel sets hold for measurements and tests, and no layer calls.

/// Goes over lines of memory: whether it changes them, the base, the first line of 64 bytes, the
/// end.
package typealias Sweep = @Sendable (Bool, UnsafeMutableRawPointer, Int, Int) -> Void

/// An elementary function on an array: its number, whether float64, x, the results, how many.
package typealias Evaluate =
  @Sendable (Int, Bool, UnsafeRawPointer, UnsafeMutableRawPointer, Int) -> Void

extension ABNInstructionSet {
  /// The set's way over memory, for what a layer is held against.
  package var sweep: Sweep {
    switch self {
    #if arch(x86_64)
    case .avx2: ABNKernelsAVX2.sweep
    case .avx512: ABNKernelsAVX512.sweep
    #endif
    default: ABNKernelsBaseline.sweep
    }
  }

  /// The elementary functions of the set, for the tests of their bounds.
  package var evaluate: Evaluate {
    switch self {
    #if arch(x86_64)
    case .avx2: ABNKernelsAVX2.evaluate
    case .avx512: ABNKernelsAVX512.evaluate
    #endif
    default: ABNKernelsBaseline.evaluate
    }
  }
}
