import InPlaceABN

/// The layers: built, differentiated, compiled and, where they are small, run.
enum TrapLayers {
  private static func layer(
    _ name: String, _ build: @escaping @Sendable (inout Draw) throws -> [Variable]
  ) -> TrapCase {
    TrapCase(name: name) { draw in
      let builder = ProgramBuilder(seed: 1)
      let outputs = try builder.build { try build(&draw) }
      let shapes = draw.feedShapes()
      draw.note(
        "\(name) of \(draw.feeds.values.map { "\($0.type)" }.sorted()) fed as \(shapes), "
          + "giving \(outputs.map { "\($0.type)" })")
      return try run(builder, outputs, shapes)
    }
  }

  private static func run(
    _ builder: ProgramBuilder, _ outputs: [Variable], _ shapes: [String: Shape]
  ) throws -> Bool {
    var program = builder.main
    var fetches = outputs
    if let float = outputs.first(where: { $0.dtype.isFloatingPoint }) {
      let loss = try builder.build { try mean(float) }
      let inputs = builder.main.variables.filter { $0.role == .data && $0.dtype.isFloatingPoint }
      let result = try builder.main.differentiated(
        loss, withRespectTo: builder.main.parameters + inputs)
      program = result.program
      fetches += result.gradients.values.sorted { $0.id < $1.id }
    }
    let executor = Executor(backend: CPUBackend(), memoryLimit: .bytes(1 << 22))
    let used = Set(
      program.pruned(to: fetches.map(\.id)).operators.flatMap(\.inputs) + fetches.map(\.id))
    let feed = shapes.filter { used.contains(program.variable(named: $0.key)!.id) }
    _ = try executor.compile(program, feed: feed, fetch: fetches)
    let scope = Scope()
    try executor.run(builder.startup, scope: scope)
    let tensors = feed.mapValues { $0 }.map { name, shape in
      (name, Tensor(zeros: shape, dtype: program.variable(named: name)!.dtype))
    }
    try executor.run(
      program, feed: Dictionary(uniqueKeysWithValues: tensors), fetch: fetches, scope: scope)
    return true
  }

