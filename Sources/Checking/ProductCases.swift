import ABNActivations
import ABNGraph
import ABNLayers
import ABNOperators
import ABNOptimizers
import ABNTensors

extension CheckCase {
  /// One convolution.
  private struct Window: Sendable {
    var name: String
    var image = [2, 8, 9, 11]
    var filters = 6
    var kernel: any Pair = 3
    var stride: any Pair = 1
    var padding: any PaddingConvertible = 1
    var dilation: any Pair = 1
    var groups = 1
    /// In float32 alone: of 16 bits, sums that are rounded elsewhere turn elements at the kink
    /// around.
    var act: Activation?
  }

  static func convolutions() -> [OperatorSpec] {
    let windows = [
      Window(name: "3x3"), Window(name: "1x1", kernel: 1, padding: 0),
      Window(name: "1x1/2", kernel: 1, stride: 2, padding: 0),
      Window(name: "3x3/2", stride: 2), Window(name: "3x3 same", stride: 2, padding: Padding.same),
      Window(name: "3x3 dilated", padding: 2, dilation: 2),
      Window(
        name: "5x2 uneven", kernel: [5, 2], stride: [2, 1],
        padding: Padding.explicit([[1, 2], [0, 1]])),
      Window(name: "7x7/2, 3 channels", image: [2, 3, 21, 19], kernel: 7, stride: 2, padding: 3),
      Window(name: "3x3 in 2 groups", groups: 2),
      Window(name: "3x3 of each channel", filters: 8, groups: 8),
      Window(name: "3x3 and relu", act: .relu),
      Window(name: "3x3, 64 to 64", image: [2, 64, 14, 14], filters: 64),
      Window(name: "1x1, 64 to 128", image: [2, 64, 7, 7], filters: 128, kernel: 1, padding: 0),
    ]
    return DataLayout.allCases.flatMap { layout in
      windows.map { window in
        let sizes = window.image
        let shape =
          layout == .nchw ? Shape(sizes) : Shape([sizes[0], sizes[2], sizes[3], sizes[1]])
        let isPlain = window.name == "3x3" || window.name == "1x1"
        var spec = OperatorSpec(
          "conv2d \(window.name) \(layout.rawValue)", [.random(shape)],
          dtypes: window.act != nil
            ? [.float32]
            : isPlain ? [.float32, .bfloat16, .float16, .float64] : [.float32, .bfloat16]
        ) {
          [
            try conv2d(
              $0[0], numFilters: window.filters, filterSize: window.kernel, stride: window.stride,
              padding: window.padding, dilation: window.dilation, groups: window.groups,
              biasAttr: ParamAttr(initializer: .uniform(low: -0.5, high: 0.5)), act: window.act,
              dataLayout: layout)
          ]
        }
        spec.needsExactProducts = window.act != nil
        return spec
      }
    }
  }

  static func products() -> [OperatorSpec] {
    let bias = ParamAttr(initializer: .uniform(low: -0.5, high: 0.5))
    return [
      OperatorSpec(
        "fc", [.random([7, 13])], dtypes: [.float32, .bfloat16, .float16, .float64]
      ) { [try fc($0[0], size: 5, biasAttr: bias)] },
      OperatorSpec("fc of images, relu", [.random([3, 4, 5, 2])]) {
        [try fc($0[0], size: 17, biasAttr: bias, act: .relu)]
      },
      OperatorSpec("fc behind 2 axes", [.random([3, 4, 35])]) {
        [try fc($0[0], size: 9, numFlattenDims: 2)]
      },
      OperatorSpec("fc of two", [.random([6, 5]), .random([6, 3])]) {
        [try fc($0, size: 4)]
      },
      OperatorSpec("fc 256 to 128", [.random([33, 256])]) { [try fc($0[0], size: 128)] },
      OperatorSpec("fc of one row", [.random([1, 65])]) { [try fc($0[0], size: 3)] },
      OperatorSpec("conv, layer, conv, layer", [.random([2, 4, 9, 9])], units: 256) { v in
        var x = v[0]
        for _ in 0..<2 {
          x = try inplaceABN(
            conv2d(x, numFilters: 16, filterSize: 3, padding: 1, biasAttr: .absent),
            act: .elu())
        }
        return [x]
      },
    ]
  }

  /// Updates by an optimizer: three steps of a small network.
  static func updateCases() -> [CheckCase] {
    let decay = Regularizer.l2(0.01)
    let optimizers: [(String, @Sendable (Variable) throws -> Void)] = [
      ("sgd", { _ = try SGD(learningRate: 0.1).minimize($0) }),
      (
        "momentum",
        {
          _ = try Momentum(learningRate: 0.1, momentum: 0.9, regularization: decay)
            .minimize($0)
        }
      ),
      (
        "momentum, Nesterov, l1",
        {
          _ = try Momentum(
            learningRate: 0.1, momentum: 0.9, useNesterov: true, regularization: .l1(0.01)
          ).minimize($0)
        }
      ),
      ("adam", { _ = try Adam(learningRate: 0.01).minimize($0) }),
      ("adamw", { _ = try AdamW(learningRate: 0.01).minimize($0) }),
      (
        "sgd, clipped by value",
        {
          _ = try SGD(learningRate: 0.1, gradientClip: .value(min: -0.05, max: 0.1))
            .minimize($0)
        }
      ),
      (
        "sgd, clipped by norm",
        { _ = try SGD(learningRate: 0.1, gradientClip: .norm(0.1)).minimize($0) }
      ),
      (
        "momentum, clipped by the common norm",
        {
          _ = try Momentum(
            learningRate: 0.1, momentum: 0.9, gradientClip: .globalNorm(0.2)
          ).minimize($0)
        }
      ),
    ]
    return optimizers.map { name, minimize in
      CheckCase(
        .operations, name, .float32, bound: CheckBound(1e-5),
        stateBound: CheckBound(1e-4, .rootMeanSquare)
      ) { try updates($0, minimize) }
    }
  }

  private static func updates(
    _ types: CheckTypes, _ minimize: (Variable) throws -> Void
  ) throws -> CheckProgram {
    let builder = ProgramBuilder(seed: 9)
    let shapes: [Shape] = [[12, 7], [12, 3]]
    let loss = try builder.build {
      let x = try data("x0", shape: shapes[0], dtype: types.data)
      let y = try data("x1", shape: shapes[1], dtype: types.data)
      let loss = try mseLoss(fc(fc(x, size: 9, act: .tanh), size: 3), y)
      try minimize(loss)
      return loss
    }
    var program = CheckProgram()
    (program.startup, program.main) = (builder.startup, builder.main)
    program.results = [CheckProgram.Result(label: "loss", variable: loss)]
    for (index, shape) in shapes.enumerated() {
      let input = CheckInput.random(shape)
      program.feed["x\(index)"] = input.make(CounterRandom(seed: 3, stream: UInt64(index)))
        .cast(to: types.data)
    }
    program.states = program.main.persistables.filter { $0.dtype.isFloatingPoint }.map(\.name)
    return program
  }
}
