/// A place in the user's source code.
public struct SourceLocation: Sendable, Hashable, CustomStringConvertible {
  /// The file's name without its folders.
  public let file: String
  /// The line, from 1.
  public let line: Int

  /// A place given by `#fileID` and `#line`.
  public init(fileID: StaticString, line: UInt) {
    let path = String(describing: fileID)
    file = String(path.split(separator: "/").last ?? "")
    self.line = Int(clamping: line)
  }

  public var description: String { "\(file):\(line)" }
}

/// What went wrong because of something the caller gave: what, where, got, wanted, what to do.
public struct ABNError: Error, Sendable, Hashable, CustomStringConvertible {
  /// The kind of mistake, for callers that handle some of them.
  public enum Category: String, Sendable, Hashable {
    /// A shape or rank that does not fit.
    case shape
    /// An element type that does not fit.
    case dtype
    /// An attribute outside its range.
    case attribute
    /// A name that is unknown or used twice.
    case name
    /// A program that is not legal.
    case program
    /// A feed or a fetch that does not fit the program.
    case feed
    /// A file that is missing, damaged or cannot be written.
    case file
    /// Values that are outside their range (labels, for one).
    case data
    /// Something this build or backend cannot do.
    case unsupported
    /// A library or the system refused.
    case system
  }

  /// The kind of mistake.
  public let category: Category
  /// The thing that is wrong: `inplaceABN "bn1": input`.
  public let what: String
  /// Where it is: a source line, a file and offset; nil where `what` says it all.
  public let location: String?
  /// What was found.
  public let got: String
  /// What is allowed.
  public let wanted: String
  /// What the caller can do about it; empty where `wanted` says it.
  public let fix: String

  /// An error with these parts, each of them as `DisplayText.line` gives it: names and texts out of
  /// files may hold anything, and be of any length.
  public init(
    _ category: Category, _ what: String, at location: (some CustomStringConvertible)?,
    got: String, wanted: String, fix: String = ""
  ) {
    self.category = category
    self.what = DisplayText.line(what)
    self.location = location.map { DisplayText.line($0.description) }
    self.got = DisplayText.line(got)
    self.wanted = DisplayText.line(wanted)
    self.fix = DisplayText.line(fix)
  }

  /// An error without a place of its own.
  public init(
    _ category: Category, _ what: String, got: String, wanted: String, fix: String = ""
  ) {
    self.init(category, what, at: String?.none, got: got, wanted: wanted, fix: fix)
  }

  /// The same error at a place, unless it has one already.
  package func located(in prefix: String, at place: SourceLocation) -> ABNError {
    location != nil
      ? self
      : ABNError(
        category, prefix.isEmpty ? what : "\(prefix): \(what)", at: place, got: got,
        wanted: wanted, fix: fix)
  }

  /// One line: what (where): got ..., wanted ... . What to do.
  public var description: String {
    let place = location.map { " (\($0))" } ?? ""
    let advice = fix.isEmpty ? "" : " \(fix)"
    return "\(what)\(place): got \(got), wanted \(wanted).\(advice)"
  }
}
