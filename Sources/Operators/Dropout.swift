// Shapes: x, out, dx, dout alike, any rank; counter and draw int64 [1].

import ABNGraph
import ABNTensors

/// How dropout keeps the expected value: Paddle's `dropout_implementation`, by name or as a string
/// literal.
public struct DropoutImplementation: Sendable, Hashable, ExpressibleByStringInterpolation {
  /// The name in Paddle's spelling, as given.
  package let name: String

  /// The implementation of this name; whether there is one is checked when a layer uses it.
  public init(stringLiteral value: String) { name = value }

  /// Training: x * mask. Evaluation: x * (1 - probability).
  public static let downgradeInInfer: DropoutImplementation = "downgrade_in_infer"
  /// Training: x * mask / (1 - probability). Evaluation: x.
  public static let upscaleInTrain: DropoutImplementation = "upscale_in_train"

  /// Itself where there is such an implementation.
  ///
  /// - Throws: `ABNError(.attribute)` that names the nearest.
  package func validated() throws -> DropoutImplementation {
    let known = [Self.downgradeInInfer, .upscaleInTrain]
    if known.contains(self) { return self }
    throw ABNError(
      unknown: name, "dropout implementation", names: known.map(\.name), category: .attribute)
  }
}

/// out = x * mask, each element of the mask 0 with a given probability, else 1 or its inverse.
///
/// The mask is a function of (seed, stream, counter, index): the counter is state that each run in
/// training raises by one, so that a run that goes on from a checkpoint draws what an unbroken one
/// would have. `draw` is the counter's value in this run. The gradient draws the mask again from
/// it instead of reading a stored one: 8 bytes live from the forward to the backward pass instead
/// of one for each element, at the price of a second drawing (some nanoseconds an element), which
/// is little beside the matrix products that dropout stands between.
package struct Dropout: OperatorKind {
  package static let kindName = "dropout"
  package static let formula = "out = x * mask"

  /// How likely an element becomes 0.
  package let probability: Double
  /// What keeps the expected value.
  package let implementation: DropoutImplementation
  /// Where the numbers come from.
  package let source: CounterRandom
  /// Whether it computes what it does in evaluation.
  package let isTest: Bool

  /// Inputs: x, counter. Outputs: out; in training also the counter, and draw.
  ///
  /// - Throws: `ABNError(.attribute)` for a probability outside 0...1, an unknown implementation.
  package init(
    probability: Double, implementation: DropoutImplementation, source: CounterRandom,
    isTest: Bool = false
  ) throws {
    guard (0...1).contains(probability) else {
      throw ABNError(
        .attribute, "dropout probability", got: "\(probability)", wanted: "a number in 0...1")
    }
    self.probability = probability
    self.implementation = try implementation.validated()
    self.source = source
    self.isTest = isTest
  }

  private init(inTestMode training: Dropout) {
    probability = training.probability
    implementation = training.implementation
    source = training.source
    isTest = true
  }

  /// What kept elements are multiplied by in training.
  package var trainingFactor: Double {
    implementation == .upscaleInTrain && probability < 1 ? 1 / (1 - probability) : 1
  }

  /// What all elements are multiplied by in evaluation.
  package var testFactor: Double { implementation == .upscaleInTrain ? 1 : 1 - probability }

  package var attributes: [(name: String, value: String)] {
    [("probability", "\(probability)"), ("implementation", implementation.name)]
      + (isTest ? [("isTest", "true")] : [])
  }

  package var inputCounts: ClosedRange<Int> { 2...2 }
  package func inferTypes(_ inputs: [TensorType]) throws -> [TensorType] {
    try requireFloatingPoint(inputs[0], "input")
    let counter = TensorType([1], .int64)
    guard inputs[1] == counter else {
      throw ABNError(.dtype, "counter", got: "\(inputs[1])", wanted: "\(counter)")
    }
    return isTest ? [inputs[0]] : [inputs[0], counter, counter]
  }

  package var sharing: [SharingRule] {
    [SharingRule(output: 0, input: 0, .may)]
      + (isTest ? [] : [SharingRule(output: 1, input: 1, .must)])
  }

  package func forTest() -> (any OperatorKind)? { Dropout(inTestMode: self) }
  package var isRandom: Bool { !isTest }

  package func gradients(_ c: inout GradientContext) throws -> [Variable?] {
    guard let dout = c.outputGradients[0] else { return [nil, nil] }
    guard isTest else { return [try c.append(DropoutGradient(of: self), dout, c.outputs[2]), nil] }
    return [testFactor == 1 ? dout : try c.append(Scale(factor: testFactor), dout), nil]
  }
}

/// dx = dout * mask, the mask drawn again from `draw`.
package struct DropoutGradient: OperatorKind {
  package static let kindName = "dropout_grad"
  package static let formula = "dx = dout * mask"

  /// The operator whose gradient this is.
  package let forward: Dropout

  /// The gradient of `forward`. Inputs: dout, draw.
  package init(of forward: Dropout) { self.forward = forward }

  package var attributes: [(name: String, value: String)] { forward.attributes }
  package var inputCounts: ClosedRange<Int> { 2...2 }
  package func inferTypes(_ inputs: [TensorType]) throws -> [TensorType] {
    try requireFloatingPoint(inputs[0], "dout")
    try requireCounter(inputs[1], "draw")
    return [inputs[0]]
  }
  package var sharing: [SharingRule] { [SharingRule(output: 0, input: 0, .may)] }
}
