import ABNGraph
import ABNOperators
import ABNTensors

/// The time of one product of a convolution on a card, and how far it is from the formula.
package struct ConvolutionTiming: Sendable, Codable {
  /// The convolution, as N x C x H x W -> F, kernel, stride.
  package let shape: String
  /// forward, dataGradient or weightGradient, and how the images stand.
  package let product: String
  /// The median, by the card's clock; 0 where the library has no engine.
  package let milliseconds: Double
  /// Floating-point operators a second, in 1e12.
  package let teraflops: Double
  /// Scratch memory of the chosen engine.
  package let workspaceBytes: Int
  /// The engine's number in the library, -1 where there is none.
  package let engine: Int
  /// The largest difference from the kernel that follows the formula, over the root mean square of
  /// its results.
  package let error: Double
}

/// Times the convolutions of ResNet-50 and some others, alone, on random numbers.
package func measureConvolutions(
  device ordinal: Int, precision: CUDAPrecision, batch: Int
) throws -> [ConvolutionTiming] {
  let device = try CUDADevice.device(ordinal)
  // Channels, size, filters, kernel, stride, groups.
  let cases: [(Int, Int, Int, Int, Int, Int)] = [
    (3, 224, 64, 7, 2, 1), (64, 56, 64, 1, 1, 1), (64, 56, 64, 3, 1, 1), (64, 56, 256, 1, 1, 1),
    (256, 56, 64, 1, 1, 1), (128, 56, 128, 3, 2, 1), (128, 28, 128, 3, 1, 1),
    (256, 56, 512, 1, 2, 1), (1024, 14, 256, 1, 1, 1), (512, 7, 512, 3, 1, 1),
    (32, 56, 32, 3, 1, 32),
  ]
  let orders: [ImageOrder] =
    precision == .float32 ? [.rowMajor, .channelsLast] : [.channelsLast]
  return try cases.flatMap { channels, size, filters, kernel, stride, groups in
    let dtype: DType = precision == .bfloat16 ? .bfloat16 : .float32
    let kind = try Conv2D(
      window: Window2D(
        kernel: [kernel, kernel], stride: [stride, stride], padding: .uniform(kernel / 2)),
      groups: groups)
    let text =
      "\(batch)x\(channels)x\(size)x\(size) to \(filters), \(kernel)x\(kernel) by \(stride)"
      + (groups > 1 ? ", \(groups) groups" : "")
    return try orders.flatMap { order in
      let operands = try ConvolutionOperands(
        kind, x: TensorType([batch, channels, size, size], dtype),
        w: TensorType([filters, channels / groups, kernel, kernel], dtype), order: order)
      return try [ConvolutionProduct.Kind.forward, .dataGradient, .weightGradient].map {
        try measure(
          operands.product($0, allowsTF32: precision != .float32), "\(text), \(order)", device)
      }
    }
  }
}

/// Times one product on random numbers, and compares it with the kernel that follows the formula.
func measure(
  _ product: ConvolutionProduct, _ shape: String, _ device: CUDADevice
) throws -> ConvolutionTiming {
  let memory = try CUDAMemory.memory(of: device)
  func piece(_ sizes: [Int], seed: UInt32 = 0) throws -> MemoryPiece {
    let count = sizes.reduce(1, *)
    let made = try MemoryPiece(count * product.dtype.bytes, memory)
    try RandomNumbers.fill(made.base, count, product.dtype, device, seed: seed)
    return made
  }
  let all = [product.x, product.w, product.y]
  let output = [.forward: 2, .dataGradient: 0, .weightGradient: 1][product.kind]!
  // Not the same numbers in two tensors of one size: their products would all be positive.
  let pieces = try all.enumerated().map { try piece($1, seed: UInt32($0)) }
  guard let plan = try ConvolutionRun(product, device) else {
    return ConvolutionTiming(
      shape: shape, product: product.kind.rawValue, milliseconds: 0, teraflops: 0,
      workspaceBytes: 0, engine: -1, error: 0)
  }
  let scratch = try MemoryPiece(plan.workspaceBytes, memory)
  let timer = try DeviceTimer(device)
  let times = try (0..<12).map { _ in
    try timer.milliseconds {
      try plan.run(
        x: pieces[0].base, w: pieces[1].base, y: pieces[2].base, workspace: scratch.base,
        on: device.stream)
    }
  }.suffix(9).sorted()
  var expected = pieces
  expected[output] = try piece(all[output])
  try product.direct(
    device, expected.map { .address(DeviceAddress(UInt(bitPattern: $0.base))) }
  ).run(device)
  let type = TensorType(Shape([all[output].reduce(1, *)]), product.dtype)
  let (got, wanted) = (
    try memory.values(of: pieces[output], type), try memory.values(of: expected[output], type)
  )
  let size = (wanted.reduce(0) { $0 + $1 * $1 } / Double(wanted.count)).squareRoot()
  let error = zip(got, wanted).reduce(0.0) { max($0, abs($1.0 - $1.1)) } / size
  let milliseconds = Double(times[times.count / 2])
  return ConvolutionTiming(
    shape: shape, product: product.kind.rawValue, milliseconds: milliseconds,
    teraflops: Double(product.flops) / milliseconds / 1e9, workspaceBytes: plan.workspaceBytes,
    engine: plan.engine, error: error.isNaN ? .infinity : error)
}

extension CUDAMemory {
  /// Elements of the card as numbers.
  func values(of piece: MemoryPiece, _ type: TensorType) throws -> [Double] {
    var tensor = try Tensor(uninitialized: type.shape, dtype: type.dtype).checked()
    // The piece gives its bytes back when nobody holds it.
    try withExtendedLifetime(piece) {
      try tensor.withUnsafeMutableBytes { try copyOut(piece.base, to: $0) }
    }
    return tensor.doubles
  }
}
