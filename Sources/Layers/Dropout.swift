import ABNGraph
import ABNOperators
import ABNTensors

/// x with elements set to 0 at random while training.
///
/// The layer owns a counter (int64 [1], state) that each run in training raises by one: with it,
/// the seed and the order in which layers were made say every mask. A program cloned for test does
/// what the implementation says for evaluation.
///
/// - Parameters:
///   - probability: how likely an element becomes 0.
///   - seed: the program's own where nil.
///   - implementation: `downgrade_in_infer` (x * mask; evaluation x * (1 - probability)) or
///     `upscale_in_train` (x * mask / (1 - probability); evaluation x).
/// - Throws: `ABNError(.attribute)` for a probability outside 0...1 or an unknown implementation.
public func dropout(
  _ x: Variable, probability: Double, isTest: Bool = false, seed: UInt64? = nil,
  implementation: DropoutImplementation = .downgradeInInfer, name: String? = nil,
  file: StaticString = #fileID, line: UInt = #line
) throws -> Variable {
  try layer("dropout", name: name, file: file, line: line) { c in
    let kind = try Dropout(
      probability: probability, implementation: implementation,
      source: CounterRandom(seed: seed ?? c.builder.seed, stream: c.builder.nextStream()),
      isTest: isTest)
    let counter = try c.persistable(
      suffix: "counter", TensorType([1], .int64), .state, .constant(0))
    return try c.append(kind, [x, counter])[0]
  }
}
