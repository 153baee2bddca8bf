/// What the driver says of a card: sizes that grids and shared memory follow.
struct CUDACard: Sendable, Hashable {
  let name: String
  let totalBytes: Int
  let multiprocessors: Int
  /// Bytes of shared memory that the blocks of a multiprocessor have together.
  let sharedPerMultiprocessor: Int
  /// The most that one block may ask for.
  let sharedPerBlock: Int
  let major: Int
  let minor: Int
  /// Whether kernels may be launched so that all their blocks are resident at once.
  let hasCooperativeLaunch: Bool
  /// Whether kernels reach all memory of the process.
  let readsHostMemory: Bool

  /// The name by which NVRTC knows the card's instruction set.
  var architecture: String { "sm_\(major)\(minor)" }

  /// The card number `ordinal` of the driver.
  init(_ driver: CUDADriver, ordinal: Int32) throws {
    var text = [CChar](repeating: 0, count: 256)
    try driver.check(driver.deviceName(&text, 256, ordinal), "name of device \(ordinal)")
    name = String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    var bytes = 0
    try driver.check(driver.totalBytes(&bytes, ordinal), "memory of device \(ordinal)")
    totalBytes = bytes
    func attribute(_ number: Int32) throws -> Int {
      var value: Int32 = 0
      try driver.check(
        driver.attribute(&value, number, ordinal), "attribute \(number) of device \(ordinal)")
      return Int(value)
    }
    // Numbers of CUdevice_attribute, CUDA Driver API reference.
    multiprocessors = try attribute(16)
    sharedPerMultiprocessor = try attribute(81)
    sharedPerBlock = try attribute(97)
    major = try attribute(75)
    minor = try attribute(76)
    hasCooperativeLaunch = try attribute(95) != 0
    readsHostMemory = try attribute(88) != 0
  }
}
