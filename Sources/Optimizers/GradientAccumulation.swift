import ABNGraph
import ABNOperators
import ABNTensors

extension ProgramBuilder {
  /// The mean of a gradient over the last `count` runs of the main program, or of the program that
  /// `accumulatingGradients` makes of it.
  ///
  /// State: `<parameter>_gradient_sum_0`, first 0.
  func appendMean(
    of gradient: Variable, parameter: Variable, count: Int, source: SourceLocation
  ) throws -> Variable {
    let type = parameter.type.accumulation
    let sum = try addPersistable(
      named: freeName("\(parameter.name)_gradient_sum"), type: type, role: .state,
      initializer: FillConstant(0, type: type), layer: parameter.name, source: source,
      isNameMadeUp: true)
    return try append(
      MeanGradient(count: count), [gradient, sum], role: .optimize, layer: parameter.name,
      source: source)[0]
  }
}

extension Program {
  /// Of a program that updates from `count` micro-batches (`minimize(microBatches:)`): the program
  /// for all but the last of them. It adds the gradients to the sums, and changes no parameter, no
  /// state of the optimizer, no counter of a schedule and no average.
  ///
  /// Moving statistics of normalizations are of the forward pass, and change with each micro-batch.
  ///
  /// - Throws: `ABNError(.program)` for a program that updates in each run.
  package func accumulatingGradients() throws -> Program {
    guard operators.contains(where: { $0.kind is MeanGradient }) else {
      throw ABNError(
        .program, "program", got: "updates in each run",
        wanted: "updates from several micro-batches",
        fix: "Give minimize a number of microBatches above 1.")
    }
    var program = self
    let kept = try operators.compactMap { op -> Operator? in
      guard op.role == .optimize else { return op }
      guard op.kind is MeanGradient else { return nil }
      return try program.makeOperator(
        AccumulateGradient(), op.inputs, role: .optimize, layer: op.layer, source: op.source)
    }
    return program.with(operators: kept)
  }
}
