import ABNGraph
import ABNPasses
import ABNPlanning
import ABNRuntime
import ABNTensors

/// What numbers may be rounded to inside of convolutions and products.
public enum CUDAPrecision: String, Sendable, Hashable, CaseIterable {
  /// float32 programs are computed in float32.
  case float32 = "f32"
  /// float32 programs, whose convolutions and products round their inputs to TF32 (10 bits of
  /// fraction).
  case tf32
  /// float32 programs, in which convolutions, products and what stands between them are bfloat16;
  /// parameters, statistics, sums and the loss stay float32.
  case bfloat16 = "bf16"
}

/// Runs programs on an NVIDIA card: cuDNN for convolutions, cuBLASLt for products, and kernels of
/// this package for the rest. All libraries are looked for when the backend is made.
public struct CUDABackend: Backend {
  public let name = "cuda"
  public let passes: [any ProgramPass]
  /// How exact convolutions and products are.
  package let precision: CUDAPrecision
  private let device: CUDADevice
  private let deviceMemory: CUDAMemory
  /// What runs startup programs: their values are uploaded.
  private let host: any Backend

  public var memory: any BackendMemory { deviceMemory }

  /// A backend for a card.
  ///
  /// - Parameters:
  ///   - device: the driver's number of the card.
  ///   - host: the backend that computes the values of startup programs.
  /// - Throws: `ABNError(.system)` for a missing driver, library or card, with what brings it.
  package init(
    device: Int = 0, precision: CUDAPrecision = .float32, host: any Backend,
    passes: [any ProgramPass]? = nil
  ) throws {
    self.device = try CUDADevice.device(device)
    self.precision = precision
    self.host = host
    self.passes = passes ?? Self.passes(precision)
    deviceMemory = try CUDAMemory.memory(of: self.device)
  }

  private static func passes(_ precision: CUDAPrecision) -> [any ProgramPass] {
    let lowering: [any ProgramPass] =
      precision == .bfloat16 ? [LowerPrecision(to: .bfloat16)] : []
    return lowering + exactMemoryPasses + trainingPasses + [
      FuseSumActivations(), GroupUpdates(), FoldNormalizations(),
    ]
  }

  public func lower(_ program: Program, fetches: [VariableID]) throws -> LoweredProgram {
    if try program.isEmptyToLower(fetches: fetches) { return .empty }
    if let startup = try HostProgram(program, fetches: fetches, host: host, memory: deviceMemory) {
      return startup.lowered
    }
    try requireKernels(program)
    try device.activate()
    var context = CUDAContext(device, program: program, precision: precision)
    for op in program.operators {
      do {
        try context.lower(op, op.kind as! any CUDALowerable)
      } catch let error as ABNError {
        throw error.located(
          in: "\(op.kindName) \(quoted(op.layer))", at: op.source)
      }
    }
    return try LoweredProgram(&context, of: program, fetches: fetches)
  }

  /// Throws for the first operator that has no kernel: it is never sent to the host silently.
  private func requireKernels(_ program: Program) throws {
    for op in program.operators where !(op.kind is any CUDALowerable) {
      throw ABNError(
        .unsupported, "\(op.kindName) \(quoted(op.layer))", at: op.source,
        got: "a kind that the backend \(quoted(name)) has no kernel for",
        wanted: "operators that run on the card", fix: "Run this program on the processor.")
    }
  }
}
