import ABNTensors

/// The run-time compiler of CUDA C.
struct NVRTC: @unchecked Sendable {
  // Sendable: C functions that may be called from any thread.
  private typealias Handle = OpaquePointer?

  private let create:
    @convention(c) (
      UnsafeMutablePointer<OpaquePointer?>, UnsafePointer<CChar>, UnsafePointer<CChar>?, Int32,
      UnsafeRawPointer?, UnsafeRawPointer?
    ) -> Int32
  private let compileProgram:
    @convention(c) (OpaquePointer?, Int32, UnsafePointer<UnsafePointer<CChar>?>?) -> Int32
  private let destroy: @convention(c) (UnsafeMutablePointer<OpaquePointer?>) -> Int32
  private let imageBytes: @convention(c) (OpaquePointer?, UnsafeMutablePointer<Int>) -> Int32
  private let takeImage: @convention(c) (OpaquePointer?, UnsafeMutablePointer<UInt8>) -> Int32
  private let logBytes: @convention(c) (OpaquePointer?, UnsafeMutablePointer<Int>) -> Int32
  private let takeLog: @convention(c) (OpaquePointer?, UnsafeMutablePointer<UInt8>) -> Int32
  /// Major and minor.
  let version: (major: Int, minor: Int)
  /// Where it was found.
  let path: String

  /// Looks the compiler up.
  ///
  /// - Parameter driverVersion: the driver's, as 1000 * major + 10 * minor: a compiler of a newer
  ///   major makes what that driver does not load.
  /// - Throws: `ABNError(.system)` where there is none, or it is newer than the driver.
  init(driverVersion: Int) throws {
    let majors = (12...max(12, driverVersion / 1000)).reversed()
    let library = try Library(
      majors.map { "libnvrtc.so.\($0)" },
      package: "the Python package nvidia-cuda-nvrtc or CUDA's package cuda-nvrtc")
    path = library.path
    create = try library.function("nvrtcCreateProgram")
    compileProgram = try library.function("nvrtcCompileProgram")
    destroy = try library.function("nvrtcDestroyProgram")
    imageBytes = try library.function("nvrtcGetCUBINSize")
    takeImage = try library.function("nvrtcGetCUBIN")
    logBytes = try library.function("nvrtcGetProgramLogSize")
    takeLog = try library.function("nvrtcGetProgramLog")
    let ask: @convention(c) (UnsafeMutablePointer<Int32>, UnsafeMutablePointer<Int32>) -> Int32 =
      try library.function("nvrtcVersion")
    var (major, minor): (Int32, Int32) = (0, 0)
    _ = ask(&major, &minor)
    version = (Int(major), Int(minor))
  }

  /// Machine code for a card.
  ///
  /// - Parameters:
  ///   - name: for messages.
  ///   - architecture: `sm_90`, say.
  /// - Throws: `ABNError(.system)` with the compiler's first error.
  func compile(_ source: String, name: String, architecture: String, options: [String]) throws
    -> [UInt8]
  {
    var program: OpaquePointer?
    guard create(&program, source, name, 0, nil, nil) == 0 else {
      throw failure(name, "the source was not taken")
    }
    defer { _ = destroy(&program) }
    let all = ["--gpu-architecture=\(architecture)", "--std=c++17"] + options
    let texts = all.map { Array($0.utf8CString) }
    var status: Int32 = 0
    withPointers(to: texts) { status = compileProgram(program, Int32(all.count), $0) }
    guard status == 0 else { throw failure(name, log(of: program)) }
    var count = 0
    guard imageBytes(program, &count) == 0, count > 0 else {
      throw failure(name, "no machine code for \(architecture)")
    }
    var image = [UInt8](repeating: 0, count: count)
    guard takeImage(program, &image) == 0 else { throw failure(name, "the code was not given") }
    return image
  }

  private func withPointers(
    to texts: [[CChar]], _ body: (UnsafePointer<UnsafePointer<CChar>?>) -> Void
  ) {
    // One flat buffer: pointers into arrays are valid only inside of their own closures.
    var flat: [CChar] = []
    var starts: [Int] = []
    for text in texts {
      starts.append(flat.count)
      flat += text
    }
    flat.withUnsafeBufferPointer { all in
      let pointers = starts.map { UnsafePointer<CChar>?(all.baseAddress! + $0) }
      pointers.withUnsafeBufferPointer { body($0.baseAddress!) }
    }
  }

  private func log(of program: OpaquePointer?) -> String {
    var count = 0
    guard logBytes(program, &count) == 0, count > 1 else { return "no message" }
    var text = [UInt8](repeating: 0, count: count)
    guard takeLog(program, &text) == 0 else { return "no message" }
    let lines = String(decoding: text.prefix { $0 != 0 }, as: UTF8.self).split(separator: "\n")
    return String(lines.first { $0.contains("error") } ?? lines.first ?? "no message")
  }

  private func failure(_ name: String, _ text: String) -> ABNError {
    ABNError(
      .system, "kernel \(name)", got: text,
      wanted: "code that NVRTC \(version.major).\(version.minor) compiles",
      fix: "Report it with the versions that abn devices prints.")
  }
}
