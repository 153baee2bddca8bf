import ABNTensors

/// Rewrites a program whose shapes are all known so that it needs less memory or less work, with
/// the same results (up to rounding where a value is restored, or a normalization is folded into
/// weights).
public protocol ProgramPass: Sendable {
  /// For reports.
  var name: String { get }

  /// The program rewritten, and what was decided on the way. `fetches` keep their values.
  func rewrite(_ program: Program, fetches: Set<VariableID>) throws -> RewrittenProgram
}

/// What a pass gives back.
public struct RewrittenProgram: Sendable {
  /// The program to run.
  public var program: Program
  /// What was decided, in the order of the program.
  public var decisions: [PassDecision]
  /// How many operators and uses of variables were looked at on the way: some for each operator,
  /// however many there are. 0 where a pass does not count.
  package var looked: Int

  /// A program and the decisions that led to it.
  public init(_ program: Program, _ decisions: [PassDecision] = [], looked: Int = 0) {
    self.program = program
    self.decisions = decisions
    self.looked = looked
  }
}

/// Why a pass decided as it did: an enum of the pass's room, whose description is the text for
/// people.
public protocol DecisionReason: Sendable, Hashable, CustomStringConvertible {}

/// One decision of a pass about the bytes of one variable.
public struct PassDecision: Sendable {
  /// What becomes of the variable.
  public enum Action: String, Sendable, Hashable, CaseIterable {
    /// Overwritten, then computed back from what overwrote it.
    case restored = "restore"
    /// Let go; what its gradient needs is kept in one bit an element.
    case masked = "mask"
    /// Let go, then computed once more from a value that is kept anyway.
    case recomputed = "recompute"
    /// Overwritten after a reader that was moved before the overwriting layer.
    case movedReader = "move"
    /// A term of a sum: let go, then computed back from the sum and the other term.
    case subtracted = "subtract"
    /// Never stored: what made it and what reads it are one operator.
    case fused = "fuse"
    /// Kept beside what would have overwritten it.
    case copied = "copy"
  }

  /// What was decided.
  public let action: Action
  /// The variable, in the program that the pass gives back.
  public let id: VariableID
  /// The variable's name.
  public let variable: String
  /// The layer because of which.
  public let layer: String
  /// The line of that layer.
  public let source: SourceLocation
  /// Why.
  public let reason: any DecisionReason
  /// The bytes that need not be kept from the forward to the backward pass; for a copy, the bytes
  /// that must be.
  public let bytes: Int

  /// A decision about `variable`, because of an operator.
  public init(
    _ action: Action, _ variable: Variable, at op: Operator, bytes: Int? = nil,
    reason: any DecisionReason
  ) {
    (self.action, id) = (action, variable.id)
    self.variable = variable.name
    layer = op.layer
    source = op.source
    self.reason = reason
    self.bytes = bytes ?? variable.type.bytes
  }
}
