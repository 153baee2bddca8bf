import ABNGraph
import ABNTensors

/// How a layer makes one of its parameters: Paddle's `ParamAttr`.
///
/// A string literal, interpolated or not, is the parameter's name; `nil` stands for the layer's own
/// choice of everything; `.absent` for no such parameter:
///
/// ```swift
/// try fc(x, size: 10)                                               // with bias
/// try fc(x, size: 10, paramAttr: "block\(i).w", biasAttr: .absent)  // without
/// ```
public struct ParamAttr: Sendable {
  /// The parameter's name; made up by the layer where nil. Two layers with one name share it.
  public var name: String?
  /// Its first value; the layer's own choice where nil.
  public var initializer: Initializer?
  /// Multiplies the optimizer's learning rate.
  public var learningRate: Double
  /// A penalty on this parameter instead of the optimizer's.
  public var regularizer: Regularizer?
  /// Whether the optimizer updates it.
  public var trainable: Bool
  /// Whether ModelAverage averages it.
  public var doModelAverage: Bool
  /// A bound on this parameter's gradient instead of the optimizer's.
  public var gradientClip: GradientClip?
  /// Whether there is no such parameter: what `ParamAttr.absent` says.
  let isAbsent: Bool

  /// A parameter with these traits.
  public init(
    name: String? = nil, initializer: Initializer? = nil, learningRate: Double = 1,
    regularizer: Regularizer? = nil, trainable: Bool = true, doModelAverage: Bool = true,
    gradientClip: GradientClip? = nil
  ) {
    self.init(
      name: name, initializer: initializer, learningRate: learningRate, regularizer: regularizer,
      trainable: trainable, doModelAverage: doModelAverage, gradientClip: gradientClip,
      isAbsent: false)
  }

  private init(
    name: String?, initializer: Initializer?, learningRate: Double, regularizer: Regularizer?,
    trainable: Bool, doModelAverage: Bool, gradientClip: GradientClip?, isAbsent: Bool
  ) {
    self.name = name
    self.initializer = initializer
    self.learningRate = learningRate
    self.regularizer = regularizer
    self.trainable = trainable
    self.doModelAverage = doModelAverage
    self.gradientClip = gradientClip
    self.isAbsent = isAbsent
  }

  /// No parameter: a layer without bias, or a normalization without scale. An error for a weight,
  /// which no layer can do without.
  public static let absent = ParamAttr(
    name: nil, initializer: nil, learningRate: 1, regularizer: nil, trainable: false,
    doModelAverage: false, gradientClip: nil, isAbsent: true)

  /// A name of `Optional`, where it says "as if nothing were given".
  @available(
    *, unavailable,
    message: "write .absent for a layer without this parameter; nil is the default, with it"
  )
  public static var none: ParamAttr { absent }

  var traits: ParameterTraits {
    var traits = ParameterTraits()
    traits.learningRate = learningRate
    traits.regularizer = regularizer
    traits.trainable = trainable
    traits.doModelAverage = doModelAverage
    traits.gradientClip = gradientClip
    return traits
  }
}

extension ParamAttr: ExpressibleByNilLiteral {
  /// The layer's own choice of everything: the same as `ParamAttr()`.
  public init(nilLiteral: ()) { self.init() }
}

extension ParamAttr: ExpressibleByStringInterpolation {
  /// A parameter of this name.
  public init(stringLiteral value: String) { self.init(name: value) }
}
