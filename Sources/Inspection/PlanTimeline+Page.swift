import ABNFormats
import ABNPlanning

extension PlanTimeline {
  /// One page without any other file: rectangles with their names on hover, zoom with the wheel,
  /// move by dragging, the sum of live bytes as a line.
  package func html(title: String) -> String {
    func text(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self) }
    let plan = JSON.object([
      ("steps", .array(steps.map { .string($0) })),
      (
        "rows",
        .array(
          rectangles.map {
            .array([
              .integer($0.first), .integer($0.last), .integer($0.offset), .integer($0.bytes),
              .string($0.use.rawValue), .string($0.label),
            ])
          })
      ), ("arena", .integer(arenaBytes)), ("peak", .integer(peakStep)),
    ])
    return filled(
      text(PackageResources.timeline_html),
      [
        "title": title.replacing("&", with: "&amp;").replacing("<", with: "&lt;"),
        "style": text(PackageResources.timeline_css), "script": text(PackageResources.timeline_js),
        "plan": plan.line,
      ])
  }

  /// The page with a text for each `{{name}}`, in one go: what a text says of such names stays as
  /// it is.
  private func filled(_ page: String, _ texts: [String: String]) -> String {
    page.replacing(/\{\{(\w+)\}\}/) { match in texts[String(match.1)] ?? String(match.0) }
  }
}
