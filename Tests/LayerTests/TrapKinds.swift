import InPlaceABN

/// Every kind of operator with inputs that fit it, and what becomes of it with others.
struct KindCase: Sendable {
  let kind: any OperatorKind
  let inputs: [TensorType]
  /// Whether it runs over any inputs of these types: some gradients want what their layer made.
  var runsAlone = true

  private static func type(_ dimensions: Int..., as dtype: DType = .float32) -> TensorType {
    TensorType(Shape(dimensions), dtype)
  }

  /// One for each kind of the catalogue, at least.
  static func all() throws -> [KindCase] { try forward() + backward() + updates() }

  private static let image = type(2, 4, 5, 5)
  private static let channels = type(4)
  private static let saved = type(3, 4)
  private static let one = type(1)
  private static let counter = type(1, as: .int64)
  private static let label = type(2, 1, as: .int64)
  private static let matrix = type(2, 4)

  private static func forward() throws -> [KindCase] {
    let norm = try NormalizationAttributes()
    let conv = try Conv2D(window: Window2D(kernel: [2, 2]))
    let weight = type(3, 4, 2, 2)
    let layer = try InPlaceActivatedBatchNorm(norm, activation: .prelu)
    let parameters = [channels, channels, channels, channels]
    return [
      KindCase(kind: try Accuracy(), inputs: [matrix, label]),
      KindCase(kind: try Activate(.mish), inputs: [image]),
      KindCase(kind: Assign(), inputs: [matrix]),
      KindCase(kind: AssignValue(Tensor([Float(1), 2])), inputs: []),
      KindCase(kind: BatchNorm(norm), inputs: [image] + parameters),
      KindCase(kind: Cast(to: .float64), inputs: [image]),
      KindCase(kind: ClassSums(), inputs: [type(2, 5, 5, 5), type(2, 1, 5, 5, as: .int64)]),
      KindCase(kind: try ClipScale(limit: 1), inputs: [type(1, as: .float64)]),
      KindCase(kind: Concat(axis: 1), inputs: [matrix, type(2, 3)]),
      KindCase(kind: conv, inputs: [image, weight, type(3)]),
      KindCase(
        kind: Conv2DFusion(conv, hasResidual: true)!,
        inputs: [image, weight, type(3), type(2, 3, 4, 4)]),
      KindCase(
        kind: try Dropout(
          probability: 0.5, implementation: .upscaleInTrain,
          source: CounterRandom(seed: 1, stream: 1)), inputs: [matrix, counter]),
      KindCase(kind: Elementwise(.divide), inputs: [matrix, type(4)]),
      KindCase(kind: Elementwise(.add, axis: 1), inputs: [image, channels]),
      KindCase(kind: FillConstant(1, type: matrix), inputs: []),
      KindCase(kind: Flatten(axis: 1), inputs: [image]),
      KindCase(
        kind: FoldNormalization(epsilon: 1e-5),
        inputs: [weight] + Array(repeating: type(3), count: 5)),
      KindCase(kind: try LabelShares(weights: [1, 0.5, 2, 1, 3]), inputs: [label]),
      KindCase(kind: layer, inputs: [image] + parameters + [one]),
      KindCase(kind: LovaszSoftmax(), inputs: [type(2, 5, 5, 5), type(2, 1, 5, 5, as: .int64)]),
      KindCase(kind: try MaskedActivate(Activate(.relu)), inputs: [image]),
      KindCase(kind: Mul(), inputs: [matrix, type(4, 3)]),
      KindCase(kind: try Pad(before: [0, 1], after: [1, 0]), inputs: [matrix]),
      KindCase(
        kind: try Pool2D(.max, .window(Window2D(kernel: [2, 2], stride: [2, 2]))), inputs: [image]),
      KindCase(kind: try Pool2D(.average, .adaptive([3, 2])), inputs: [image]),
      KindCase(kind: PReLU(), inputs: [matrix, type(4)]),
      KindCase(
        kind: RandomFill(.normal(mean: 0, deviation: 1), type: matrix, seed: 1, stream: 1),
        inputs: []),
      KindCase(kind: Reduce(.mean, axes: [1]), inputs: [matrix]),
      KindCase(kind: try Reshape([4, 2]), inputs: [matrix]),
      KindCase(kind: try Resize(.bilinear, to: .scale(2)), inputs: [image]),
      KindCase(kind: Scale(factor: 2), inputs: [image]),
      KindCase(kind: try ScheduledValue(.constant(1)), inputs: [counter]),
      KindCase(kind: try Slice(axes: [1], starts: [1], ends: [3]), inputs: [matrix]),
      KindCase(kind: Softmax(), inputs: [matrix]),
      KindCase(kind: SoftmaxCrossEntropy(), inputs: [matrix, label]),
      KindCase(kind: try Split(2, axis: 1), inputs: [matrix]),
      KindCase(kind: SquaredError(), inputs: [matrix, matrix]),
      KindCase(kind: SumOf(), inputs: [image, image]),
      KindCase(kind: try Transpose([1, 0]), inputs: [matrix]),
      KindCase(kind: Unary(.exp), inputs: [matrix]),
      KindCase(kind: ZerosLike(), inputs: [matrix]),
    ]
  }

