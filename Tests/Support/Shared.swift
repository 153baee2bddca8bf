import Foundation

/// Files that lie beside the package and not in it: golden cases and data sets.
public enum Shared {
  /// The folder: `ABN_SHARED`, or `../shared` beside the package.
  public static var folder: String {
    if let given = ProcessInfo.processInfo.environment["ABN_SHARED"] { return given }
    let root = URL(fileURLWithPath: #filePath)
      .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
    return root.deletingLastPathComponent().appendingPathComponent("shared").path
  }

  /// The path of a file or folder there.
  public static func path(_ relative: String) -> String { folder + "/" + relative }

  /// Whether it is there; says so when it is not, so that a skipped test is seen.
  public static func has(_ relative: String) -> Bool {
    let found = FileManager.default.fileExists(atPath: path(relative))
    if !found { print("skipped: \(relative) is not beside the package (set ABN_SHARED)") }
    return found
  }
}
