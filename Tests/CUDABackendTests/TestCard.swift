import ABNCPUBackend
import ABNCUDABackend
import Foundation

/// The card that tests run on: a real one where `ABN_CUDA_PATH` names its libraries, else one that
/// `scripts/cuda-stub` builds, which runs the same kernels on the processor.
enum TestCard {
  /// nil where there is none, with a word.
  static let backend: CUDABackend? = {
    guard isReady else { return nil }
    do {
      return try CUDABackend(host: CPUBackend())
    } catch {
      print("skipped: \(error)")
      return nil
    }
  }()

  /// The folder of the emulated card's libraries; nil where a real card is asked for, and where there is
  /// no compiler for them.
  static let emulation: URL? = {
    guard getenv("ABN_CUDA_PATH") == nil else { return nil }
    let products = URL(filePath: "/proc/self/exe").resolvingSymlinksInPath()
      .deletingLastPathComponent()
    let folder = products.appending(path: "cuda-emulation")
    let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent()
    let script = Process()
    script.executableURL = root.appending(path: "scripts/cuda-stub")
    script.arguments = [folder.path]
    let pipe = Pipe()
    script.standardError = pipe
    do { try script.run() } catch {
      failure = "\(error)"
      return nil
    }
    let text = String(decoding: pipe.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
    script.waitUntilExit()
    switch script.terminationStatus {
    case 0: return folder
    case 3: print("skipped, the tests of the CUDA backend: \(text)")
    default: failure = text
    }
    return nil
  }()

  /// Where the emulation writes the texts of the kernels that it compiles for this process.
  static let sources = FileManager.default.temporaryDirectory.appending(
    path: "abn-kernels-\(getpid())")

  /// What the script said where it failed for another reason than a missing compiler.
  nonisolated(unsafe) private(set) static var failure: String?

  /// Names the libraries to the backend, which looks for them once in a process.
  private static let isReady: Bool = {
    if getenv("ABN_CUDA_PATH") != nil { return true }
    guard let emulation else { return false }
    setenv("ABN_CUDA_PATH", emulation.path, 1)
    // Emulated kernels are no card's: the stub keeps them, by their text.
    setenv("ABN_CUDA_CACHE", "", 1)
    setenv("ABN_STUB_CACHE", emulation.appending(path: "kernels").path, 1)
    // Those of the sources as they are now.
    try? FileManager.default.removeItem(at: sources)
    setenv("ABN_STUB_SOURCES", sources.path, 1)
    atexit { try? FileManager.default.removeItem(at: TestCard.sources) }
    return true
  }()
}
