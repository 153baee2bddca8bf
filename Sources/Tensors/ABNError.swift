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
  public func located(in prefix: String, at place: SourceLocation) -> ABNError {
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

/// The nearest of `candidates` to a mistyped word, if one is near (at most a third of its letters
/// wrong, two for short words). Nothing of more than 256 bytes is near to anything.
public func nearestMatch(to word: String, in candidates: [String]) -> String? {
  let mostBytes = 256
  guard word.utf8.count <= mostBytes else { return nil }
  func distance(_ a: [Character], _ b: [Character]) -> Int {
    var row = Array(0...b.count)
    for i in 0..<a.count {
      var diagonal = row[0]
      row[0] = i + 1
      for j in 0..<b.count {
        let up = row[j + 1]
        row[j + 1] = min(min(up, row[j]) + 1, diagonal + (a[i] == b[j] ? 0 : 1))
        diagonal = up
      }
    }
    return row[b.count]
  }
  let letters = Array(word.lowercased())
  let best = candidates.filter { $0.utf8.count <= mostBytes }.map {
    ($0, distance(letters, Array($0.lowercased())))
  }
  .min { $0.1 < $1.1 }
  guard let best, best.1 <= max(2, letters.count / 3) else { return nil }
  return best.0
}
