import InPlaceABN

/// What can be made without a layer, from sizes and numbers of any magnitude.
enum TrapInitializers {
  private static func make(
    _ name: String, _ body: @escaping @Sendable (inout Draw) throws -> Void
  ) -> TrapCase {
    TrapCase(name: name) { draw in
      draw.note(name)
      try body(&draw)
      return true
    }
  }

  /// What a program makes of an operator over inputs of any type.
  private static func infer(_ kind: any OperatorKind, _ types: TensorType...) throws {
    _ = (kind.attributes, kind.name, kind.sharing)
    let place = SourceLocation(fileID: #fileID, line: #line)
    var program = Program()
    let inputs = try types.enumerated().map { index, type in
      try program.addVariable(named: "x\(index)", type: type, role: .data, source: place).id
    }
    try program.append(kind, inputs, layer: "kind", source: place)
    _ = try program.specialized(to: [:])
  }

  private static func type(_ d: inout Draw) -> TensorType { TensorType(d.shape(), d.dtype()) }

  static let all: [TrapCase] = [
    make("Shape") { d in
      let shape = d.shape()
      _ = (
        shape.checkedElementCount, shape.strides, shape.isKnown, "\(shape)", shape.admits(d.shape())
      )
      _ = (shape.elementCount, TensorType(shape, d.dtype()).bytes)
      _ = try shape.validated()
    },
    make("Tensor of zeros") { d in
      let (shape, dtype) = (d.shape(), d.dtype())
      d.note("Tensor(zeros: \(shape.dimensions), dtype: .\(dtype))")
      use(Tensor(zeros: shape, dtype: dtype), &d)
    },
    make("Tensor without values") { d in
      let (shape, dtype) = (d.shape(), d.dtype())
      d.note("Tensor(uninitialized: \(shape.dimensions), dtype: .\(dtype))")
      use(Tensor(uninitialized: shape, dtype: dtype), &d)
    },
    make("Tensor of elements") { d in
      let elements = (0..<d.pick(9)).map { Float($0) }
      use(Tensor(elements, shape: d.shape()), &d)
      use(Tensor(elements), &d)
      use(Tensor(scalar: 1.0), &d)
    },
    make("windows") { d in
      let window = Window2D(
        kernel: d.sizes(2), stride: d.sizes(2), dilation: d.sizes(d.chance() ? 2 : d.pick(4)),
        padding: d.padding(), ceilMode: d.chance())
      let (x, w) = (type(&d), type(&d))
      d.note("\(window) over \(x) with \(w)")
      let axis = d.pick(100) < d.extremes ? d.size() : d.pick(2)
      let extent = d.pick([Pool2D.Extent.window(window), .adaptive([3, 2]), .global])
      let size = d.size()
      for ask: () throws -> Void in [
        { _ = try window.sides(axis, input: size) },
        { _ = try window.outputSize(axis, input: size) },
        { if size < 1 << 20 { _ = try Pool2D(.max, extent).windows(axis, input: size) } },
      ] {
        do { try ask() } catch is ABNError {}
      }
      if d.chance() {
        try infer(Conv2D(window: window, groups: d.size(), layout: d.layout()), x, w)
      } else {
        try infer(
          Pool2D(
            d.chance() ? .max : .average,
            d.pick([.window(window), .adaptive(d.sizes(2)), .global]), layout: d.layout()), x)
      }
    },
    make("kinds") { d in
      let (a, b) = (type(&d), type(&d))
      d.note("kinds over \(a) and \(b)")
      let kinds: [(inout Draw) throws -> any OperatorKind] = [
        {
          try Split($0.chance() ? .equal($0.size()) : .sizes($0.sizes($0.pick(4))), axis: $0.axis())
        },
        { try Pad(before: $0.sizes(a.shape.rank), after: $0.sizes(a.shape.rank)) },
        { try Reshape($0.sizes($0.pick(5))) },
        { Flatten(axis: $0.axis()) },
        { try Slice(axes: $0.sizes(1), starts: $0.sizes(1), ends: $0.sizes(1)) },
        { try Transpose($0.sizes(a.shape.rank)) },
        { Elementwise(.add, axis: $0.size()) },
        { Concat(axis: $0.axis()) },
        { Mul(numFlattenDims: $0.size()) },
        { try Resize(.nearest, to: .shape(height: $0.size(), width: $0.size())) },
        { try Resize(.bilinear, to: .scale($0.real())) },
        { Reduce(.mean, axes: $0.sizes(2)) },
        { try Accuracy(k: $0.size()) },
        { SoftmaxCrossEntropy(softLabel: true, ignoreIndex: $0.size(), axis: $0.axis()) },
        { _ in SquaredError() },
        { _ in PReLU() },
        { try ConcatGradient(axis: $0.axis(), index: $0.size(), start: $0.size()) },
        { try MaskedActivate(Activate($0.pick(Activation.all).with(alpha: $0.real()))) },
        { FillConstant($0.real(), type: TensorType($0.shape(), $0.dtype())) },
        { FoldNormalization(epsilon: $0.real()) },
        {
          try InPlaceActivatedBatchNorm(
            NormalizationAttributes(momentum: $0.real(), epsilon: $0.real()),
            activation: $0.pick(Activation.all).with(alpha: $0.real()))
        },
        {
          AverageAccumulate(
            rate: $0.real(), minimumWindow: $0.size(), maximumWindow: $0.size())
        },
        { try ScheduledValue(.constant($0.real()), dtype: $0.dtype()) },
        { SGDUpdate(multiplier: $0.real()) },
        {
          AdamUpdate(beta1: $0.real(), beta2: $0.real(), epsilon: $0.real(), decay: $0.real())
        },
      ]
      try infer(kinds[d.pick(kinds.count)](&d), a, b)
    },
    make("schedules") { d in
      let rates = [d.real(), d.real()]
      let schedules: [Schedule] = [
        .constant(rates[0]), .piecewise(boundaries: d.sizes(d.pick(3)), values: rates),
        .step(rates[0], every: d.size()), .multiStep(rates[0], milestones: d.sizes(2)),
        .exponential(rates[0], steps: d.size(), rate: rates[1], staircase: d.chance()),
        .polynomial(rates[0], steps: d.size(), power: rates[1], cycle: true),
        .cosine(rates[0], steps: d.size(), every: d.size()),
        .warmup(steps: d.size(), then: .step(rates[0], every: d.size())),
        .oneCycle(peak: rates[0], steps: d.size(), warmup: rates[1]),
        .oneCycle(
          peak: rates[0], steps: 10, startDivisor: rates[1], endDivisor: d.real()),
        nested(d.pick([1, 3, 64, 65, 100_000]), rates[0]),
      ]
      let schedule = d.pick(schedules)
      d.note("\(schedule)")
      let values = (0..<5).map { _ in schedule.value(step: d.size()) }
      _ = try schedule.validated()
      guard values.allSatisfy({ $0 >= 0 && $0 <= Schedule.largestRate }) else {
        throw KindCase.LateError(description: "\(schedule) gives \(values)")
      }
    },
    make("initializers of weights") { d in
      let (fanIn, fanOut) = (d.size(), d.size())
      let value: Initializer = d.pick([
        .constant(d.real()), .uniform(low: d.real(), high: d.real()),
        .normal(mean: d.real(), deviation: d.real()),
        .truncatedNormal(mean: d.real(), deviation: d.real()),
        .xavier(uniform: d.chance(), fanIn: fanIn, fanOut: fanOut), .msra(fanIn: fanIn),
        .uniform(low: d.real(), high: d.pick([1e308, -1e308, 3e38])),
        .array(Tensor(zeros: d.shape(), dtype: d.dtype())),
      ])
      let builder = ProgramBuilder()
      _ = try builder.build {
        try fc(
          data("x", shape: [2, d.pick([1, 3])]), size: 2, paramAttr: ParamAttr(initializer: value))
      }
      let scope = Scope()
      try Executor(backend: CPUBackend(), memoryLimit: .bytes(1 << 20)).run(
        builder.startup, scope: scope)
      if case .constant = value { return }
      for (name, values) in scope.snapshot() where !values.doubles.allSatisfy(\.isFinite) {
        throw KindCase.LateError(description: "\(value) makes \(values) of \(name)")
      }
    },
    make("optimizers") { d in
      let builder = ProgramBuilder()
      let rate = d.real()
      try builder.build {
        let loss = try mean(fc(data("x", shape: [2, 3]), size: 2))
        switch d.pick(4) {
        case 0: _ = try SGD(learningRate: rate, regularization: .l2(d.real())).minimize(loss)
        case 1: _ = try Momentum(learningRate: rate, momentum: d.real()).minimize(loss)
        case 2: _ = try Adam(learningRate: rate, beta1: d.real(), epsilon: d.real()).minimize(loss)
        default:
          _ = try SGD(
            learningRate: rate, gradientClip: .value(min: d.real(), max: d.real())
          ).minimize(loss)
        }
        _ = try ModelAverage(
          averageWindowRate: d.real(), minAverageWindow: d.size(), maxAverageWindow: d.size())
      }
    },
    make("data") { d in
      let shape: Shape = d.chance() ? [2, 1, 2, 3] : Shape(d.sizes(4))
      let images = Tensor(zeros: shape, dtype: .uint8)
      let split = try DataSplit(images: images, labels: [0, 1])
      let loader = try BatchLoader(
        split, normalization: ChannelNormalization(of: split),
        options: BatchLoader.Options(
          batchSize: d.size(),
          augmentation: Augmentation(cropPadding: d.size(), flipsHorizontally: d.chance()),
          prefetchCount: d.size()))
      _ = (loader.bytesInFlight(), loader.bytesInFlight(batchSize: d.size()))
      let epoch = d.chance() ? d.size() : d.pick([-1, .min, .max])
      d.note("epoch \(epoch) of \(shape)")
      for _ in loader.epoch(epoch, startingAt: d.size()).prefix(2) {}
      _ = loader.batch(0, ofEpoch: epoch)
    },
    make("settings of a training") { d in
      var settings = TrainingSettings(data: .digits, model: .mlp, output: "nowhere")
      settings.epochs = d.size()
      settings.batchSize = d.size()
      settings.learningRate = d.real()
      settings.momentum = d.real()
      settings.weightDecay = d.real()
      settings.activation = settings.activation.with(alpha: d.real())
      d.note("\(settings)")
      try settings.validate()
      _ = try Schedule.oneCycle(peak: settings.learningRate, steps: settings.epochs).validated()
    },
    make("plans") { d in
      let buffers = (0..<3).map {
        PlanBuffer(
          name: "b\($0)", bytes: d.size(), use: d.pick([.feed, .activation, .scratch]))
      }
      let ids = buffers.indices.map { d.pick(100) < d.extremes ? BufferID(d.size()) : BufferID($0) }
      let request = PlanRequest(
        buffers: buffers,
        steps: [
          PlanStep(name: "a", reads: [ids[0]], writes: [ids[1]]),
          PlanStep(
            name: "b", reads: [ids[1]], writes: [ids[2]],
            sharing: [BufferSharing(output: ids[2], input: ids[1], .overwrite)]),
        ])
      d.note("plan of \(buffers.map(\.bytes)), \(ids.map(\.index))")
      let plan = MemoryPlan(request, mode: d.pick([.compact, .guarded, .separate]))
      guard (plan.fault == nil) == (request.fault == nil), plan.offsets.count == buffers.count
      else { throw KindCase.LateError(description: "\(request) makes \(plan)") }
      _ = PlanTimeline(request, plan).html(title: "plan")
      _ = PlanTimeline(PlanRequest(buffers: [], steps: []), plan).html(title: "another")
    },
    make("models") { d in
      let model = d.pick(Model.all.filter { ["mlp", "lenet", "resnet20"].contains($0.name) })
      let image = Shape([model.image[0]] + d.sizes(2))
      d.note("\(model.name) of \(image.dimensions)")
      let builder = ProgramBuilder()
      _ = try builder.build {
        try model.build(
          data("images", shape: Shape([Shape.unknown] + image.dimensions)),
          ModelOptions(classes: d.size()))
      }
    },
  ]

  /// Warm-ups in one another.
  private static func nested(_ count: Int, _ rate: Double) -> Schedule {
    (0..<count).reduce(.constant(rate)) { inner, _ in .warmup(steps: 1, then: inner) }
  }

  private static func use(_ tensor: Tensor, _ d: inout Draw) {
    // Large ones have pages that nobody should touch here.
    guard tensor.bytes < 1 << 20 else { return }
    _ = (tensor.elements(Int8.self), tensor.elements(Double.self), tensor.elements(Bool.self))
    _ = (tensor.doubles, "\(tensor)", tensor == tensor, tensor.reshaped(d.shape()).failure)
    var copy = tensor.cast(to: d.pick(DType.allCases))
    copy.withUnsafeMutableBytes { bytes in for index in bytes.indices { bytes[index] = 0 } }
  }
}
