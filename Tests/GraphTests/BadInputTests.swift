import ABNTestSupport
import InPlaceABN
import Testing

/// The rows of "Bad input" in the layer's contract, and what other layers refuse: each with a
/// message that says where, got, wanted and what to do.
@Suite struct BadInputTests {
  struct Case: CustomTestStringConvertible, Sendable {
    let testDescription: String
    let parts: [String]
    let build: @Sendable () throws -> Void
    init(_ name: String, _ parts: String..., build: @escaping @Sendable () throws -> Void) {
      testDescription = name
      self.parts = parts
      self.build = build
    }
  }

  static let cases: [Case] = [
    Case("rank 1", "rank 1", "rank 2...5") { _ = try inplaceABN(data("x", shape: [3])) },
    Case("rank 6", "rank 6", "rank 2...5") {
      _ = try inplaceABN(data("x", shape: [2, 3, 2, 2, 2, 2]))
    },
    Case("integers", "int64", "float32", "cast") {
      _ = try inplaceABN(data("x", shape: [4, 3], dtype: .int64))
    },
    Case("booleans", "bool", "float32", "cast") {
      _ = try inplaceABN(data("x", shape: [4, 3], dtype: .bool))
    },
    Case("unknown channels", "channels are unknown", "axis 1") {
      _ = try inplaceABN(data("x", shape: [4, -1]))
    },
    Case("unknown channels, last", "channels are unknown", "axis 3", "data()") {
      _ = try inplaceABN(data("x", shape: [4, 3, 5, -1]), dataLayout: .nhwc)
    },
    Case("empty dimension", "[0, 3]", "at least 1") {
      _ = try inplaceABN(data("x", shape: [0, 3]))
    },
    Case("unknown activation", "\"leaky_rellu\"", "Did you mean \"leaky_relu\"?") {
      _ = try inplaceABN(data("x", shape: [4, 3]), act: "leaky_rellu")
    },
    Case("negative epsilon", "epsilon", "-1.0") {
      _ = try inplaceABN(data("x", shape: [4, 3]), epsilon: -1)
    },
    Case("epsilon not a number", "epsilon", "nan") {
      _ = try inplaceABN(data("x", shape: [4, 3]), epsilon: .nan)
    },
    Case("epsilon not finite", "epsilon", "inf", "finite number of at least 0") {
      _ = try inplaceABN(data("x", shape: [4, 3]), epsilon: .infinity)
    },
    Case("momentum below 0", "momentum", "-0.1", "0...1") {
      _ = try inplaceABN(data("x", shape: [4, 3]), momentum: .value(-0.1))
    },
    Case("momentum above 1", "momentum", "1.5", "0...1") {
      _ = try inplaceABN(data("x", shape: [4, 3]), momentum: 1.5)
    },
    Case("momentum not finite", "momentum", "nan") {
      _ = try inplaceABN(data("x", shape: [4, 3]), momentum: .value(.nan))
    },
    Case("momentum of another shape", "momentum", "float32[2]", "float32[1]") {
      _ = try inplaceABN(
        data("x", shape: [4, 3]), momentum: .variable(data("m", shape: [2])))
    },
    Case("momentum of another type", "momentum", "float64[1]", "float32[1]") {
      _ = try inplaceABN(
        data("x", shape: [4, 3]), momentum: .variable(data("m", shape: [1], dtype: .float64)))
    },
    Case("scale of another shape", "\"s\"", "[3]", "[5]") {
      let x = try data("x", shape: [4, 3])
      let y = try inplaceABN(x, paramAttr: "s")
      _ = try inplaceABN(fc(y, size: 5), paramAttr: "s")
    },
    Case("one name for mean and variance", "\"m\" for both", "two names") {
      _ = try inplaceABN(data("x", shape: [4, 3]), movingMeanName: "m", movingVarianceName: "m")
    },
    Case("first scales of another shape", "\"bn.w_0\"", "[2]", "[3]", "that shape") {
      _ = try inplaceABN(
        data("x", shape: [4, 3]), paramAttr: ParamAttr(initializer: .array(Tensor([1.0, 2]))),
        name: "bn")
    },
    Case("first biases of another shape", "\"bn.b_0\"", "[4]", "[3]") {
      _ = try inplaceABN(
        data("x", shape: [4, 3]),
        biasAttr: ParamAttr(initializer: .array(Tensor([1.0, 2, 3, 4]))), name: "bn")
    },
    Case("a scale variable of another shape", "scale", "[5]", "3 channels", "shape [3]") {
      let x = try data("x", shape: [4, 3])
      let (five, three) = (try data("five", shape: [5]), try data("three", shape: [3]))
      let kind = try InPlaceActivatedBatchNorm(
        NormalizationAttributes(), activation: .identity)
      _ = try op(kind, [x, five, three, three, three])
    },
    Case("a bias variable of another type", "bias", "float64[3]", "float32[3]") {
      let x = try data("x", shape: [4, 3], dtype: .float16)
      let (wide, three) = (
        try data("wide", shape: [3], dtype: .float64), try data("three", shape: [3])
      )
      let kind = try InPlaceActivatedBatchNorm(
        NormalizationAttributes(), activation: .identity)
      _ = try op(kind, [x, three, wide, three, three])
    },
    Case("the moving mean under the name of a weight", "moving mean", "\"w\", which is trained") {
      let x = try fc(data("x", shape: [4, 3]), size: 3, biasAttr: "w")
      _ = try inplaceABN(x, movingMeanName: "w")
    },
    Case(
      "the variance under the mean's made-up name", "moving variance", "\"a.w_1\"", "uses already"
    ) {
      _ = try inplaceABN(data("x", shape: [4, 3]), name: "a", movingVarianceName: "a.w_1")
    },
    Case("a test layer in training", "isTest", "gradient", "Use useGlobalStats") {
      let loss = try mean(inplaceABN(fc(data("x", shape: [4, 3]), size: 3), isTest: true))
      try SGD(learningRate: 0.1).minimize(loss)
    },
    Case("one element per channel", "one element per channel", "useGlobalStats") {
      _ = try inplaceABN(data("x", shape: [1, 3]))
    },
    Case("alpha not finite", "actAlpha", "inf") {
      _ = try inplaceABN(data("x", shape: [4, 3]), act: "elu", actAlpha: .infinity)
    },
    Case("convolution of rank 3", "rank 4") {
      _ = try conv2d(data("x", shape: [2, 3, 8]), numFilters: 4, filterSize: 3)
    },
    Case("groups that do not divide", "multiple of 2 groups") {
      _ = try conv2d(data("x", shape: [2, 3, 8, 8]), numFilters: 4, filterSize: 3, groups: 2)
    },
    Case("a window larger than the image", "window of 5 on 3 + 0") {
      _ = try conv2d(data("x", shape: [2, 3, 3, 8]), numFilters: 4, filterSize: 5)
    },
    Case("zero stride", "stride", "[0, 0]") {
      _ = try pool2d(data("x", shape: [2, 3, 8, 8]), poolSize: 2, poolStride: 0)
    },
    Case("fc of unknown columns", "numFlattenDims") {
      _ = try fc(data("x", shape: [2, -1]), size: 3)
    },
    Case("shapes that do not broadcast", "[2, 3]", "[2, 4]") {
      _ = try elementwiseAdd(data("x", shape: [2, 3]), data("y", shape: [2, 4]))
    },
    Case("two element types", "float32 and float64", "cast") {
      _ = try elementwiseAdd(
        data("x", shape: [2, 3]), data("y", shape: [2, 3], dtype: .float64))
    },
    Case("no weights", "ParamAttr.absent", "fc_0", "trainable") {
      _ = try fc(data("x", shape: [2, 3]), size: 4, paramAttr: .absent)
    },
    Case("no filters", "ParamAttr.absent", "conv2d_0", "trainable") {
      _ = try conv2d(
        data("x", shape: [2, 3, 4, 4]), numFilters: 2, filterSize: 3, paramAttr: .absent)
    },
    Case("no slopes", "ParamAttr.absent", "prelu_0", "trainable") {
      _ = try prelu(data("x", shape: [2, 3]), paramAttr: .absent)
    },
    Case("a name twice", "BadInputTests.swift", "name of its own") {
      _ = try data("x", shape: [2])
      _ = try data("x", shape: [2])
    },
  ]

