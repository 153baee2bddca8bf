import ABNTensors

/// A handle that the driver gives: a context, a stream, a module, a function, an event, a graph.
typealias CUDAHandle = OpaquePointer?
/// An address on the device.
typealias DeviceAddress = UInt64

/// The functions of the CUDA driver that are used, found when a device is asked for.
///
/// Source of names, arguments and numbers: the CUDA Driver API reference, release 12.0.
struct CUDADriver: @unchecked Sendable {
  // Sendable: C functions that may be called from any thread.
  typealias Status = Int32
  private typealias Out<T> = UnsafeMutablePointer<T>

  private let library: Library
  /// Where it was found.
  var path: String { library.path }
  private let errorText:
    @convention(c) (Status, UnsafeMutablePointer<UnsafePointer<CChar>?>) -> Status

  let initialize: @convention(c) (UInt32) -> Status
  let version: @convention(c) (UnsafeMutablePointer<Int32>) -> Status
  let deviceCount: @convention(c) (UnsafeMutablePointer<Int32>) -> Status
  let device: @convention(c) (UnsafeMutablePointer<Int32>, Int32) -> Status
  let deviceName: @convention(c) (UnsafeMutablePointer<CChar>, Int32, Int32) -> Status
  let totalBytes: @convention(c) (UnsafeMutablePointer<Int>, Int32) -> Status
  let attribute: @convention(c) (UnsafeMutablePointer<Int32>, Int32, Int32) -> Status
  let retainContext: @convention(c) (UnsafeMutablePointer<CUDAHandle>, Int32) -> Status
  let setContext: @convention(c) (CUDAHandle) -> Status
  let makeStream: @convention(c) (UnsafeMutablePointer<CUDAHandle>, UInt32) -> Status
  let synchronizeStream: @convention(c) (CUDAHandle) -> Status
  let wait: @convention(c) (CUDAHandle, CUDAHandle, UInt32) -> Status
  let makeEvent: @convention(c) (UnsafeMutablePointer<CUDAHandle>, UInt32) -> Status
  let destroyEvent: @convention(c) (CUDAHandle) -> Status
  let recordEvent: @convention(c) (CUDAHandle, CUDAHandle) -> Status
  let synchronizeEvent: @convention(c) (CUDAHandle) -> Status
  let elapsed: @convention(c) (UnsafeMutablePointer<Float>, CUDAHandle, CUDAHandle) -> Status

  let memoryInfo: @convention(c) (UnsafeMutablePointer<Int>, UnsafeMutablePointer<Int>) -> Status
  let allocate: @convention(c) (UnsafeMutablePointer<DeviceAddress>, Int) -> Status
  let free: @convention(c) (DeviceAddress) -> Status
  let allocateHost:
    @convention(c) (
      UnsafeMutablePointer<UnsafeMutableRawPointer?>, Int, UInt32
    ) -> Status
  let freeHost: @convention(c) (UnsafeMutableRawPointer) -> Status
  let copyIn: @convention(c) (DeviceAddress, UnsafeRawPointer, Int, CUDAHandle) -> Status
  let copyOut: @convention(c) (UnsafeMutableRawPointer, DeviceAddress, Int, CUDAHandle) -> Status
  let copy: @convention(c) (DeviceAddress, DeviceAddress, Int, CUDAHandle) -> Status
  let fill: @convention(c) (DeviceAddress, UInt8, Int, CUDAHandle) -> Status

  let loadModule: @convention(c) (UnsafeMutablePointer<CUDAHandle>, UnsafeRawPointer) -> Status
  let moduleFunction:
    @convention(c) (
      UnsafeMutablePointer<CUDAHandle>, CUDAHandle, UnsafePointer<CChar>
    ) -> Status
  let functionAttribute: @convention(c) (UnsafeMutablePointer<Int32>, Int32, CUDAHandle) -> Status
  let setFunctionAttribute: @convention(c) (CUDAHandle, Int32, Int32) -> Status
  let residentBlocks:
    @convention(c) (
      UnsafeMutablePointer<Int32>, CUDAHandle, Int32, Int
    ) -> Status
  let launch:
    @convention(c) (
      CUDAHandle, UInt32, UInt32, UInt32, UInt32, UInt32, UInt32, UInt32, CUDAHandle,
      UnsafeMutablePointer<UnsafeMutableRawPointer?>?, UnsafeMutableRawPointer?
    ) -> Status
  let launchCooperative:
    @convention(c) (
      CUDAHandle, UInt32, UInt32, UInt32, UInt32, UInt32, UInt32, UInt32, CUDAHandle,
      UnsafeMutablePointer<UnsafeMutableRawPointer?>?
    ) -> Status

