import ABNGraph
import ABNTensors

/// What differs from parameter to parameter beside their own traits.
package struct ParameterRules: Sendable {
  /// Which parameters have the optimizer's penalty; a parameter's own it has in any case.
  package var decays: @Sendable (Variable) -> Bool = { _ in true }
  /// The learning rate of a layer as a share of that of the layer after it, in 0 ... 1; 1: all
  /// learn alike.
  package var layerDecay = 1.0

  /// The same for all.
  package init() {}

  /// Whether a parameter is more than a scale, a shift or a slope for each channel: what has decay
  /// where norms and biases have none. The rule of timm: at least two dimensions.
  @Sendable package static func isWeight(_ parameter: Variable) -> Bool {
    parameter.shape.rank > 1
  }

  func validate() throws {
    guard layerDecay > 0, layerDecay <= 1 else {
      throw ABNError(
        .attribute, "layer decay", got: "\(layerDecay)", wanted: "a number above 0 and at most 1")
    }
  }

  /// What the learning rate of each parameter is multiplied with: layerDecay^(layers after its
  /// own).
  ///
  /// A layer is a weight and what was made after it up to the next weight: its bias, the scale and
  /// shift of the normalization behind it. Those before the first weight belong to that.
  func multipliers(of parameters: [Variable]) -> [VariableID: Double] {
    let count = parameters.count(where: Self.isWeight)
    var (layer, factors) = (0, [VariableID: Double]())
    for parameter in parameters {
      if Self.isWeight(parameter) { layer += 1 }
      var factor = 1.0
      for _ in 0..<max(0, count - max(layer, 1)) { factor *= layerDecay }
      factors[parameter.id] = factor
    }
    return factors
  }
}
