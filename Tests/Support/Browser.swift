import Foundation

/// Chromium without a window, where it is installed: what a page looks like to a script in it, and what
/// the browser complains of.
package struct Browser {
  /// What came of a page.
  package struct Visit {
    /// What the script in the page found: the object that it returned.
    package let found: [String: Any]
    /// The lines of the page's console.
    package let console: [String]
  }

  /// Where the browser is; nil where there is none, and then the caller says what it skips.
  package static let path: String? = {
    let folders = (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":")
    return folders.flatMap { folder in
      ["chromium", "chromium-browser", "google-chrome"].map { "\(folder)/\($0)" }
    }.first { FileManager.default.isExecutableFile(atPath: $0) }
  }()

  /// Opens a page and runs a script in it when it has been drawn.
  ///
  /// - Parameters:
  ///   - page: the text of the page.
  ///   - width: of the window in pixels.
  ///   - script: the body of an async function in which `frame` is the page's window; returns an object.
  /// - Returns: nil where there is no browser.
  package static func visit(
    _ page: String, width: Int, isDark: Bool = false, script: String
  ) throws -> Visit? {
    guard let path else { return nil }
    let folder = FileManager.default.temporaryDirectory.path + "/abn-page-\(UUID().uuidString)"
    let files = FileManager.default
    try files.createDirectory(atPath: folder, withIntermediateDirectories: true)
    defer { try? files.removeItem(atPath: folder) }
    try page.write(toFile: folder + "/page.html", atomically: false, encoding: .utf8)
    // A window is never narrower than 500 pixels; a frame is.
    let host = """
      <!doctype html><meta charset="utf-8"><body style="margin:0">
      <iframe id="page" src="page.html" style="border:0;width:\(width)px;height:1000px"></iframe>
      <pre id="found"></pre>
      <script>
      const page = document.getElementById("page");
      page.onload = async () => {
        await new Promise(done => setTimeout(done, 300));
        const frame = page.contentWindow;
        let found;
        try { found = await (async () => { \(script) })(); } catch (error) { found = { failure: String(error) }; }
        document.getElementById("found").textContent = btoa(unescape(encodeURIComponent(JSON.stringify(found))));
      };
      </script></body>
      """
    try host.write(toFile: folder + "/host.html", atomically: false, encoding: .utf8)
    let process = Process()
    process.executableURL = URL(filePath: path)
    process.arguments = [
      "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
      "--user-data-dir=\(folder)/profile", "--allow-file-access-from-files",
      "--blink-settings=preferredColorScheme=\(isDark ? 0 : 1)", "--enable-logging=stderr",
      "--window-size=\(max(width, 600)),1000", "--virtual-time-budget=8000", "--dump-dom",
      "file://\(folder)/host.html",
    ]
    let (output, errors) = (folder + "/out", folder + "/err")
    for name in [output, errors] { try Data().write(to: URL(filePath: name)) }
    process.standardOutput = try FileHandle(forWritingTo: URL(filePath: output))
    process.standardError = try FileHandle(forWritingTo: URL(filePath: errors))
    process.standardInput = FileHandle.nullDevice
    try process.run()
    let deadline = ContinuousClock.now + .seconds(120)
    while process.isRunning, .now < deadline { usleep(20_000) }
    if process.isRunning { kill(process.processIdentifier, SIGKILL) }
    process.waitUntilExit()
    let dom = try String(contentsOfFile: output, encoding: .utf8)
    let log = try String(contentsOfFile: errors, encoding: .utf8)
    var found: [String: Any] = ["failure": "the script did not end: \(log.suffix(2000))"]
    if let match = dom.firstMatch(of: /<pre id="found">([A-Za-z0-9+\/=]+)<\/pre>/),
      let data = Data(base64Encoded: String(match.1)),
      let object = try JSONSerialization.jsonObject(with: data) as? [String: Any]
    {
      found = object
    }
    return Visit(
      found: found,
      console: log.split(separator: "\n").filter { $0.contains("CONSOLE") }.map(String.init))
  }
}
