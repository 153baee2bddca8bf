import ABNCPUBackend
import ABNGraph
import ABNLayers
import ABNPasses
import ABNRuntime
import ABNTensors
import Testing

/// The values of a small graph over given tensors, which keep their element types.
public func evaluate(
  _ inputs: [Tensor], seed: UInt64 = 7, _ build: ([Variable]) throws -> [Variable]
) throws -> [Tensor] {
  let builder = ProgramBuilder(seed: seed)
  let outputs = try builder.build {
    try build(
      inputs.enumerated().map {
        try data("x\($0.offset)", shape: $0.element.shape, dtype: $0.element.dtype)
      })
  }
  let executor = Executor(backend: CPUBackend())
  let scope = Scope()
  try executor.run(builder.startup, scope: scope)
  let feed = Dictionary(
    uniqueKeysWithValues: inputs.enumerated().map { ("x\($0.offset)", $0.element) })
  return try executor.run(builder.main, feed: feed, fetch: outputs, scope: scope)
}

/// An `ABNError` of this category whose line has all these words, and a source line.
public func expectError<R>(
  _ category: ABNError.Category, _ words: [String],
  sourceLocation: Testing.SourceLocation = #_sourceLocation, _ body: () throws -> R
) {
  do {
    _ = try body()
    Issue.record("no error", sourceLocation: sourceLocation)
  } catch let error as ABNError {
    #expect(error.category == category, "\(error)", sourceLocation: sourceLocation)
    #expect(error.location != nil, "\(error)", sourceLocation: sourceLocation)
    for word in words {
      #expect("\(error)".contains(word), "\(error)", sourceLocation: sourceLocation)
    }
  } catch {
    Issue.record("\(error)", sourceLocation: sourceLocation)
  }
}

/// One run of a program with the gradient of `loss` with respect to one of its variables.
public func run(
  _ builder: ProgramBuilder, feed: [String: Tensor], loss: Variable, of variable: Variable,
  fetch: [Variable]
) throws -> (fetched: [Tensor], gradient: Tensor) {
  let result = try builder.main.differentiated(loss, withRespectTo: [variable])
  let executor = Executor(backend: CPUBackend())
  let scope = Scope()
  try executor.run(builder.startup, scope: scope)
  let wanted: [any Fetchable] = fetch + [result.gradients[variable.id]!]
  let values = try executor.run(result.program, feed: feed, fetch: wanted, scope: scope)
  return (Array(values.dropLast()), values.last!)
}