  private static func backward() throws -> [KindCase] {
    let norm = try NormalizationAttributes()
    let conv = try Conv2D(window: Window2D(kernel: [2, 2]))
    let (weight, dy) = (type(3, 4, 2, 2), type(2, 3, 4, 4))
    let layer = try InPlaceActivatedBatchNorm(norm, activation: .prelu)
    let identity = try InPlaceActivatedBatchNorm(norm, activation: .identity)
    let sum = ResidualSum(after: identity, activation: nil)!
    let dropout = try Dropout(
      probability: 0.5, implementation: .upscaleInTrain, source: CounterRandom(seed: 1, stream: 1))
    return [
      KindCase(kind: ActivateGradient(of: try Activate(.elu())), inputs: [image, image]),
      KindCase(
        kind: ActivateGradientOfSum(of: try Activate(.relu))!, inputs: [image, image, image]),
      KindCase(
        kind: BatchNormGradient(of: BatchNorm(norm)),
        inputs: [image, image, channels, channels, saved]),
      KindCase(
        kind: ClassSumsGradient(of: ClassSums()),
        inputs: [image, type(2, 1, 5, 5, as: .int64), channels, channels]),
      KindCase(
        kind: try ConcatGradient(axis: 1, index: 1), inputs: [type(2, 7), matrix, type(2, 3)]),
      KindCase(kind: Conv2DDataGradient(of: conv), inputs: [weight, dy, image]),
      KindCase(
        kind: Conv2DWeightGradient(of: conv, hasBias: true), inputs: [image, dy, weight, type(3)]),
      KindCase(kind: DivisorGradient(axis: -1), inputs: [matrix, matrix, type(4)]),
      KindCase(kind: DropoutGradient(of: dropout), inputs: [matrix, counter]),
      KindCase(
        kind: InPlaceABNGradient(of: layer),
        inputs: [image, image, channels, channels, saved, one], runsAlone: false),
      KindCase(
        kind: InPlaceABNWithActivation(identity, behind: try Activate(.swish))!,
        inputs: [image, channels, channels, channels, channels]),
      KindCase(
        kind: MaskedActivateGradient(of: try Activate(.relu)),
        inputs: [type(25, as: .uint8), image]),
      KindCase(kind: MulDataGradient(of: Mul()), inputs: [type(4, 3), type(2, 3), matrix]),
      KindCase(kind: MulWeightGradient(of: Mul()), inputs: [matrix, type(2, 3), type(4, 3)]),
      KindCase(
        kind: Pool2DGradient(of: try Pool2D(.max, .global)),
        inputs: [type(2, 4, 1, 1), image, type(2, 4, 1, 1, as: .uint8)], runsAlone: false),
      KindCase(
        kind: Pool2DGradient(of: try Pool2D(.average, .global)), inputs: [type(2, 4, 1, 1), image]),
      KindCase(kind: PReLUGradient(), inputs: [matrix, type(4), matrix]),
      KindCase(
        kind: ReduceGradient(of: Reduce(.mean, axes: [1])), inputs: [matrix, type(2)]),
      KindCase(kind: ReshapeGradient(), inputs: [type(8), matrix]),
      KindCase(kind: sum, inputs: [image, image, channels, saved], runsAlone: false),
      KindCase(
        kind: ResidualTerm(of: sum), inputs: [image, image], runsAlone: false),
      KindCase(
        kind: ResizeGradient(of: try Resize(.nearest, to: .scale(2))),
        inputs: [type(2, 4, 10, 10), image]),
      KindCase(
        kind: RestoreInput(of: layer), inputs: [image, channels, channels, saved, one],
        runsAlone: false),
      KindCase(
        kind: SliceGradient(of: try Slice(axes: [1], starts: [1], ends: [3])),
        inputs: [type(2, 2), matrix]),
      KindCase(kind: SoftmaxGradient(axis: 1), inputs: [matrix, matrix]),
      KindCase(
        kind: SoftmaxCrossEntropyGradient(of: SoftmaxCrossEntropy()),
        inputs: [matrix, label, type(2, 1)]),
      KindCase(kind: SquaredErrorGradient(), inputs: [matrix, matrix, matrix]),
      KindCase(kind: SquaredNorm(), inputs: [matrix]),
      KindCase(kind: SumToShape(axis: -1), inputs: [matrix, type(4)]),
      KindCase(kind: UnaryGradient(of: Unary(.log)), inputs: [matrix, matrix]),
    ]
  }

