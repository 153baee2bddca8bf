import ABNActivations
import ABNOperators
import ABNPlanning
import ABNRuntime
import ABNTensors

/// Where a layer keeps the x of channels that its z does not give back: for each channel a row or
/// none, rows on the card, and more of them in memory of the host.
struct RescueRoom: Sendable {
  /// A number for each channel: its row, or -1.
  let rows: BufferID
  let room: BufferID
  let far: HostRows
  let slots: Int
  let farSlots: Int

  init(rows: BufferID, room: BufferID, far: HostRows, slots: Int, farSlots: Int) {
    (self.rows, self.room, self.far) = (rows, room, far)
    (self.slots, self.farSlots) = (slots, farSlots)
  }

  init(_ geometry: ImageGeometry, _ dtype: DType, _ c: inout CUDAContext) {
    let rowBytes = geometry.batch * geometry.spatial * dtype.bytes
    // In the usual step none is needed.
    slots = 1
    farSlots = geometry.channels - slots
    rows = c.intermediate("rows of the rescue", bytes: 4 * geometry.channels)
    room = c.intermediate("rescued x", bytes: slots * rowBytes)
    far = HostRows(bytes: farSlots * rowBytes)
  }
}

/// What the kernels of a layer are compiled for, and what all of them are told.
struct LayerVariant: Sendable {
  let geometry: ImageGeometry
  let dtype: DType
  let activation: Activation
  /// An activation behind the layer, whose value is made or whose gradient is taken with it.
  var outer: Activation = .identity
  /// Whether the statistics are those of the batch.
  let isTraining: Bool
  /// Whether channels keep x aside, or may have kept it.
  let rescues: Bool
  /// Whether the backward pass reads x, which was not overwritten.
  var readsInput = false
  let epsilon: Double
  var momentum = 0.0

  /// Elements of a channel.
  var count: Int { geometry.batch * geometry.spatial }

  /// The defines of every kernel of the layer.
  func defines() throws -> [String] {
    [
      "-DT=\(try dtype.deviceType())", "-DACT=\(activation.number)", "-DOUTER=\(outer.number)",
      "-DTRAIN=\(isTraining ? 1 : 0)", "-DRESCUE=\(rescues ? 1 : 0)",
      "-DFROM_X=\(readsInput ? 1 : 0)",
    ]
  }

  /// struct LayerNumbers.
  var numbers: KernelArgument {
    let alpha = activation.alpha ?? outer.alpha ?? 1
    return .fields([.f64(epsilon), .f64(momentum), .f64(alpha)])
  }
}

/// Where the operands of a forward pass stand among the step's arguments.
struct LayerForwardOperands: Sendable {
  let x, z, scale, bias, movingMean, movingVariance: Int
  var saved: Int?
  var slopes: Int?
  var momentum: Int?
  var outer: Int?
  var rows: Int?
  var room: Int?

  /// struct StatisticsPointers.
  var statistics: KernelArgument {
    .fields([
      saved.map { .pointer($0) } ?? .null, .pointer(movingMean), .pointer(movingVariance),
      momentum.map { .pointer($0) } ?? .null,
    ])
  }
}

/// Where the operands of a backward pass stand among the step's arguments.
struct LayerBackwardOperands: Sendable {
  let kept, dz, dx, scale, bias, saved, scaleGradient, biasGradient: Int
  var slopes: Int?
  var slopeGradient: Int?
  var rows: Int?
  var room: Int?

  /// struct ParameterGradients, the slopes' shares being somewhere in scratch memory.
  func gradients(slopeShares: KernelArgument) -> KernelArgument {
    .fields([.pointer(scaleGradient), .pointer(biasGradient), slopeShares])
  }
}

extension Optional where Wrapped == RescueRoom {
  /// struct Rescue.
  func argument(rows: Int?, room: Int?, _ device: CUDADevice) -> KernelArgument {
    guard let own = self, let rows, let room else {
      return .fields([.null, .null, .null, .null, .i32(0), .i32(0)])
    }
    return .fields([
      .pointer(rows), .pointer(room), .host(own.far), .address(device.faultAddress),
      .i32(Int32(own.slots)), .i32(Int32(own.farSlots)),
    ])
  }
}
