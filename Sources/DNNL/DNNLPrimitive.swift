import ABNTensors
import CDNNL

/// A oneDNN computation ready to run: the primitive and its memory objects.
///
/// Slots, in the order of `execute`'s pointers (the last is always the scratchpad):
///
/// | kind | slots |
/// |---|---|
/// | convolution forward, matmul | source, weights, bias, destination, scratchpad |
/// | convolution backward data | diffDestination, weights, diffSource, scratchpad |
/// | convolution backward weights | source, diffDestination, diffWeights, diffBias, scratchpad |
/// | pooling forward | source, destination, workspace, scratchpad |
/// | pooling backward | diffDestination, workspace, diffSource, scratchpad |
/// | reorder | source, destination, scratchpad |
///
/// A slot stays in its place where the primitive does not use it (no bias, no workspace, a
/// scratchpad of 0 bytes); its pointer is not read and may be nil.
package final class DNNLPrimitive: @unchecked Sendable {
  // Sendable: `execute` takes a lock around the memory objects, all else is constant.
  private let handle: OpaquePointer

  /// The role of a slot.
  package enum Argument: Int32, Sendable, CaseIterable {
    case source, weights, bias, destination, diffSource, diffWeights, diffBias, diffDestination
    case workspace, scratchpad
  }

  /// The computation, as in `convolution forward`.
  package let kind: String
  /// The role of each slot.
  package let arguments: [Argument]
  /// Bytes of scratch memory that each execution needs; any alignment will do.
  package let scratchpadBytes: Int
  /// oneDNN's name of the chosen implementation, as in `jit:avx512_core`.
  package let implementation: String
  /// The name of the implementation that oneDNN would have chosen, had it not been refused; nil
  /// where none was.
  package let passedOver: String?

  private let descriptors: [DNNLDescriptor?]

  /// Takes over a handle.
  package init(owning handle: OpaquePointer, kind: String) throws(ABNError) {
    self.handle = handle
    self.kind = kind
    let slots = abn_dnnl_primitive_slots(handle)
    var roles: [Argument] = []
    var found: [DNNLDescriptor?] = []
    do throws(ABNError) {
      for slot in 0..<slots {
        var descriptor: OpaquePointer?
        try DNNL.check(
          abn_dnnl_primitive_descriptor(handle, slot, &descriptor), kind, "slot \(slot)")
        roles.append(Argument(rawValue: abn_dnnl_primitive_role(handle, slot))!)
        if let descriptor {
          found.append(try DNNLDescriptor(owning: descriptor))
        } else {
          found.append(nil)
        }
      }
    } catch {
      abn_dnnl_primitive_destroy(handle)
      throw error
    }
    arguments = roles
    descriptors = found
    scratchpadBytes = Int(abn_dnnl_primitive_scratchpad_bytes(handle))
    implementation = String(cString: abn_dnnl_primitive_implementation(handle))
    let name = String(cString: abn_dnnl_primitive_passed_over(handle))
    passedOver = name.isEmpty ? nil : name
  }

  deinit { abn_dnnl_primitive_destroy(handle) }

  /// The descriptor that the primitive chose for an argument; nil where it does not use it.
  package func descriptor(_ argument: Argument) -> DNNLDescriptor? {
    arguments.firstIndex(of: argument).flatMap { descriptors[$0] }
  }

  /// Runs and waits. One pointer for each of `arguments`, in their order, to a buffer of that
  /// argument's `byteCount`, for the scratchpad `scratchpadBytes`.
  ///
  /// The channels that a blocked layout pads with must be zero in the inputs, and are in the
  /// outputs. Executions of one primitive take turns; Swift allocates nothing. Throws `.system`
  /// where the library fails.
  @inline(__always)
  package func execute(_ pointers: UnsafePointer<UnsafeMutableRawPointer?>) throws(ABNError) {
    let status = abn_dnnl_primitive_execute(handle, pointers)
    if status != ABN_DNNL_SUCCESS { throw DNNL.failure(status, kind, "an execution") }
  }

  /// Wraps what a shim function made.
  package static func made(
    _ kind: String, _ descriptors: [DNNLDescriptor?],
    _ make: (UnsafeMutablePointer<OpaquePointer?>) -> abn_dnnl_status
  ) throws(ABNError) -> DNNLPrimitive {
    var handle: OpaquePointer?
    try DNNL.check(
      make(&handle), kind,
      descriptors.compactMap { $0 }.map { $0.description }.joined(separator: ", "))
    return try DNNLPrimitive(owning: handle!, kind: kind)
  }
}

extension DNNLPrimitive {
  /// destination = source x weights + bias, for matrices [M, K] x [K, N] or stacks of them
  /// [B, M, K] x [B, K, N], B broadcast where it is 1.
  ///
  /// `bias` has the destination's rank, with size 1 along the axes it broadcasts over: [1, N].
  /// A transposed operand is a descriptor with `.strides`: the transpose of a row-major [N, K] is
  /// dims [K, N] with strides [1, K].
  package static func matmul(
    source: DNNLDescriptor, weights: DNNLDescriptor, bias: DNNLDescriptor? = nil,
    destination: DNNLDescriptor
  ) throws(ABNError) -> DNNLPrimitive {
    try made("matmul", [source, weights, bias, destination]) {
      abn_dnnl_matmul(source.handle, weights.handle, bias?.handle, destination.handle, $0)
    }
  }

  /// Copies a tensor from one layout or element type into another; neither may be `.any`.
  package static func reorder(
    from source: DNNLDescriptor, to destination: DNNLDescriptor
  ) throws(ABNError) -> DNNLPrimitive {
    try made("reorder", [source, destination]) {
      abn_dnnl_reorder(source.handle, destination.handle, $0)
    }
  }
}
