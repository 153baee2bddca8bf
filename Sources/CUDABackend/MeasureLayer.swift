import ABNActivations
import ABNGraph
import ABNPlanning
import ABNRuntime
import ABNTensors

/// The time of the in-place layer on a card, against a copy of as many bytes.
package struct CardLayerTiming: Sendable, Codable {
  /// Medians by the card's clock.
  package let forwardMilliseconds: Double
  package let backwardMilliseconds: Double
  /// A copy of as many bytes as a forward pass moves at least (x read, z written), and as a
  /// backward pass does (z and dz read, dx written).
  package let forwardCopyMilliseconds: Double
  package let backwardCopyMilliseconds: Double
  /// Whether the kernels that read memory once ran it.
  package let isResident: Bool
  /// The largest differences of z and dx from those of the kernels of any size, over 1 + their
  /// magnitude; 0 where those ran.
  package let forwardDifference: Double
  package let backwardDifference: Double

  /// Forward and backward.
  package var milliseconds: Double { forwardMilliseconds + backwardMilliseconds }
}

/// Times the layer in training on random numbers, in several tensors in turn, so that the card's
/// cache does not hold the next one.
package func measureLayer(
  device ordinal: Int, shape: Shape, layout: DataLayout, dtype: DType, activation: Activation,
  tuning text: String? = nil, rounds: Int = 15
) throws -> CardLayerTiming {
  let device = try CUDADevice.device(ordinal)
  let tuning = try text.map { text in
    guard let tuning = LayerTuning(text) else {
      throw ABNError(
        .attribute, "tuning", got: text,
        wanted: "threads, blocks, groups and lanes, as 512x2x1x16x8")
    }
    return tuning
  }
  let bench = try LayerBench(
    device, shape: shape, layout: layout, dtype, activation, tuning ?? LayerTuning())
  let differences = try bench.differences()
  let (forward, backward) = try bench.times(rounds)
  let copies = try bench.copyTimes(rounds)
  return CardLayerTiming(
    forwardMilliseconds: forward, backwardMilliseconds: backward,
    forwardCopyMilliseconds: copies, backwardCopyMilliseconds: copies * 1.5,
    isResident: bench.plan.resident != nil, forwardDifference: differences.z,
    backwardDifference: differences.dx)
}

private final class LayerBench {
  private let device: CUDADevice
  private let memory: CUDAMemory
  private let type: TensorType
  let plan: LayerPlan
  private let room: RescueRoom
  private var pieces: [MemoryPiece] = []
  private let xs: [MemoryPiece]
  private let dzs: [MemoryPiece]
  private let timer: DeviceTimer
  private let operands = LayerForwardOperands(
    x: 0, z: 0, scale: 2, bias: 3, movingMean: 4, movingVariance: 5, saved: 6, rows: 7, room: 8)
  private let backwardOperands = LayerBackwardOperands(
    kept: 0, dz: 1, dx: 1, scale: 2, bias: 3, saved: 6, scaleGradient: 9, biasGradient: 10,
    rows: 7, room: 8)
  private static let scratch = 11

  init(
    _ device: CUDADevice, shape: Shape, layout: DataLayout, _ dtype: DType,
    _ activation: Activation, _ tuning: LayerTuning
  ) throws {
    self.device = device
    memory = try CUDAMemory.memory(of: device)
    timer = try DeviceTimer(device)
    type = TensorType(shape, dtype)
    let geometry = ImageGeometry(shape, layout, .rowMajor)
    let variant = LayerVariant(
      geometry: geometry, dtype: dtype, activation: activation, isTraining: true, rescues: true,
      epsilon: 1e-5, momentum: 0.9)
    plan = try LayerPlan(variant, device, tuning: tuning)
    let (memory, type) = (memory, type)
    func tensor(_ seed: UInt32) throws -> MemoryPiece {
      let piece = try MemoryPiece(type.bytes, memory)
      try RandomNumbers.fill(piece.base, shape.elementCount, dtype, device, seed: seed)
      return piece
    }
    // As many as are larger together than any cache.
    let count = max(2, min(8, 400_000_000 / max(type.bytes, 1)))
    xs = try (0..<UInt32(count)).map(tensor)
    dzs = try (0..<UInt32(count)).map { try tensor(100 + $0) }
    room = RescueRoom(
      rows: BufferID(0), room: BufferID(1), far: HostRows(bytes: 0),
      slots: max(1, geometry.channels / 32), farSlots: 0)
    let (channels, real) = (geometry.channels, dtype.accumulation)
    func parameter(_ rows: Int, random: Bool) throws -> MemoryPiece {
      let piece = try MemoryPiece(rows * channels * real.bytes, memory)
      if random {
        let values = (0..<rows * channels).map { 0.5 + Double($0 * 7 % 11) / 10 }
        try Tensor(values, shape: [rows * channels]).cast(to: real).withUnsafeBytes {
          try memory.copyIn($0, to: piece.base)
        }
      }
      return piece
    }
    let rowBytes = geometry.batch * geometry.spatial * dtype.bytes
    pieces = [
      try parameter(1, random: true), try parameter(1, random: true),
      try parameter(1, random: false), try parameter(1, random: true),
      try parameter(3, random: false), try MemoryPiece(4 * channels, memory),
      try MemoryPiece(room.slots * rowBytes, memory), try parameter(1, random: false),
      try parameter(1, random: false),
      try MemoryPiece(
        max(
          plan.forwardBytes, plan.backwardBytes, plan.general.forwardBytes,
          plan.general.backwardBytes), memory),
    ]
  }