  let beginCapture: @convention(c) (CUDAHandle, Int32) -> Status
  let endCapture: @convention(c) (CUDAHandle, UnsafeMutablePointer<CUDAHandle>) -> Status
  let instantiate: @convention(c) (UnsafeMutablePointer<CUDAHandle>, CUDAHandle, UInt64) -> Status
  let launchGraph: @convention(c) (CUDAHandle, CUDAHandle) -> Status
  let destroyGraph: @convention(c) (CUDAHandle) -> Status
  let destroyExecutableGraph: @convention(c) (CUDAHandle) -> Status

  /// Looks the driver up.
  ///
  /// - Throws: `ABNError(.system)` where there is none, or one older than CUDA 12.
  init() throws {
    library = try Library(["libcuda.so.1"], package: "NVIDIA's driver")
    let l = library
    errorText = try l.function("cuGetErrorString")
    initialize = try l.function("cuInit")
    version = try l.function("cuDriverGetVersion")
    deviceCount = try l.function("cuDeviceGetCount")
    device = try l.function("cuDeviceGet")
    deviceName = try l.function("cuDeviceGetName")
    totalBytes = try l.function("cuDeviceTotalMem_v2")
    attribute = try l.function("cuDeviceGetAttribute")
    retainContext = try l.function("cuDevicePrimaryCtxRetain")
    setContext = try l.function("cuCtxSetCurrent")
    makeStream = try l.function("cuStreamCreate")
    synchronizeStream = try l.function("cuStreamSynchronize")
    wait = try l.function("cuStreamWaitEvent")
    makeEvent = try l.function("cuEventCreate")
    destroyEvent = try l.function("cuEventDestroy_v2")
    recordEvent = try l.function("cuEventRecord")
    synchronizeEvent = try l.function("cuEventSynchronize")
    elapsed = try l.function("cuEventElapsedTime")
    memoryInfo = try l.function("cuMemGetInfo_v2")
    allocate = try l.function("cuMemAlloc_v2")
    free = try l.function("cuMemFree_v2")
    allocateHost = try l.function("cuMemHostAlloc")
    freeHost = try l.function("cuMemFreeHost")
    copyIn = try l.function("cuMemcpyHtoDAsync_v2")
    copyOut = try l.function("cuMemcpyDtoHAsync_v2")
    copy = try l.function("cuMemcpyDtoDAsync_v2")
    fill = try l.function("cuMemsetD8Async")
    loadModule = try l.function("cuModuleLoadData")
    moduleFunction = try l.function("cuModuleGetFunction")
    functionAttribute = try l.function("cuFuncGetAttribute")
    setFunctionAttribute = try l.function("cuFuncSetAttribute")
    residentBlocks = try l.function("cuOccupancyMaxActiveBlocksPerMultiprocessor")
    launch = try l.function("cuLaunchKernel")
    launchCooperative = try l.function("cuLaunchCooperativeKernel")
    beginCapture = try l.function("cuStreamBeginCapture_v2")
    endCapture = try l.function("cuStreamEndCapture")
    instantiate = try l.function("cuGraphInstantiateWithFlags")
    launchGraph = try l.function("cuGraphLaunch")
    destroyGraph = try l.function("cuGraphDestroy")
    destroyExecutableGraph = try l.function("cuGraphExecDestroy")
    try check(initialize(0), "cuInit", fix: "nvidia-smi tells what the driver sees.")
  }

  /// Throws what the driver refused.
  func check(_ status: Status, _ what: @autoclosure () -> String, fix: String = "") throws {
    guard status != 0 else { return }
    throw ABNError(
      .system, "GPU: \(what())", got: "\(text(of: status)) (error \(status))", wanted: "success",
      fix: fix)
  }

  /// What the driver says of an error.
  func text(of status: Status) -> String {
    var message: UnsafePointer<CChar>?
    _ = errorText(status, &message)
    return message.map { String(cString: $0) } ?? "an unknown error"
  }

  /// The version as 1000 * major + 10 * minor.
  func versionNumber() throws -> Int {
    var number: Int32 = 0
    try check(version(&number), "version of the driver")
    return Int(number)
  }
}
