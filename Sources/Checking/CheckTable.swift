extension CheckCase {
  /// Group, name, type and layout.
  package var line: String {
    [group.rawValue, name, dtype.shortName, layout?.rawValue].compactMap { $0 }
      .joined(separator: " ")
  }
}

/// Lines of at most 80 columns for people.
extension CheckRow {
  /// Above a table.
  package static let heading =
    columns("", 7) + " " + columns("case", 41) + " type layout    error    bound"

  /// The line of a table.
  package var line: String {
    let error = error.map(short) ?? (verdict == .fail ? "-" : "")
    return columns(verdict.rawValue, 7) + " " + Self.title(name, type, layout)
      + right(error, 8) + " " + right(verdict == .refused ? "" : short(bound), 8)
  }

  /// What differed, behind the name of the case.
  package var details: String {
    let place = [group, name, type, layout].compactMap { $0 }.joined(separator: ", ")
    return "\(verdict.rawValue): \(place)\n  \(reason ?? "")"
  }

  fileprivate static func title(_ name: String, _ type: String, _ layout: String?) -> String {
    columns(name, 41) + " " + columns(type, 4) + " " + columns(layout ?? "", 6) + " "
  }
}

/// The text in a column of this width: filled up, or cut.
private func columns(_ text: String, _ width: Int) -> String {
  text.count > width
    ? text.prefix(width - 1) + "~" : text + String(repeating: " ", count: width - text.count)
}

private func right(_ text: String, _ width: Int) -> String {
  String(repeating: " ", count: max(0, width - text.count)) + text
}

/// Two digits: 1.2e-07.
private func short(_ value: Double) -> String {
  guard value > 0, value.isFinite else { return "\(value == 0 ? "0" : "\(value)")" }
  var (digits, exponent) = (value, 0)
  while digits < 1 { (digits, exponent) = (digits * 10, exponent - 1) }
  while digits >= 10 { (digits, exponent) = (digits / 10, exponent + 1) }
  var tenths = Int((digits * 10).rounded())
  if tenths == 100 { (tenths, exponent) = (10, exponent + 1) }
  let sign = exponent < 0 ? "-" : "+"
  return
    "\(tenths / 10).\(tenths % 10)e\(sign)\(exponent.magnitude < 10 ? "0" : "")\(exponent.magnitude)"
}