  static let all: [TrapCase] = [
    layer("activation") {
      [try activation($0.input(), $0.pick(Activation.all).with(alpha: $0.real()))]
    },
    layer("conv2d") { d in
      let x = try d.input(4...4)
      return [
        try conv2d(
          x, numFilters: d.size(), filterSize: d.pair(), stride: d.pair(), padding: d.padding(),
          dilation: d.pair(), groups: d.pick(100) < d.extremes ? d.size() : 1,
          biasAttr: d.chance() ? ParamAttr.absent : nil, act: d.act(), dataLayout: d.layout())
      ]
    },
    layer("dropout") { [try dropout($0.input(), probability: $0.real(), isTest: $0.chance())] },
    layer("elementwise") { d in
      let x = try d.input()
      let y = try d.chance() ? d.input(like: x) : d.input(0...2, x.dtype)
      let axis = d.chance() ? -1 : d.axis()
      switch d.pick(4) {
      case 0: return [try elementwiseAdd(x, y, axis: axis, act: d.act())]
      case 1: return [try elementwiseSub(x, y, axis: axis, act: d.act())]
      case 2: return [try elementwiseMul(x, y, axis: axis)]
      default: return [try elementwiseDiv(x, y, axis: axis)]
      }
    },
    layer("elementwise with a reduced operand") { d in
      let x = try d.input(1...4)
      let reduced = try reduceMean(x, axes: [d.axis()], keepDimensions: d.chance())
      return [d.chance() ? try elementwiseSub(x, reduced) : try elementwiseMul(reduced, mean(x))]
    },
    layer("sums") { d in
      let x = try d.input()
      return [try sums(d.chance() ? [x, d.input(like: x)] : [x])]
    },
    layer("scale") { [try scale($0.input(), factor: $0.real(), bias: $0.real())] },
    layer("fc") { d in
      let x = try d.input(2...4)
      return [
        try fc(
          d.chance() ? [x] : [x, d.input(like: x)], size: d.size(),
          numFlattenDims: d.chance() ? 1 : d.axis(), biasAttr: d.chance() ? ParamAttr.absent : nil,
          act: d.act())
      ]
    },
    layer("prelu") {
      [
        try prelu(
          $0.input(1...4), mode: $0.pick([.all, .channel, .element, "other"]),
          dataLayout: $0.layout())
      ]
    },
    layer("pool2d") {
      [
        try pool2d(
          $0.input(4...4), poolSize: $0.pair(), poolType: $0.chance() ? .max : .average,
          poolStride: $0.pair(), poolPadding: $0.padding(), globalPooling: $0.pick(4) == 0,
          ceilMode: $0.chance(), exclusive: $0.chance(), dataLayout: $0.layout())
      ]
    },
    layer("adaptivePool2d") {
      [
        try adaptivePool2d(
          $0.input(4...4), poolSize: $0.pair(), poolType: $0.chance() ? .max : .average,
          dataLayout: $0.layout())
      ]
    },
    layer("softmax") { [try softmax($0.input(1...4), axis: $0.axis())] },
    layer("softmaxWithCrossEntropy") { d in
      let x = try d.input(1...4)
      let axis = d.axis()
      if d.chance() {
        return [try softmaxWithCrossEntropy(x, d.input(like: x), softLabel: true, axis: axis)]
      }
      var shape = x.shape
      let at = axis < 0 ? shape.rank &+ axis : axis
      if shape.dimensions.indices.contains(at) { shape[at] = 1 }
      let label = try data("label", shape: shape, dtype: .int64)
      d.add(label)
      return [try softmaxWithCrossEntropy(x, label, ignoreIndex: d.size(), axis: axis)]
    },
    layer("losses") { d in
      let x = try d.input()
      let y = try d.input(like: x)
      return [d.chance() ? try squareErrorCost(x, y) : try mseLoss(x, y)]
    },
    layer("accuracy") { d in
      let x = try d.input(2...2)
      let label = try data("label", shape: [x.shape.rank > 0 ? x.shape[0] : 1, 1], dtype: .int64)
      d.add(label)
      return [try accuracy(x, label, k: d.size())]
    },
    layer("batchNorm") {
      [
        try batchNorm(
          $0.input(2...5), act: $0.act()?.with(alpha: $0.real()), isTest: $0.pick(8) == 0,
          momentum: .value($0.real()),
          epsilon: $0.real(), dataLayout: $0.layout(), useGlobalStats: $0.chance())
      ]
    },
    layer("inplaceABN") {
      [
        try inplaceABN(
          $0.input(2...5), act: $0.act()?.with(alpha: $0.real()), isTest: $0.pick(8) == 0,
          momentum: .value($0.real()),
          epsilon: $0.real(), dataLayout: $0.layout(), useGlobalStats: $0.chance())
      ]
    },
    layer("reduce") { d in
      let x = try d.input()
      let axes = d.chance() ? nil : (0..<d.pick(3)).map { _ in d.axis() }
      return [
        d.chance()
          ? try reduceMean(x, axes: axes, keepDimensions: d.chance())
          : try reduceSum(x, axes: axes, keepDimensions: d.chance())
      ]
    },
    layer("resizeBilinear") {
      [
        try resizeBilinear(
          $0.input(4...4), outShape: $0.chance() ? $0.sizes(2) : nil, scale: $0.real(),
          alignCorners: $0.chance(), alignMode: $0.chance() ? 1 : 0, dataLayout: $0.layout())
      ]
    },
    layer("resizeNearest") {
      [
        try resizeNearest(
          $0.input(4...4), outShape: $0.chance() ? $0.sizes(2) : nil, scale: $0.real(),
          alignCorners: $0.chance(), dataLayout: $0.layout())
      ]
    },
    layer("cast and assign") { d in
      let x = try d.input()
      return [try assign(cast(x, to: d.pick(DType.allCases)))]
    },
    layer("concat") { d in
      let x = try d.input(1...4)
      return [try concat([x, d.input(like: x), x], axis: d.axis())]
    },
    layer("split") { d in
      let x = try d.input(1...4)
      let parts: SplitParts = d.chance() ? .equal(d.size()) : .sizes(d.sizes(d.pick(4)))
      return try split(x, parts, axis: d.axis())
    },
    layer("reshape") { d in
      let x = try d.input()
      var shape = d.sizes(d.pick(4))
      if d.chance() { shape.append(-1) }
      return [try reshape(x, shape)]
    },
    layer("flatten") { [try flatten($0.input(), axis: $0.axis())] },
    layer("transpose") { d in
      let x = try d.input()
      return [
        try transpose(
          x, d.chance() ? Array((0..<x.shape.rank).reversed()) : d.sizes(x.shape.rank))
      ]
    },
    layer("slice") {
      let count = $0.pick(3) + 1
      return [
        try slice(
          $0.input(1...4), axes: Array(0..<count),
          starts: $0.chance() ? $0.sizes(count) : Array(repeating: 0, count: count),
          ends: $0.sizes(count))
      ]
    },
    layer("pad") { d in
      let x = try d.input(0...4)
      return [try pad(x, d.sizes(2 * x.shape.rank), value: d.real())]
    },
    layer("pad2d") { [try pad2d($0.input(4...4), $0.sizes(4), dataLayout: $0.layout())] },
    layer("unary") { d in
      let x = try d.input()
      return [
        try square(x), try InPlaceABN.sqrt(x), try InPlaceABN.exp(x), try InPlaceABN.log(x),
        try InPlaceABN.abs(x),
      ]
    },
  ]
}
