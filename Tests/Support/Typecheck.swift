import Foundation

/// What the compiler says of a program that a user of the library might write.
public enum Typecheck {
  /// The errors of a file, one a line; empty where it compiles; nil, with a word, where there is no compiler at
  /// hand or the tests' modules are not beside their program.
  public static func errors(of source: String) throws -> [String]? {
    guard let compiler = find("swiftc"), let modules else {
      print("skipped: no swiftc in PATH, or no modules beside the tests' program")
      return nil
    }
    let folder = FileManager.default.temporaryDirectory.appending(path: "abn-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    let file = folder.appending(path: "main.swift")
    try Data(source.utf8).write(to: file)
    let process = Process()
    process.executableURL = URL(filePath: compiler)
    process.arguments =
      ["-typecheck", "-swift-version", "6", "-I", modules, "-module-cache-path", folder.path]
      + moduleMaps.flatMap { ["-Xcc", "-fmodule-map-file=\($0)"] } + [file.path]
    let pipe = Pipe()
    process.standardError = pipe
    process.standardOutput = pipe
    try process.run()
    let output = pipe.fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    let lines = String(decoding: output, as: UTF8.self).split(separator: "\n").map(String.init)
    let errors = lines.filter { $0.contains(": error:") }
    return process.terminationStatus == 0 || !errors.isEmpty ? errors : lines
  }

  private static func find(_ name: String) -> String? {
    (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":")
      .map { "\($0)/\(name)" }.first { FileManager.default.isExecutableFile(atPath: $0) }
  }

  /// The folder of the build's products, where the tests' program lies.
  private static let products = URL(filePath: "/proc/self/exe").resolvingSymlinksInPath()
    .deletingLastPathComponent()

  private static var modules: String? {
    let folder = products.appending(path: "Modules").path
    let umbrella = folder + "/InPlaceABN.swiftmodule"
    return FileManager.default.fileExists(atPath: umbrella) ? folder : nil
  }

  /// Of the modules in C that rooms of the library import: those that the build made, and those by hand.
  private static var moduleMaps: [String] {
    let built = (try? FileManager.default.contentsOfDirectory(atPath: products.path)) ?? []
    let sources = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent().appending(path: "Sources")
    let maps =
      built.sorted().filter { $0.hasPrefix("C") && $0.hasSuffix(".build") }
      .map { products.appending(path: "\($0)/module.modulemap").path }
      + [
        sources.appending(path: "CZlib/module.modulemap").path,
        products.deletingLastPathComponent().deletingLastPathComponent().appending(
          path: "checkouts/swift-numerics/Sources/_NumericsShims/include/module.modulemap"
        ).path,
      ]
    return maps.filter { FileManager.default.fileExists(atPath: $0) }
  }
}
