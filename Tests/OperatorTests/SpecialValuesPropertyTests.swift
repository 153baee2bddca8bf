import ABNGraph
import ABNLayers
import ABNOperators
import ABNTensors
import ABNTestSupport
import Testing

/// NaN, infinities, zeros of both signs, denormal, least, largest and any other numbers through every
/// operator, forward and backward: float32 and the 16-bit types against float64 on the same numbers.
@Suite struct SpecialValuesPropertyTests {
  static let dtypes = [DType.float16, .bfloat16, .float32]

  @Test(arguments: specialCases) func everyTypeAgreesWithFloat64(_ test: SpecialCase) throws {
    let exact = try SpecialCase.Bench(test, dtype: .float64)
    for dtype in Self.dtypes {
      let own = try SpecialCase.Bench(test, dtype: dtype)
      for index in 0..<(2 * soakFactor) {
        try test.check(dtype, own, exact, seed: soakSeed &+ UInt64(index))
      }
    }
  }

  /// Kinds without a row, and why.
  static let without: [String: String] = [
    "activate_grad": "in the gradient of a row, under the name of its activation",
    "adam": "Tests/OptimizerTests/HugeGradientTests.swift",
    "momentum": "Tests/OptimizerTests/HugeGradientTests.swift",
    "sgd": "Tests/OptimizerTests/HugeGradientTests.swift",
    "lamb": "Tests/OptimizerTests/HugeGradientTests.swift",
    "squared_norm": "Tests/OptimizerTests/HugeGradientTests.swift",
    "clip_scale": "Tests/OptimizerTests/HugeGradientTests.swift",
    "average_accumulates": "state of float32, added to; see Documentation/Numerics.md",
    "exponential_average": "state of float32, added to; see Documentation/Numerics.md",
    "apply_exponential_average": "copies bytes",
    "accumulate_gradient": "state of float32, added to; see Documentation/Numerics.md",
    "mean_gradient": "state of float32, added to; see Documentation/Numerics.md",
    "apply_average": "state of float32, added to; see Documentation/Numerics.md",
    "restore_parameter": "copies bytes",
    "inplace_abn_act": "what a pass makes of the rows of inplace_abn with a curved activation",
    "inplace_abn_restore": "a value that is right up to rounding by intention",
    "residual_sum": "Tests/ABNKernelsTests/ResidualTests.swift",
    "residual_term": "Tests/ABNKernelsTests/ResidualTests.swift",
    "fold_batch_norm": "parameters of a convolution, in float64",
    "assign_value": "no input", "fill_constant": "no input", "random_fill": "no input",
    "fill_zeros_like": "no number is read", "increment": "counts",
    "scheduled_value": "reads a counter", "label_shares": "reads labels",
    "class_sums": "reads probabilities; Tests/OperatorTests/SegmentationLossTests.swift",
    "class_sums_grad": "reads no probability; Tests/OperatorTests/SegmentationLossTests.swift",
    "lovasz_softmax": "reads probabilities; Tests/OperatorTests/SegmentationLossTests.swift",
  ]

  @Test func everyKindHasARow() throws {
    var seen: Set<String> = []
    for test in specialCases { seen.formUnion(try SpecialCase.Bench(test, dtype: .float32).kinds) }
    for kind in operationCatalogue {
      let name = kind.kindName
      #expect(seen.contains(name) || Self.without[name] != nil, "\(name) has no row")
    }
  }
}
