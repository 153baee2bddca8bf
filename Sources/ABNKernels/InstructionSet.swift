import ABNKernelsBaseline
import CCPUFeatures
import CKernels

#if arch(x86_64)
import ABNKernelsAVX2
import ABNKernelsAVX512
#endif
#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

/// The instruction sets that the kernels are compiled for. Other processors than x86-64 have the
/// baseline only, compiled for that processor.
public enum ABNInstructionSet: String, Hashable, Sendable, CaseIterable {
  /// What every processor of the architecture runs: SSE2 on x86-64.
  case baseline
  /// AVX2 with FMA and F16C (x86-64-v3).
  case avx2
  /// AVX-512 F, BW, CD, DQ and VL (x86-64-v4).
  case avx512

  /// The environment variable that forces a set, read once.
  public static let variable = "ABN_KERNELS"

  /// Whether this processor and its operating system run the set.
  public var isSupported: Bool {
    switch self {
    case .baseline: true
    case .avx2: abn_cpu_kernel_level() >= 1
    case .avx512: abn_cpu_kernel_level() >= 2
    }
  }

  /// The set of this process: the one that `ABN_KERNELS` names, else the widest supported. Throws
  /// `KernelError` for an unknown name, and for a set that the processor does not run.
  public static func selected() throws(KernelError) -> ABNInstructionSet {
    try selection.get()
  }

  private static let selection: Result<ABNInstructionSet, KernelError> = {
    guard let value = getenv(variable) else {
      return .success(allCases.last(where: \.isSupported) ?? .baseline)
    }
    return named(String(cString: value))
  }()

  /// A set that this processor runs; nil is that of the process.
  static func checked(_ set: ABNInstructionSet?) throws(KernelError) -> ABNInstructionSet {
    guard let set else { return try selected() }
    return try named(set.rawValue).get()
  }

  /// The set of a name, if this processor runs it.
  static func named(_ name: String) -> Result<ABNInstructionSet, KernelError> {
    let valid = allCases.map(\.rawValue).joined(separator: ", ")
    guard let set = ABNInstructionSet(rawValue: name) else {
      return .failure(
        KernelError(
          what: "environment variable \(variable)", got: "\"\(name)\"", wanted: "one of \(valid)",
          fix: "Correct it, or unset it to use the widest set that the processor runs."))
    }
    guard set.isSupported else {
      let widest = allCases.last(where: \.isSupported) ?? .baseline
      return .failure(
        KernelError(
          what: "kernel set \(name)", got: "a processor without it",
          wanted: "\(widest.rawValue) or less", fix: "Choose another set, or unset \(variable)."))
    }
    return .success(set)
  }

  /// The ways into the set: the layer's steps, and the flat loops.
  var entries: (run: KernelEntry, flat: @Sendable (UnsafePointer<abn_flat_call>) -> Void) {
    switch self {
    #if arch(x86_64)
    case .avx2: (ABNKernelsAVX2.run, ABNKernelsAVX2.flat)
    case .avx512: (ABNKernelsAVX512.run, ABNKernelsAVX512.flat)
    #endif
    default: (ABNKernelsBaseline.run, ABNKernelsBaseline.flat)
    }
  }
}

/// The signature of `run` in every kernel set.
typealias KernelEntry = @Sendable (abn_kernel_call) -> Void
