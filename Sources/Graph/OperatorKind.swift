import ABNTensors

/// A fixed, short list of questions; nothing else is asked about an operator.
///
/// The kinds are in `Operators`, one file each; this room knows none of them. How a backend runs a
/// kind is a conformance in the backend's own room.
public protocol OperatorKind: Sendable {
  /// The name that programs print: `conv2d`.
  static var kindName: String { get }

  /// The name under which one operator is printed, where a family has one kind: `leaky_relu`.
  var name: String { get }

  /// One line for people: what it computes, as a formula.
  static var formula: String { get }

  /// The attributes that programs print, in order.
  var attributes: [(name: String, value: String)] { get }

  /// How many inputs it takes: 2...3, or 1...Int.max for a list.
  var inputCounts: ClosedRange<Int> { get }

  /// The types of the outputs for inputs of these types. Dimensions may be unknown. What a kind
  /// states; ask it by `outputTypes(for:)`, which checks the number of inputs first.
  ///
  /// - Throws: `ABNError` without a place where the inputs do not fit; the program adds the place.
  func inferTypes(_ inputs: [TensorType]) throws -> [TensorType]

  /// Appends the operators that compute the gradients of the inputs.
  ///
  /// - Returns: one entry per input; nil where no gradient flows, as through a comparison.
  /// - Throws: `ABNError(.unsupported)` unless the kind says otherwise.
  func gradients(_ context: inout GradientContext) throws -> [Variable?]

  /// Which outputs may or must be stored in the bytes of which inputs.
  var sharing: [SharingRule] { get }

  /// The inputs whose value the kind reads with tolerance: a value that was overwritten and then
  /// restored by inverting a layer (right up to rounding) serves as well as the exact bits.
  var toleratesRestored: Set<Int> { get }

  /// The inputs of which only the type is looked at: reading them keeps no bytes alive.
  var readsTypeOnly: Set<Int> { get }

  /// The kind that takes its place in a program for evaluation; nil where it has no place there.
  func forTest() -> (any OperatorKind)?

  /// How many of its inputs that kind takes, the last ones being left out; nil: all.
  var inputCountForTest: Int? { get }

  /// Whether one run differs from the next with the same inputs, so that it is never run twice for
  /// one value.
  var isRandom: Bool { get }
}

extension OperatorKind {
  public var name: String { Self.kindName }
  public var attributes: [(name: String, value: String)] { [] }
  public var sharing: [SharingRule] { [] }
  public var toleratesRestored: Set<Int> { [] }
  public var readsTypeOnly: Set<Int> { [] }
  public var isRandom: Bool { false }
  public func forTest() -> (any OperatorKind)? { self }
  public var inputCountForTest: Int? { nil }
  /// A kind that does not say otherwise, as those of the backward pass, is not differentiated: to
  /// leave its gradient out would make the sum of all a wrong one.
  public func gradients(_ context: inout GradientContext) throws -> [Variable?] {
    throw ABNError(
      .unsupported, "operator", got: "a gradient through \(name)",
      wanted: "operators that have a gradient",
      fix: "Express the loss by layers; let gradients end before it with stopsGradient.")
  }

  /// The types of the outputs for inputs of these types. Dimensions may be unknown.
  ///
  /// - Throws: `ABNError(.program)` for more or fewer inputs than the kind takes, `.shape` for one
  ///   that no tensor can have, and what the kind itself throws. Without a place.
  public func outputTypes(for inputs: [TensorType]) throws -> [TensorType] {
    let counts = inputCounts
    guard counts.contains(inputs.count) else {
      let (least, most) = (counts.lowerBound, counts.upperBound)
      let wanted =
        most == .max ? "at least \(least)" : most == least ? "\(least)" : "\(least) to \(most)"
      throw ABNError(.program, "inputs", got: "\(inputs.count)", wanted: wanted)
    }
    for input in inputs { _ = try input.shape.validated("input") }
    let outputs = try inferTypes(inputs)
    for output in outputs { _ = try output.shape.validated("output") }
    return outputs
  }
}

/// An output that is stored in the bytes of an input.
public struct SharingRule: Sendable, Hashable {
  /// How strongly.
  public enum Strength: Sendable, Hashable {
    /// The output is the input's variable, updated (a parameter, a moving mean).
    case must
    /// The kernel reads each element before it writes it, so that it may run in place.
    case may
    /// The output has the very bytes of the input (a reshape): both may live on together.
    case view
  }

  /// Position among the outputs.
  public let output: Int
  /// Position among the inputs.
  public let input: Int
  /// How strongly.
  public let strength: Strength

  /// Output `output` takes the bytes of input `input`.
  public init(output: Int, input: Int, _ strength: Strength) {
    self.output = output
    self.input = input
    self.strength = strength
  }
}

/// Where in a training step an operator belongs.
public enum OperatorRole: String, Sendable, Hashable {
  /// Computes the outputs from the inputs.
  case forward
  /// Computes gradients.
  case backward
  /// Updates parameters and the optimizer's state.
  case optimize
}

/// A kind applied to variables of a program.
public struct Operator: Sendable {
  /// What it does.
  public var kind: any OperatorKind
  /// What it reads, by position.
  public var inputs: [VariableID]
  /// What it makes; an output under a `must` rule is the input it updates.
  public var outputs: [VariableID]
  /// Forward, backward or optimize.
  public var role: OperatorRole
  /// The line of the layer that it came from.
  public let source: SourceLocation
  /// The name of the layer that it came from, for messages and reports.
  public let layer: String

  /// The kind's name.
  public var kindName: String { kind.name }
}

/// What a kind sees when it is asked for its gradient: the operator, and a place to append to.
public struct GradientContext {
  /// The program, with the gradients appended so far.
  public internal(set) var program: Program
  /// The operator's inputs.
  public let inputs: [Variable]
  /// The operator's outputs.
  public let outputs: [Variable]
  /// The gradients of the outputs; nil where none flows.
  public let outputGradients: [Variable?]
  /// Which inputs need a gradient.
  public let needsGradient: [Bool]
  let op: Operator

  /// A context for one operator of a program.
  package init(
    program: consuming Program, op: Operator, outputGradients: [Variable?],
    needsGradient: [Bool]
  ) {
    self.op = op
    self.outputGradients = outputGradients
    self.needsGradient = needsGradient
    inputs = op.inputs.map { [program] in program[$0] }
    outputs = op.outputs.map { [program] in program[$0] }
    self.program = program
  }

  /// Appends an operator of the backward pass and gives its outputs.
  public mutating func append(_ kind: some OperatorKind, _ inputs: [Variable]) throws -> [Variable]
  {
    try program.append(
      kind, inputs.map(\.id), role: .backward, layer: op.layer, source: op.source)
  }

  /// Appends an operator with one output.
  public mutating func append(_ kind: some OperatorKind, _ inputs: Variable...) throws -> Variable {
    try append(kind, inputs)[0]
  }

  /// The program with what was appended.
  package consuming func finish() -> Program { program }
}
