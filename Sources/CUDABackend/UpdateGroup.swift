import ABNGraph
import ABNOperators
import ABNRuntime
import ABNTensors

/// Updates of many parameters in one step: what a pass of this backend makes of updates that differ
/// in their tensors alone. Gradients may be of another type than their parameters.
///
/// Inputs: rate, scale where the gradient is scaled, then for each parameter: itself, gradient,
/// state. Outputs: for each parameter itself and its state.
struct UpdateGroup: OperatorKind {
  static let kindName = "update_group"
  static let formula = "each p as its update says"

  /// What each of them does.
  let member: any GroupedUpdate
  /// How many parameters.
  let count: Int

  /// Inputs that all share.
  private var shared: Int { member.treatment.isScaled ? 2 : 1 }
  /// Inputs and outputs of each parameter.
  private var arrays: (inputs: Int, outputs: Int) {
    (2 + member.stateTypes.count, 1 + member.stateTypes.count)
  }

  var name: String { "\(member.name) of \(count)" }
  var attributes: [(name: String, value: String)] { member.attributes }
  var inputCounts: ClosedRange<Int> {
    let all = shared + count * arrays.inputs
    return all...all
  }

  func inferTypes(_ inputs: [TensorType]) throws -> [TensorType] {
    try (0..<count).flatMap { index in
      let own = Array(inputs[(shared + index * arrays.inputs)...].prefix(arrays.inputs))
      guard own[1].dtype.isFloatingPoint else {
        throw ABNError(
          .dtype, "gradient", got: "\(own[1].dtype)", wanted: "a floating-point type")
      }
      let gradient = TensorType(own[1].shape, own[0].dtype)
      return try member.outputTypes(
        for: [own[0], gradient, inputs[0]] + own[2...] + inputs[1..<shared])
    }
  }

  var sharing: [SharingRule] {
    (0..<count).flatMap { index in
      (0..<arrays.outputs).map { position in
        SharingRule(
          output: index * arrays.outputs + position, input: input(index, position), .must)
      }
    }
  }

  /// The input that output `position` of a parameter is in the place of.
  private func input(_ index: Int, _ position: Int) -> Int {
    shared + index * arrays.inputs + (position == 0 ? 0 : position + 1)
  }
}

extension UpdateGroup: CUDALowerable {
  func lower(_ c: inout CUDAContext) throws {
    let sets = 0..<count
    let operands = UpdateOperands(
      rate: 0, scale: shared == 2 ? 1 : nil,
      inputs: sets.map { index in
        (0..<arrays.inputs).map { shared + index * arrays.inputs + $0 }
      },
      outputs: sets.map { index in (0..<arrays.outputs).map { index * arrays.outputs + $0 } })
    try c.update(member, operands)
  }
}

/// Makes one operator of the updates of small parameters, and has updates read gradients as they
/// are made where a conversion would come between: in 16-bit programs those of convolutions.
///
/// A step of ResNet-50 updates 161 tensors, two of three of them with at most 2,048 elements: a
/// launch each takes longer than what it does. Updates of large parameters stay where they are, as
/// their gradients are let go there.
struct GroupUpdates: ProgramPass {
  let name = "group updates"

  /// The most bytes of a gradient that waits for others.
  private static var smallest: Int { 1 << 16 }

  func rewrite(_ program: Program, fetches: Set<VariableID>) throws -> RewrittenProgram {
    let grouping = Grouping(program, fetches)
    let members = program.operators.indices.compactMap { grouping.member(at: $0) }
    guard !members.isEmpty else { return RewrittenProgram(program) }
    var groups: [[Int]] = []
    var open: [String: Int] = [:]
    for (number, member) in members.enumerated() {
      guard member.bytes <= Self.smallest else {
        groups.append([number])
        continue
      }
      if let group = open[member.key],
        groups[group].allSatisfy({ grouping.mayWait(members[$0], until: member.place) })
      {
        groups[group].append(number)
      } else {
        open[member.key] = groups.count
        groups.append([number])
      }
    }
    var result = program
    var replaced: [Int: Operator] = [:]
    var removed = Set<Int>()
    for group in groups {
      let own = group.map { members[$0] }
      guard own.count > 1 || own[0].cast != nil else { continue }
      removed.formUnion(own.flatMap { [$0.place] + ($0.cast.map { [$0] } ?? []) })
      let last = program.operators[own.last!.place]
      replaced[own.last!.place] = try result.makeOperator(
        UpdateGroup(member: own[0].kind, count: own.count),
        own[0].shared + own.flatMap(\.inputs), role: last.role,
        layer: own.count == 1 ? last.layer : "\(own.count) parameters", source: last.source)
    }
    let operators = program.operators.indices.compactMap { place in
      replaced[place] ?? (removed.contains(place) ? nil : program.operators[place])
    }
    return RewrittenProgram(result.with(operators: operators))
  }
}

/// The updates of a program, and where its variables are read and written.
private struct Grouping {
  /// One update that may be in a group.
  struct Member {
    let place: Int
    let kind: any GroupedUpdate
    /// What all of a group have in common: kind, numbers, rate and scale.
    let key: String
    /// Rate, and scale where there is one.
    let shared: [VariableID]
    /// Parameter, gradient, state.
    let inputs: [VariableID]
    let written: [VariableID]
    /// The conversion of the gradient that is left out.
    let cast: Int?
    /// Of the gradient as it is read.
    let bytes: Int
  }

  private let program: Program
  private let fetches: Set<VariableID>
  private var touched: [VariableID: [Int]] = [:]
  private var written: [VariableID: [Int]] = [:]

  init(_ program: Program, _ fetches: Set<VariableID>) {
    (self.program, self.fetches) = (program, fetches)
    for (place, op) in program.operators.enumerated() {
      for id in Set(op.inputs + op.outputs) { touched[id, default: []].append(place) }
      for id in op.outputs { written[id, default: []].append(place) }
    }
  }

  func member(at place: Int) -> Member? {
    let op = program.operators[place]
    guard let kind = op.kind as? any GroupedUpdate else { return nil }
    let states = kind.stateTypes.count
    var gradient = op.inputs[1]
    var cast: Int?
    // Made by a conversion that nothing else reads, of what is not written in between.
    if let uses = touched[gradient], uses.count == 2, uses[1] == place,
      !fetches.contains(gradient), program.operators[uses[0]].kind is Cast
    {
      let source = program.operators[uses[0]].inputs[0]
      if program[source].type.dtype.isFloatingPoint,
        !(written[source] ?? []).contains(where: { (uses[0]..<place).contains($0) })
      {
        (gradient, cast) = (source, uses[0])
      }
    }
    let shared = [op.inputs[2]] + op.inputs.dropFirst(3 + states)
    let attributes = kind.attributes.map { "\($0.name)=\($0.value)" }.joined(separator: " ")
    return Member(
      place: place, kind: kind,
      key: "\(type(of: kind).kindName) \(attributes) \(shared.map(\.index))", shared: shared,
      inputs: [op.inputs[0], gradient] + op.inputs[3..<3 + states],
      written: op.outputs, cast: cast, bytes: program[gradient].type.bytes)
  }

  /// Whether an update may be done at a later place: nothing up to there reads or writes what it
  /// writes, or writes what it reads.
  func mayWait(_ member: Member, until place: Int) -> Bool {
    func isBetween(_ uses: [Int]?) -> Bool {
      (uses ?? []).contains { $0 > member.place && $0 <= place }
    }
    return !member.written.contains { isBetween(touched[$0]) }
      && !(member.shared + member.inputs).contains { isBetween(written[$0]) }
  }
}