  private func run(_ launches: [KernelLaunch], x: MemoryPiece, dz: MemoryPiece) throws {
    let addresses = [x.base, dz.base] + pieces.map(\.base)
    try addresses.withUnsafeBufferPointer { addresses in
      for launch in launches {
        try launch.run(device, StepPointers(base: addresses.baseAddress!))
      }
    }
  }

  /// Both kinds of kernels on the same numbers.
  func differences() throws -> (z: Double, dx: Double) {
    guard let resident = plan.resident else { return (0, 0) }
    let (x, dz) = (
      try MemoryPiece(type.bytes, memory), try MemoryPiece(type.bytes, memory)
    )
    func copy(_ source: MemoryPiece, to target: MemoryPiece) throws {
      try device.driver.check(
        device.driver.copy(
          DeviceAddress(UInt(bitPattern: target.base)),
          DeviceAddress(UInt(bitPattern: source.base)), type.bytes, device.stream), "copy")
    }
    let shared = try MemoryPiece(type.bytes, memory)
    var results: [(z: [Double], dx: [Double])] = []
    for isResident in [true, false] {
      try copy(xs[0], to: x)
      try copy(dzs[0], to: dz)
      try run(
        isResident
          ? resident.forward(operands, room, scratch: Self.scratch)
          : plan.general.forward(operands, room, scratch: Self.scratch), x: x, dz: dz)
      let z = try memory.values(of: x, type)
      // From one z: where two differ in the sign of a rounding, so do the derivatives.
      if isResident { try copy(x, to: shared) } else { try copy(shared, to: x) }
      try run(
        isResident
          ? resident.backward(backwardOperands, room, scratch: Self.scratch)
          : plan.general.backward(backwardOperands, room, scratch: Self.scratch), x: x, dz: dz)
      results.append((z, try memory.values(of: dz, type)))
    }
    func largest(_ a: [Double], _ b: [Double]) -> Double {
      zip(a, b).reduce(0) {
        let difference = abs($1.0 - $1.1) / (1 + abs($1.1))
        return difference.isNaN ? .infinity : max($0, difference)
      }
    }
    return (largest(results[0].z, results[1].z), largest(results[0].dx, results[1].dx))
  }

  func times(_ rounds: Int) throws -> (forward: Double, backward: Double) {
    let forward = try plan.forward(operands, room, scratch: Self.scratch)
    let backward = try plan.backward(backwardOperands, room, scratch: Self.scratch)
    var turn = 0
    func time(_ launches: [KernelLaunch]) throws -> Double {
      try median(rounds) {
        turn = (turn + 1) % xs.count
        try run(launches, x: xs[turn], dz: dzs[turn])
      }
    }
    return (try time(forward), try time(backward))
  }

  /// A copy by the driver from one tensor to another.
  func copyTimes(_ rounds: Int) throws -> Double {
    var turn = 0
    return try median(rounds) {
      turn = (turn + 1) % xs.count
      try device.driver.check(
        device.driver.copy(
          DeviceAddress(UInt(bitPattern: dzs[turn].base)),
          DeviceAddress(UInt(bitPattern: xs[turn].base)), type.bytes, device.stream), "copy")
    }
  }

  private func median(_ rounds: Int, _ body: () throws -> Void) throws -> Double {
    for _ in 0..<3 { try body() }
    let times = try (0..<rounds).map { _ in try timer.milliseconds(body) }.sorted()
    return Double(times[times.count / 2])
  }
}