  private static func updates() throws -> [KindCase] {
    let power = type(1, as: .float64)
    return [
      KindCase(kind: AccumulateGradient(), inputs: [matrix, matrix]),
      KindCase(
        kind: AdamUpdate(beta1: 0.9, beta2: 0.999, epsilon: 1e-8),
        inputs: [matrix, matrix, one, matrix, matrix, power, power]),
      KindCase(
        kind: ApplyAverage(), inputs: [matrix, matrix, matrix, matrix, matrix, counter, counter]),
      KindCase(
        kind: AverageAccumulate(rate: 0.5, minimumWindow: 2, maximumWindow: 4),
        inputs: [matrix, matrix, matrix, matrix, counter, counter, counter]),
      KindCase(
        kind: ApplyExponentialAverage(), inputs: [matrix, matrix, matrix, counter]),
      KindCase(kind: ExponentialAverageUpdate(decay: 0.9), inputs: [matrix, matrix, counter]),
      KindCase(kind: Increment(), inputs: [counter]),
      KindCase(
        kind: LambUpdate(beta1: 0.9, beta2: 0.999, epsilon: 1e-6),
        inputs: [matrix, matrix, one, matrix, matrix, power, power]),
      KindCase(kind: MeanGradient(count: 3), inputs: [matrix, matrix]),
      KindCase(kind: MomentumUpdate(momentum: 0.9), inputs: [matrix, matrix, one, matrix]),
      KindCase(kind: RestoreParameter(), inputs: [matrix, matrix]),
      KindCase(kind: SGDUpdate(), inputs: [matrix, matrix, one]),
    ]
  }

  /// Appended, compiled in the checking mode, and run.
  ///
  /// - Throws: `ABNError` for what does not fit; another error where a mistake of types is found late.
  func run(_ random: CounterRandom) throws {
    let place = SourceLocation(fileID: #fileID, line: #line)
    _ = (kind.name, kind.attributes, kind.readsTypeOnly, kind.toleratesRestored)
    let updated = Set(kind.sharing.filter { $0.strength == .must }.map(\.input))
    var program = Program()
    var feed: [String: Tensor] = [:]
    let scope = Scope()
    let variables = try inputs.enumerated().map { index, type in
      let role: VariableRole = updated.contains(index) ? .state : .data
      let made = try program.addVariable(named: "x\(index)", type: type, role: role, source: place)
      let shape = Shape(type.shape.dimensions.map { $0 < 0 ? 2 : $0 })
      guard let count = shape.checkedElementCount, count < 1 << 16 else {
        throw ABNError(.system, "fuzz", got: "\(shape)", wanted: "a small tensor")
      }
      let values = (0..<count).map { Double(random.bits(UInt64($0 + index)) % 5) }
      let tensor = Tensor(values, shape: shape).cast(to: type.dtype)
      if role == .data { feed[made.name] = tensor } else { scope[made.name] = tensor }
      return made.id
    }
    let outputs = try program.append(kind, variables, layer: "kind", source: place)
    let executor = Executor(backend: CPUBackend(), mode: .guarded, memoryLimit: .bytes(1 << 24))
    let read = Set(program.operators.flatMap(\.inputs)).union(outputs.map(\.id))
    feed = feed.filter { read.contains(program.variable(named: $0.key)!.id) }
    do {
      _ = try executor.compile(program, feed: feed.mapValues(\.shape), fetch: outputs)
    } catch let error as ABNError where inputs.allSatisfy(\.shape.isKnown) {
      guard [.dtype, .unsupported, .attribute].contains(error.category) else { throw error }
      throw LateError(description: "\(kind.name) of \(inputs) was appended, and then: \(error)")
    }
    try executor.run(program, feed: feed, fetch: outputs, scope: scope)
  }

  /// What could have been told where the layer was built.
  struct LateError: Error, CustomStringConvertible { let description: String }
}

/// Kinds over inputs that nearly fit.
enum TrapKinds {
  static func check(_ d: inout Draw) throws {
    var entry = try d.pick(KindCase.all())
    var inputs = entry.inputs
    for _ in 0..<d.pick(3) {
      switch d.pick(6) {
      case 0: _ = inputs.popLast()
      case 1: inputs.append(TensorType([1], d.dtype()))
      case 2 where !inputs.isEmpty: inputs[d.pick(inputs.count)].dtype = d.pick(DType.allCases)
      case 3 where !inputs.isEmpty:
        inputs[d.pick(inputs.count)].shape = Shape((0..<d.pick(6)).map { _ in d.size() })
      case 4 where !inputs.isEmpty:
        let at = d.pick(inputs.count)
        let rank = inputs[at].shape.rank
        if rank > 0 { inputs[at].shape[d.pick(rank)] = d.size() }
      default:
        if inputs.count > 1 { inputs.swapAt(0, d.pick(inputs.count)) }
      }
    }
    entry = KindCase(kind: entry.kind, inputs: inputs)
    d.note("\(entry.kind) over \(inputs)")
    try entry.run(CounterRandom(seed: 7, stream: UInt64(inputs.count)))
  }
}