  @Test(arguments: cases) func message(_ test: Case) {
    let error = #expect(throws: ABNError.self) { try ProgramBuilder().build(test.build) }
    guard let error else { return }
    for part in test.parts {
      #expect(error.description.contains(part), "\"\(part)\" is not in: \(error)")
    }
    #expect(error.location?.hasPrefix("BadInputTests.swift:") == true, "no source line: \(error)")
    #expect(!error.description.contains("\n"))
  }

  @Test func layoutsByName() throws {
    #expect(try DataLayout(named: "NCHW") == .nchw && DataLayout(named: "nhwc") == .nhwc)
    let error = #expect(throws: ABNError.self) { try DataLayout(named: "NCWH") }
    #expect(
      error?.description
        == "data layout: got \"NCWH\", wanted NCHW or NHWC. Did you mean \"NCHW\"?")
    #expect(throws: ABNError.self) { try DataLayout(named: "") }
  }

  /// A batch that is empty, or of one sample, is known only when the program is compiled.
  @Test func anEmptyBatchIsFoundWhenItIsFed() throws {
    let builder = ProgramBuilder()
    let y = try builder.build { try inplaceABN(data("x", shape: [-1, 3])) }
    let scope = Scope()
    let executor = Executor(backend: CPUBackend())
    try executor.run(builder.startup, scope: scope)
    let error = #expect(throws: ABNError.self) {
      try executor.run(
        builder.main, feed: ["x": Tensor(zeros: [0, 3], dtype: .float32)], fetch: [y],
        scope: scope)
    }
    #expect(error?.description.contains("[0, 3], wanted dimensions of at least 1") == true)
    #expect(error?.description.contains("BadInputTests.swift:") == true)
  }

  @Test func oneElementPerChannelIsFoundWhenTheBatchIsKnown() throws {
    let builder = ProgramBuilder()
    let y = try builder.build { try inplaceABN(data("x", shape: [-1, 3])) }
    let scope = Scope()
    let executor = Executor(backend: CPUBackend())
    try executor.run(builder.startup, scope: scope)
    let error = #expect(throws: ABNError.self) {
      try executor.run(
        builder.main, feed: ["x": Tensor(zeros: [1, 3], dtype: .float32)], fetch: [y],
        scope: scope)
    }
    #expect(error?.description.contains("one element per channel") == true)
  }
}
