/// Pages of one file: a template, and what stands in its places. Templates, style sheets and
/// scripts are resources of the rooms whose pages they are.
package enum HTMLPage {
  /// The template with a text for each `{{name}}`, in one go: what a text says of such names stays
  /// as it is. A name without a text stays too.
  package static func filled(_ template: String, _ texts: [String: String]) -> String {
    template.replacing(/\{\{(\w+)\}\}/) { match in texts[String(match.1)] ?? String(match.0) }
  }

  /// A text as the content of an element.
  package static func escaped(_ text: String) -> String {
    text.replacing("&", with: "&amp;").replacing("<", with: "&lt;")
  }
}
