import ABNGraph
import ABNTensors

/// A variable that the caller feeds at every run.
///
/// - Parameters:
///   - name: the name under which it is fed; unique in the program.
///   - shape: its dimensions; `Shape.unknown` (-1) for one that each run may choose, the batch as a
///     rule.
///   - dtype: its element type.
///   - stopsGradient: whether gradients end here; pass false to ask for the gradient of an input.
/// - Throws: `ABNError(.name)` for a name that is taken or empty, `.shape` for a dimension below -1
///   or 0, or more than 2^44 elements.
public func data(
  _ name: String, shape: Shape, dtype: DType = .float32, stopsGradient: Bool = true,
  file: StaticString = #fileID, line: UInt = #line
) throws -> Variable {
  let source = SourceLocation(fileID: file, line: line)
  guard !name.isEmpty else {
    throw ABNError(.name, "data", at: source, got: "an empty name", wanted: "a name to feed by")
  }
  guard shape.dimensions.allSatisfy({ $0 == Shape.unknown || $0 > 0 }) else {
    throw ABNError(
      .shape, "data \(quoted(name))", at: source, got: "shape \(shape.dimensions)",
      wanted: "dimensions of at least 1, or -1 for one that each run chooses")
  }
  return try ProgramBuilder.current.addData(
    named: name, type: TensorType(shape, dtype), source: source, stopsGradient: stopsGradient)
}
