import ABNActivations
import ABNCPUBackend
import ABNGraph
import ABNLayers
import ABNRuntime
import ABNTensors
import ABNTestSupport
import Testing

/// Operators between two convolutions, whose images stand in blocks of channels in float32 and
/// row-major in float64: the comparison of the two types is one of the two layouts.
@Suite struct LayoutTests {
  /// A way from x [2, 16, H, W] through blocked images.
  struct Way: Sendable {
    let name: String
    /// Whether images are converted on it beyond the input and what convolutions ask for.
    var isFree = true
    let build: @Sendable (Variable) throws -> Variable
  }

  static func convolved(_ x: Variable, _ filters: Int, _ size: Int = 3) throws -> Variable {
    try conv2d(
      x, numFilters: filters, filterSize: size, padding: size / 2,
      biasAttr: .absent)
  }

  static let ways: [Way] = [
    Way(name: "concat of 16 and 32 channels") { x in
      try concat([convolved(x, 16), convolved(x, 32, 1)], axis: 1)
    },
    Way(name: "concat of rows") { x in
      try concat([convolved(x, 16), convolved(x, 16, 1)], axis: 2)
    },
    Way(name: "concat of samples") { x in
      try concat([convolved(x, 16), convolved(x, 16, 1)], axis: 0)
    },
    // 8 channels have no block of 16.
    Way(name: "concat of 16 and 8 channels", isFree: false) { x in
      try concat([convolved(x, 16), convolved(x, 8)], axis: 1)
    },
    Way(name: "split of channels") { x in
      let parts = try split(convolved(x, 48), [16, 32], axis: 1)
      return try elementwiseAdd(parts[0], convolved(parts[1], 16))
    },
    Way(name: "split of columns") { x in
      let parts = try split(convolved(x, 16), 2, axis: 3)
      return try elementwiseMul(parts[0], parts[1])
    },
    Way(name: "bilinear") { x in try resizeBilinear(convolved(x, 32), outShape: [7, 9]) },
    Way(name: "nearest") { x in try resizeNearest(convolved(x, 16), outShape: [3, 12]) },
    Way(name: "a factor for each sample and channel") { x in
      let y = try convolved(x, 32)
      let pooled = try pool2d(y, poolType: .average, globalPooling: true)
      return try elementwiseMul(y, sigmoid(convolved(pooled, 32, 1)))
    },
    Way(name: "a term for each channel") { x in
      let y = try convolved(x, 32)
      let term = try reshape(
        slice(pool2d(y, globalPooling: true), axes: [0], starts: [0], ends: [1]), [32])
      return try elementwiseAdd(y, term, axis: 1)
    },
    // oneDNN wants the images of a convolution to one channel row-major.
    Way(name: "a factor for each pixel", isFree: false) { x in
      let y = try convolved(x, 16)
      return try elementwiseMul(y, sigmoid(convolved(y, 1)))
    },
    Way(name: "pooling and a sum of three") { x in
      let y = try convolved(x, 16)
      let pooled = try pool2d(y, poolSize: 3, poolStride: 1, poolPadding: 1)
      return try sums([pooled, y, tanh(y)])
    },
    Way(name: "padding", isFree: false) { x in
      try pad2d(convolved(x, 16), [1, 0, 0, 2])
    },
    // Layers that have their channels on the last axis, where the convolution's columns are.
    Way(name: "an in-place layer in NHWC", isFree: false) { x in
      try inplaceABN(convolved(x, 16), act: .leakyReLU(slope: 1), epsilon: 0.05, dataLayout: .nhwc)
    },
    Way(name: "batch normalization in NHWC", isFree: false) { x in
      try batchNorm(convolved(x, 16), epsilon: 0.05, dataLayout: .nhwc)
    },
    Way(name: "the end of a residual block in NHWC", isFree: false) { x in
      let y = try convolved(x, 16)
      let branch = try inplaceABN(y, act: .identity, epsilon: 0.05, dataLayout: .nhwc)
      return try leakyReLU(elementwiseAdd(branch, x), alpha: 0.1)
    },
    Way(name: "average pooling in NHWC", isFree: false) { x in
      try pool2d(
        convolved(x, 16), poolSize: 3, poolType: .average, poolPadding: 1, dataLayout: .nhwc)
    },
    Way(name: "maximum pooling in NHWC", isFree: false) { x in
      try pool2d(convolved(x, 16), poolSize: 3, poolPadding: 1, dataLayout: .nhwc)
    },
    Way(name: "bilinear in NHWC", isFree: false) { x in
      try resizeBilinear(convolved(x, 16), outShape: [16, 5], dataLayout: .nhwc)
    },
    Way(name: "prelu in NHWC", isFree: false) { x in
      try prelu(convolved(x, 16), mode: .channel, dataLayout: .nhwc)
    },
  ]

  @Test(arguments: ways.indices) func valuesAndGradientsAreThoseOfRows(_ index: Int) throws {
    let way = Self.ways[index]
    try OperatorCase(
      way.name, [.random([2, 16, 3, 4])], tolerance32: 4e-5, tolerance16: nil
    ) { x in
      [try Self.convolved(way.build(Self.convolved(x[0], 16)), 16)]
    }.check()
  }

  /// The steps of the way that copy an image into another layout, with its gradients.
  static func conversions(_ way: Way) throws -> [String] {
    let builder = ProgramBuilder(seed: 3)
    var x: Variable!
    let loss = try builder.build {
      x = try data("x", shape: [2, 16, 3, 4], stopsGradient: false)
      let y = try convolved(way.build(convolved(x, 16)), 16)
      return try mean(pool2d(y, poolType: .average, globalPooling: true))
    }
    let result = try builder.main.differentiated(
      loss, withRespectTo: [x] + builder.main.parameters)
    let executable = try Executor(backend: CPUBackend()).compile(
      result.program, feed: ["x": [2, 16, 3, 4]],
      fetch: result.gradients.values.sorted { $0.id < $1.id })
    let lowered = executable.lowered
    let ports = Set((lowered.feeds + lowered.fetches).map(\.name))
    return lowered.steps.filter { step in
      step.purpose == .conversion && !step.name.contains("weight")
        && !step.arguments.contains { argument in
          ports.contains { lowered.buffers[argument.buffer.index].name.hasPrefix($0) }
        }
    }.map { "\($0.name) for \($0.layer)" }
  }

  @Test func whatFollowsIsNotConverted() throws {
    let plain = try Self.conversions(Way(name: "nothing") { $0 })
    // Without oneDNN's AVX kernels the convolutions themselves may be row-major.
    for way in Self.ways where way.isFree {
      let own = try Self.conversions(way)
      #expect(own.count <= plain.count, "\(way.name): \(own)")
    }
  }
}
