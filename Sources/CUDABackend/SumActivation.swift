import ABNActivations
import ABNGraph
import ABNOperators
import ABNTensors

/// z = f(u + v) for two images of one type: the end of a residual block in one way over memory.
/// What a pass of this backend makes of the sum and the activation behind it.
struct SumActivation: OperatorKind {
  static let kindName = "sum_activation"
  static let formula = "z = f(u + v)"

  /// What is applied to the sum.
  let outer: Activate

  var name: String { "elementwise_add and \(outer.name)" }
  var attributes: [(name: String, value: String)] { outer.attributes }
  var inputCounts: ClosedRange<Int> { 2...2 }
  func inferTypes(_ inputs: [TensorType]) throws -> [TensorType] {
    guard inputs[0] == inputs[1] else {
      throw ABNError(.shape, "v", got: "\(inputs[1])", wanted: "\(inputs[0])")
    }
    return [inputs[0]]
  }
  var sharing: [SharingRule] {
    [SharingRule(output: 0, input: 0, .may), SharingRule(output: 0, input: 1, .may)]
  }
}

extension SumActivation: CUDALowerable {
  var walk: ImageWalk { .anyOrder }

  func lower(_ c: inout CUDAContext) throws {
    let (dtype, order) = (try c.floatType(ofInput: 0), c.order(ofInput: 0))
    let function = outer.function
    try c.flat(
      FlatFormula(
        function, [dtype, dtype], [dtype], "out = activate<\(function.number)>(a + b, alpha);"),
      count: c.inputType(0).shape.elementCount,
      [try c.read(0, in: order), try c.read(1, in: order), c.write(0, in: order)])
  }
}

/// Makes one operator of a sum of two images and the activation that alone reads it, where it
/// follows directly.
struct FuseSumActivations: ProgramPass {
  let name = "fuse sums and activations"

  func rewrite(_ program: Program, fetches: Set<VariableID>) throws -> RewrittenProgram {
    var readers: [VariableID: Int] = [:]
    for id in program.operators.flatMap(\.inputs) { readers[id, default: 0] += 1 }
    var rewritten = program
    var operators: [Operator] = []
    var decisions: [PassDecision] = []
    for op in program.operators {
      guard let activate = op.kind as? Activate, let sum = operators.last,
        let kind = sum.kind as? Elementwise, kind.function == .add,
        sum.outputs[0] == op.inputs[0], readers[sum.outputs[0]] == 1,
        !fetches.contains(sum.outputs[0]), sum.role == op.role,
        Set((sum.inputs + op.outputs).map { program[$0].type }).count == 1
      else {
        operators.append(op)
        continue
      }
      operators[operators.count - 1] = try rewritten.makeOperator(
        SumActivation(outer: activate), sum.inputs, role: op.role, layer: op.layer,
        source: op.source, outputs: [0: op.outputs[0]])
      decisions.append(
        PassDecision(
          .fused, program[sum.outputs[0]], at: op, bytes: 0, reason: SumIsNotStored()))
    }
    guard !decisions.isEmpty else { return RewrittenProgram(program) }
    return RewrittenProgram(rewritten.with(operators: operators), decisions)
  }
}

/// Why a sum has no bytes.
private struct SumIsNotStored: DecisionReason {
  var description: String { "the activation behind it is applied as it is made" }
}
