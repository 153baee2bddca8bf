/// The machine code of kernels.
enum KernelCache {
  /// The code of a kernel for a card.
  static func image(of source: KernelSource, _ device: CUDADevice) throws -> [UInt8] {
    try device.compiler.compile(
      source.whole, name: source.name, architecture: device.card.architecture,
      options: source.defines)
  }
}
