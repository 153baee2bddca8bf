/// What a caller of a kernel got wrong: what it is about, what was passed, what is wanted, and how
/// to mend it. Nothing has been written to any buffer when a function throws it.
public struct KernelError: Error, Hashable, Sendable, CustomStringConvertible {
  /// The argument or value that is refused.
  public let what: String
  /// The value that was passed.
  public let got: String
  /// What would have been accepted.
  public let wanted: String
  /// What the caller can do.
  public let fix: String

  /// Makes an error from its four parts.
  package init(what: String, got: String, wanted: String, fix: String) {
    self.what = what
    self.got = got
    self.wanted = wanted
    self.fix = fix
  }

  /// One sentence: what, got, wanted, fix.
  public var description: String { "\(what): got \(got), wanted \(wanted). \(fix)" }
}
