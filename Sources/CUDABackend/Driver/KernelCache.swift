/// The machine code of kernels, kept from process to process.
enum KernelCache {
  /// The code of a kernel for a card.
  static func image(of source: KernelSource, _ device: CUDADevice) throws -> [UInt8] {
    let version = device.compiler.version
    let architecture = device.card.architecture
    let key = """
      \(architecture), NVRTC \(version.major).\(version.minor), driver \(device.driverVersion)
      \(source.defines.joined(separator: " "))
      \(source.whole)
      """
    if let known = CUDACache.read("kernel", key: key) { return known }
    let image = try device.compiler.compile(
      source.whole, name: source.name, architecture: architecture, options: source.defines)
    CUDACache.write("kernel", key: key, image)
    return image
  }
}
