import ABNGraph
import ABNOperations
import ABNTensors

extension Tensor {
  /// Float64 numbers rounded to another type; anything else as it is.
  func rounded(to dtype: DType) -> Tensor {
    self.dtype == .float64 ? cast(to: dtype).cast(to: .float64) : self
  }
}

extension Program {
  /// Rounds every float64 temporary to `dtype` where it is made, and its gradient too.
  ///
  /// - Returns: the rounded variable for each temporary.
  mutating func roundEveryValue(to dtype: DType) throws -> [VariableID: Variable] {
    let old = operations
    let read = Set(old.flatMap(\.inputs))
    var places: [VariableID: Variable] = [:]
    self = with(operations: [])
    for operation in old {
      var operation = operation
      operation.inputs = operation.inputs.map { places[$0]?.id ?? $0 }
      self = with(operations: operations + [operation])
      for (position, id) in operation.outputs.enumerated()
      where self[id].role == .temporary && self[id].dtype == .float64
        && (position == 0 || read.contains(id))
      {
        func append(_ kind: Cast, _ input: VariableID) throws -> Variable {
          try self.append(
            kind, [input], layer: operation.layer, source: operation.source)[0]
        }
        places[id] = try append(Cast(to: .float64), append(Cast(to: dtype), id).id)
      }
    }
    return places
  }
}
