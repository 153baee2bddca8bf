import ABNGraph
import ABNModelFiles
import ABNRuntime
import ABNTensors

extension Tensor {
  /// Whether all elements are finite; those of integer types are.
  var isFinite: Bool {
    switch dtype {
    case .float32:
      return withUnsafeBytes { bytes in
        // The exponent of infinities and NaN is all ones. No early exit, so that it is a vector
        // loop.
        let exponent: UInt32 = 0x7f80_0000
        var largest: UInt32 = 0
        for word in bytes.bindMemory(to: UInt32.self) { largest = max(largest, word & exponent) }
        return largest < exponent
      }
    case .float16, .bfloat16, .float64: return doubles.allSatisfy(\.isFinite)
    case .int8, .uint8, .int32, .int64, .bool: return true
    }
  }
}

/// Says where a run has left the finite numbers.
struct NonFinite {
  /// Parameters and statistics, in the order of the layers.
  private let parameters: [Variable]
  /// What the optimizer updates.
  private let trained: Set<VariableID>
  /// A small parameter as near the input as there is: a gradient that is not finite anywhere has
  /// spread to it by the end of the step.
  private let watched: Variable?

  init(_ programs: ClassifierPrograms) {
    let program = programs.training
    let updated = Set(program.operators.filter { $0.role == .optimize }.flatMap(\.outputs))
    parameters = program.parameters
    trained = updated
    let most = 1 << 16
    let candidates = parameters.filter { updated.contains($0.id) }
    watched = candidates.first { $0.type.bytes <= most } ?? candidates.first
  }

  /// Whether the weights, as far as they are looked at, are still finite.
  func isFinite(_ scope: Scope) -> Bool {
    watched.flatMap { scope[$0.name] }?.isFinite ?? true
  }

  /// What is no longer finite, after a step that has begun with finite weights.
  ///
  /// A forward pass goes from the first layer on, and leaves the moving statistics of the first
  /// normalization behind the fault, and of all after it, not finite; a backward pass goes from the
  /// loss to the first layer, and leaves the weights of the layer at the fault, and of all before
  /// it, not finite.
  func place(_ scope: Scope, lossIsFinite: Bool) -> String {
    func isBroken(_ variable: Variable) -> Bool { scope[variable.name]?.isFinite == false }
    if !lossIsFinite {
      let statistics = parameters.first { !trained.contains($0.id) && isBroken($0) }
      return statistics.map { "the input of \(quoted($0.name))'s layer" } ?? "the loss"
    }
    let last = parameters.last { trained.contains($0.id) && isBroken($0) }
    return last.map { "the gradient of \(quoted($0.name))" } ?? "a gradient"
  }

  /// A checkpoint of these values would be worth nothing.
  ///
  /// - Throws: `ABNError(.data)` with the name of one that is not finite.
  static func require(_ name: String, _ value: Tensor) throws {
    if value.isFinite { return }
    throw ABNError(
      .data, "training", got: "\(quoted(name)) with values that are not finite",
      wanted: "finite numbers", fix: "Choose a lower learning rate (--lr).")
  }
}
