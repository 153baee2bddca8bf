import ABNGraph
import ABNTensors

/// Appends one operator to the program that is being built and gives its first output.
public func op(
  _ kind: any OperatorKind, _ inputs: [Variable], file: StaticString = #fileID,
  line: UInt = #line
) throws -> Variable {
  let builder = ProgramBuilder.current
  return try builder.append(
    kind, inputs, layer: builder.layerName(nil, kind: kind.name),
    source: SourceLocation(fileID: file, line: line))[0]
}
