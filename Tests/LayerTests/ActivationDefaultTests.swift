import ABNTestSupport
import Foundation
import InPlaceABN
import Testing

/// An activation that a layer takes as an attribute is the one that stands behind it as a layer of its own.
@Suite struct ActivationDefaultTests {
  /// A layer without an activation, or with one as an attribute, over x [2, 4, 3, 3].
  struct Host: Sendable, CustomTestStringConvertible {
    let testDescription: String
    let build: @Sendable (Variable, Activation?) throws -> Variable
  }

  static let hosts: [Host] = [
    Host(testDescription: "fc") { try fc($0, size: 5, act: $1) },
    Host(testDescription: "fc of two") { try fc([$0, scale($0, factor: 2)], size: 5, act: $1) },
    Host(testDescription: "conv2d") { try conv2d($0, numFilters: 3, filterSize: 2, act: $1) },
    Host(testDescription: "batchNorm") { try batchNorm($0, act: $1) },
    Host(testDescription: "batchNorm, statistics given") {
      try batchNorm($0, act: $1, useGlobalStats: true)
    },
    Host(testDescription: "elementwiseAdd") { try elementwiseAdd($0, other($0), act: $1) },
    Host(testDescription: "elementwiseSub") { try elementwiseSub($0, other($0), act: $1) },
    Host(testDescription: "elementwiseMul") { try elementwiseMul($0, other($0), act: $1) },
    Host(testDescription: "elementwiseDiv") {
      try elementwiseDiv($0, scale(other($0), bias: 4), act: $1)
    },
  ]

  static func other(_ x: Variable) throws -> Variable {
    try scale(tanh(x), factor: -1.5, bias: 0.4)
  }

  /// The layer of its own for each activation, which is told nothing but its input.
  static func alone(_ x: Variable, _ act: Activation) throws -> Variable {
    switch act {
    case .identity: x
    case .relu: try relu(x)
    case .relu6: try relu6(x)
    case .leakyReLU: try leakyReLU(x)
    case .elu: try elu(x)
    case .sigmoid: try sigmoid(x)
    case .tanh: try tanh(x)
    case .swish: try swish(x)
    case .gelu: try gelu(x)
    case .hardSwish: try hardSwish(x)
    case .mish: try mish(x)
    // Those without a function of their own are called.
    default: try act(x)
    }
  }

  static let plain = Activation.all.filter { $0 != .prelu }
  static let x = Tensor(
    (0..<72).map { 4 * (CounterRandom(seed: 1, stream: 0).uniform(UInt64($0)) - 0.5) },
    shape: [2, 4, 3, 3])

  @Test(arguments: hosts, plain)
  func attributeIsTheLayer(_ host: Host, _ act: Activation) throws {
    func values(_ act: (Variable) throws -> Variable) throws -> Tensor {
      try evaluate([Self.x]) { [try act($0[0])] }[0]
    }
    let wanted = try values { try Self.alone(host.build($0, nil), act) }
    #expect(try values { try host.build($0, act) } == wanted)
    // By name, and by the layer that takes any activation.
    #expect(try values { try host.build($0, Activation(named: act.name)) } == wanted)
    #expect(try values { try activation(host.build($0, nil), act) } == wanted)
    #expect(wanted.doubles.contains { $0 != 0 })
  }

  /// In place the original's signature holds: alpha 1, which makes leaky_relu the identity.
  @Test(arguments: plain) func inPlaceTakesAlphaOne(_ act: Activation) throws {
    let got = try evaluate([Self.x]) {
      [try inplaceABN($0[0], act: act.name), try activation(batchNorm($0[0]), act.with(alpha: 1))]
    }
    expectClose(got[0].doubles, got[1].doubles, tolerance: 1e-14)
  }

  /// The numbers themselves, as the original has them.
  @Test func defaults() throws {
    #expect(Activation.leakyReLU().alpha == 0.02 && Activation.elu().alpha == 1)
    for name in ["leaky_relu", "leaky-relu", "leakyrelu", "LEAKY_RELU"] {
      #expect(try Activation(named: name).alpha == 0.02)
      let y = try evaluate([Tensor([-3.0, 2], shape: [2])]) {
        [try activation($0[0], Activation(named: name))]
      }[0].doubles
      #expect(y == [-0.06, 2])
    }
    #expect(
      try Activate(.leakyReLU()).function.alpha == 0.02 && Activate(.elu()).function.alpha == 1)
    let y = try evaluate([Tensor([-1.0, 7, -4], shape: [3])]) {
      [try elu($0[0]), try relu6($0[0]), try hardSwish($0[0]), try swish($0[0])]
    }
    expectClose(
      y[0].doubles, [-0.632_120_558_828_557_7, 7, -0.981_684_361_111_265_8], tolerance: 1e-15)
    #expect(y[1].doubles == [0, 6, 0])
    expectClose(y[2].doubles, [-1.0 / 3, 7, 0], tolerance: 1e-15)
    expectClose(
      y[3].doubles,
      [-0.268_941_421_369_995_1, 6.993_622_641_639_196, -4 / (1 + Foundation.exp(4.0))],
      tolerance: 1e-14)
  }

  /// The models' own default is a slope of 0.01, and no alpha of elu.
  @Test func modelsTakeTheActivationsAlpha() throws {
    #expect(ModelOptions(classes: 2).activation.alpha == 0.01)
    #expect(try ModelOptions.activation(named: "leaky-relu").alpha == 0.01)
    #expect(ModelOptions(classes: 2, activation: .elu()).activation.alpha == 1)
    #expect(ModelOptions(classes: 2, activation: .elu(alpha: 0.3)).activation.alpha == 0.3)
  }

  @Test(arguments: hosts) func preluNeedsItsLayer(_ host: Host) throws {
    expectError(.attribute, ["prelu", "Use the layer prelu"]) {
      try ProgramBuilder().build { try host.build(data("x", shape: [2, 4, 3, 3]), .prelu) }
    }
  }
}
