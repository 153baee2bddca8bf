/// Batch normalization with activation over one tensor shape, in place.
///
/// ```
/// xhat = (x - mean) / sqrt(variance + epsilon);  y = scale * xhat + bias;  z = act(y)
/// ```
/// For an invertible activation the buffer then holds z, else y (see `activate`). The value holds
/// no memory: buffers, scratch and threads are passed to every call, and nothing is allocated for
/// longer than a call but the rows of an `ABNRescue` in which they are needed. Equal inputs give
/// equal bits, whatever the number of threads.
///
/// Buffers are dense in the geometry's layout and aligned to their element. A source and a
/// destination are the same buffer or do not touch. NaN and infinity stay in their channel.
public struct ABNKernel: Hashable, Sendable {
  /// Sizes and layout of the tensor.
  public let geometry: ABNGeometry
  /// Type of the tensor's elements.
  public let element: ABNElement
  /// The activation after the normalization.
  public let activation: ABNActivation
  /// Added to the variance; 0 or more.
  public let epsilon: Double
  /// The kernels that do the work.
  public let instructionSet: ABNInstructionSet
  /// The sizes of caches that the work is cut for.
  var caches = Caches.ofThisMachine
  /// Elements that a channel must have for its gradients to be taken without y - bias
  /// (`Engine.canBeDirect`): in smaller ones the question costs as much as it saves.
  var leastDirectCount = 512

  /// Checks the parts. `instructionSet` nil is the one of this process
  /// (`ABNInstructionSet.selected`).
  ///
  /// Throws `KernelError` for an epsilon that is negative or not finite, an alpha that is not
  /// finite (in the type of parameters), an instruction set that the processor lacks, and an
  /// `ABN_KERNELS` that names none.
  public init(
    geometry: ABNGeometry, element: ABNElement, activation: ABNActivation, epsilon: Double = 1e-5,
    instructionSet: ABNInstructionSet? = nil
  ) throws(KernelError) {
    guard epsilon.isFinite, epsilon >= 0 else {
      throw KernelError(
        what: "epsilon", got: "\(epsilon)", wanted: "a finite number, 0 or more",
        fix: "Use the default, 1e-5.")
    }
    switch activation {
    case .leakyReLU(let alpha), .elu(let alpha):
      guard abs(alpha) <= element.statistics.greatest else {
        throw KernelError(
          what: "activation alpha", got: "\(alpha)",
          wanted: "a finite number of the type of scale and bias",
          fix: "Use 0.01 for leaky ReLU, 1 for elu.")
      }
    default: break
    }
    self.geometry = geometry
    self.element = element
    self.activation = activation
    self.epsilon = epsilon
    self.instructionSet = try ABNInstructionSet.checked(instructionSet)
  }

  /// Bytes of the tensor's buffer, padding of blocked layouts included.
  public var bufferBytes: Int { geometry.elementCount * element.bytes }

  /// Bytes of scratch that any function of this value may use; align it to 64.
  public var scratchBytes: Int {
    Scratch.bytes(self)
  }

  /// Bytes that `ABNRescue` holds for `channels` rescued channels: at most all of them, which more
  /// are taken for.
  public func rescueBytes(_ channels: Int) -> Int {
    max(0, min(channels, geometry.channels)) * geometry.countPerChannel * element.bytes
  }

  /// The slope left of zero: alpha, the channel's prelu slope, or 1.
  @inline(__always) func slope(_ parameters: ABNParameters, _ channel: Int) -> Double {
    switch activation {
    case .leakyReLU(let alpha), .elu(let alpha): alpha
    case .prelu: statistic(parameters.slopes, parameters.slopeCount == 1 ? 0 : channel, default: 1)
    default: 1
    }
  }

  /// Value `index` of an array of parameters or statistics.
  @inline(__always) func statistic(_ base: UnsafeRawPointer?, _ index: Int, default value: Double)
    -> Double
  {
    guard let base else { return value }
    return element.statistics == .float64
      ? base.load(fromByteOffset: index * 8, as: Double.self)
      : Double(base.load(fromByteOffset: index * 4, as: Float.self))
  }

  /// Element `index` of a tensor.
  func load(_ base: UnsafeRawPointer, _ index: Int) -> Double {
    switch element {
    case .float16:
      Double(base.load(fromByteOffset: index * 2, as: Float16.self))
    case .bfloat16:
      Double(Float(bitPattern: UInt32(base.load(fromByteOffset: index * 2, as: UInt16.self)) << 16))
    case .float32: Double(base.load(fromByteOffset: index * 4, as: Float.self))
    case .float64: base.load(fromByteOffset: index * 8, as: Double.self)
    }
  }
}
