import ABNGraph
import ABNLayers
import ABNOperators
import ABNPasses
import ABNTensors

/// One input of a case.
package struct CheckInput: Sendable {
  let isDifferentiated: Bool
  /// Float64 values, converted to the case's type; integers and booleans keep theirs.
  let make: @Sendable (CounterRandom) -> Tensor

  /// Uniform numbers in low ..< high.
  package static func random(
    _ shape: Shape, _ low: Double = -2, _ high: Double = 2, differentiated: Bool = true
  ) -> CheckInput {
    CheckInput(isDifferentiated: differentiated) { source in
      Tensor(
        (0..<shape.elementCount).map { low + (high - low) * source.uniform(UInt64($0)) },
        shape: shape)
    }
  }

  /// Numbers by a formula of the index and a uniform number in -1 ..< 1.
  package static func formula(
    _ shape: Shape, _ value: @escaping @Sendable (Int, Double) -> Double
  ) -> CheckInput {
    CheckInput(isDifferentiated: true) { source in
      Tensor(
        (0..<shape.elementCount).map { value($0, 2 * source.uniform(UInt64($0)) - 1) },
        shape: shape)
    }
  }

  /// Given values.
  package static func fixed(_ tensor: Tensor, differentiated: Bool = false) -> CheckInput {
    CheckInput(isDifferentiated: differentiated) { _ in tensor }
  }
}

extension CheckProgram {
  /// A program of a few layers over inputs: its outputs, and the gradients, for the inputs and all
  /// trained parameters, of the sum of the outputs times random numbers.
  ///
  /// - Parameters:
  ///   - axis: the channels of the outputs and of inputs of their rank; nil: none.
  ///   - isTest: the program for evaluation, without gradients.
  package init(
    _ inputs: [CheckInput], _ types: CheckTypes, axis: Int? = nil, isTest: Bool = false,
    build: ([Variable]) throws -> [Variable]
  ) throws {
    let builder = ProgramBuilder(seed: 7)
    var given: [Variable] = []
    var outputs: [Variable] = []
    var loss: Variable?
    try builder.build {
      for (index, input) in inputs.enumerated() {
        let value = input.make(CounterRandom(seed: 3, stream: UInt64(index)))
        let dtype = value.dtype == .float64 ? types.data : value.dtype
        given.append(
          try data(
            "x\(index)", shape: value.shape, dtype: dtype, stopsGradient: !input.isDifferentiated))
        feed["x\(index)"] = value.cast(to: dtype)
      }
      outputs = try build(given)
      if !isTest { loss = try weightedSum(of: outputs, types.data) }
    }
    startup = builder.startup
    var program = isTest ? builder.main.cloned(forTest: true) : builder.main
    if let stored = types.stored {
      let places = try program.roundEveryValue(to: stored)
      outputs = outputs.map { places[$0.id] ?? $0 }
      loss = loss.map { places[$0.id] ?? $0 }
    }
    results = outputs.enumerated().map { Result(label: "output \($0)", variable: $1, axis: axis) }
    let parameters = program.parameters.filter { $0.parameterTraits!.trainable }
    if let loss {
      let free = zip(given, inputs).filter { $0.1.isDifferentiated }.map(\.0)
      let gradients = try program.differentiated(loss, withRespectTo: free + parameters)
      program = gradients.program
      for variable in free + parameters {
        guard let gradient = gradients.gradients[variable.id] else { continue }
        let isImage = axis != nil && variable.shape.rank == outputs.first?.shape.rank
        results.append(
          Result(
            label: "gradient of \(variable.name)", variable: gradient, axis: isImage ? axis : nil))
      }
    }
    main = program
    states = program.persistables.filter { $0.dtype.isFloatingPoint }.map(\.name)
    let used = Set(
      program.pruned(to: results.map(\.variable.id)).operators.flatMap(\.inputs)
        + results.map(\.variable.id))
    feed = feed.filter { used.contains(program.variable(named: $0.key)!.id) }
  }

  /// The sum of the outputs times random numbers of few bits, which are the same in every type.
  private mutating func weightedSum(of outputs: [Variable], _ dtype: DType) throws -> Variable {
    var terms: [Variable] = []
    for (index, output) in outputs.enumerated() where output.dtype == dtype {
      let weights = try data("w\(index)", shape: output.shape, dtype: output.dtype)
      let random = CounterRandom(seed: 11, stream: UInt64(index))
      feed["w\(index)"] = Tensor(
        (0..<output.shape.elementCount).map {
          (64 * (random.uniform(UInt64($0)) - 0.4)).rounded() / 64
        }, shape: output.shape
      ).cast(to: output.dtype)
      terms.append(try reduceSum(elementwiseMul(output, weights)))
    }
    return terms.count == 1 ? terms[0] : try sums(terms)
  }
}

extension Program {
  /// Rounds every float64 temporary to `dtype` where it is made, and its gradient too.
  ///
  /// - Returns: the rounded variable for each temporary.
  package mutating func roundEveryValue(to dtype: DType) throws -> [VariableID: Variable] {
    let old = operators
    let read = Set(old.flatMap(\.inputs))
    var places: [VariableID: Variable] = [:]
    self = with(operators: [])
    for op in old {
      var op = op
      op.inputs = op.inputs.map { places[$0]?.id ?? $0 }
      self = with(operators: operators + [op])
      for (position, id) in op.outputs.enumerated()
      where self[id].role == .temporary && self[id].dtype == .float64
        && (position == 0 || read.contains(id))
      {
        func append(_ kind: Cast, _ input: VariableID) throws -> Variable {
          try self.append(
            kind, [input], layer: op.layer, source: op.source)[0]
        }
        places[id] = try append(Cast(to: .float64), append(Cast(to: dtype), id).id)
      }
    }
    return places
  }
}
