import ABNTensors

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

/// A shared library that is looked for when it is needed, so that nothing of it is needed to build
/// the package or to run it on the processor.
final class Library: @unchecked Sendable {
  // Sendable: the handle is valid from init to the end of the process, and dlsym may be called from
  // any thread.
  private let handle: UnsafeMutableRawPointer
  /// What was loaded: a path, or the name by which the loader found it.
  let path: String

  /// - Parameters:
  ///   - names: file names, the preferred one first.
  ///   - package: what brings the library, for the error.
  /// - Throws: `ABNError(.system)` where no place has it.
  init(_ names: [String], package: String) throws {
    var reasons: [String] = []
    for folder in CUDAFolders.searched {
      for name in names {
        let path = folder.isEmpty ? name : "\(folder)/\(name)"
        // A missing file is the usual case; what the loader says of one that is there counts.
        if !folder.isEmpty, access(path, F_OK) != 0 { continue }
        if let found = dlopen(path, RTLD_NOW | RTLD_GLOBAL) {
          handle = found
          self.path = path
          return
        }
        reasons.append(dlerror().map { String(cString: $0) } ?? path)
      }
    }
    throw ABNError(
      .system, "library \(names[0])",
      got: reasons.first ?? "not found in \(CUDAFolders.searched.count) folders",
      wanted: "\(names.joined(separator: " or ")) on this machine",
      fix: "Install \(package), or name the folder that has it in ABN_CUDA_PATH.")
  }

  /// A function of the library, as a C function type.
  ///
  /// - Throws: `ABNError(.system)` where the library is too old to have it.
  func function<F>(_ name: String, as type: F.Type = F.self) throws -> F {
    guard let symbol = dlsym(handle, name) else {
      throw ABNError(
        .system, "library \(path)", got: "no function \(name)", wanted: "a newer version",
        fix: "See Documentation/GPU.md for the least versions.")
    }
    return unsafeBitCast(symbol, to: type)
  }
}

/// The folders in which CUDA's libraries are looked for, in this order: those of `ABN_CUDA_PATH`
/// (separated by colons), the loader's own (an empty name), CUDA's usual folder, and the `nvidia-*`
/// wheels of the Python in use.
enum CUDAFolders {
  static let searched: [String] =
    given + ["", "/usr/local/cuda/lib64", "/usr/local/cuda/targets/x86_64-linux/lib"] + wheels

  private static var given: [String] {
    getenv("ABN_CUDA_PATH").map { String(cString: $0).split(separator: ":").map(String.init) } ?? []
  }

  /// `<prefix>/lib/python3.N/site-packages/nvidia/*/lib`, for the prefix of the first python3 of
  /// `PATH`: a virtual environment's python is a link in that environment.
  private static var wheels: [String] {
    var prefixes: [String] = []
    if let path = getenv("PATH") {
      let folders = String(cString: path).split(separator: ":")
      if let first = folders.first(where: { access("\($0)/python3", X_OK) == 0 }) {
        prefixes.append(first.split(separator: "/").dropLast().map { "/\($0)" }.joined())
      }
    }
    for name: String in ["VIRTUAL_ENV", "CONDA_PREFIX"] {
      if let value = getenv(name) { prefixes.append(String(cString: value)) }
    }
    return prefixes.flatMap { (prefix: String) -> [String] in
      entries("\(prefix)/lib").filter { $0.hasPrefix("python3") }.flatMap {
        (version: String) -> [String] in
        let nvidia = "\(prefix)/lib/\(version)/site-packages/nvidia"
        return entries(nvidia).map { "\(nvidia)/\($0)/lib" }.filter { access($0, F_OK) == 0 }
      }
    }
  }

  private static func entries(_ folder: String) -> [String] {
    guard let stream = opendir(folder) else { return [] }
    defer { closedir(stream) }
    var names: [String] = []
    while let entry = readdir(stream) {
      let name = withUnsafePointer(to: &entry.pointee.d_name) {
        $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
      }
      if !name.hasPrefix(".") { names.append(name) }
    }
    return names.sorted()
  }
}
