import ABNTestSupport
import InPlaceABN
import Synchronization
import Testing

/// What a layer makes of an activation given by case, by name, and with a number beside it.
@Suite struct ActivationAttributeTests {
  /// What is warned of while a program is built.
  private func warnings(_ build: (Variable) throws -> Variable) throws -> [String] {
    let found = Mutex<[String]>([])
    try UserWarning.$receiver.withValue({ text in found.withLock { $0.append(text) } }) {
      _ = try ProgramBuilder().build { try build(data("x", shape: [4, 3])) }
    }
    return found.withLock { $0 }
  }

  @Test(arguments: ["leaky_relu", "leaky-relu", "LeakyReLU"])
  func theDocumentedDefaultOfLeakyReLUWarns(_ name: String) throws {
    let found = try warnings { try inplaceABN($0, act: name) }
    #expect(found.count == 1)
    for word in [
      "ActivationAttributeTests.swift:\(#line - 3)", "identity", ".leakyReLU(slope: 0.01)",
    ] {
      #expect(found.first?.contains(word) == true, "\(word) in \(found)")
    }
  }

  @Test func whatSaysItsNumberDoesNotWarn() throws {
    for build: (Variable) throws -> Variable in [
      { try inplaceABN($0, act: "leaky_relu", actAlpha: 1) },
      { try inplaceABN($0, act: "leaky_relu", actAlpha: 0.1) },
      { try inplaceABN($0, act: .leakyReLU(slope: 1)) }, { try inplaceABN($0, act: "elu") },
      { try inplaceABN($0, act: "relu") }, { try inplaceABN($0) },
      { try batchNorm($0, act: "leaky_relu") },
    ] {
      #expect(try warnings(build) == [])
    }
  }

  @Test func modelsDoNotWarn() throws {
    let found = Mutex<[String]>([])
    try UserWarning.$receiver.withValue({ text in found.withLock { $0.append(text) } }) {
      _ = try ProgramBuilder().build {
        try Model.resnet20.build(data("x", shape: [2, 3, 32, 32]), ModelOptions(classes: 2))
      }
    }
    #expect(found.withLock { $0 } == [])
  }

  @Test func twoNumbersAreAnError() throws {
    expectError(.attribute, ["actAlpha", "0.5", "0.2", "one number"]) {
      _ = try ProgramBuilder().build {
        try inplaceABN(data("x", shape: [4, 3]), act: .leakyReLU(slope: 0.2), actAlpha: 0.5)
      }
    }
    expectError(.attribute, ["actAlpha", "0.5", "one number"]) {
      _ = try ProgramBuilder().build {
        try batchNorm(data("x", shape: [4, 3]), act: .elu(), actAlpha: 0.5)
      }
    }
    // The same number twice is one; a function without a number takes none.
    for act in [Activation.leakyReLU(slope: 0.5), .elu(alpha: 0.5), .relu, .prelu] {
      let builder = ProgramBuilder()
      try builder.build { _ = try inplaceABN(data("x", shape: [4, 3]), act: act, actAlpha: 0.5) }
    }
  }

  @Test(arguments: Activation.all) func aNameIsTheCase(_ act: Activation) throws {
    #expect(try Activation(named: act.name) == act)
    #expect(try Activation(named: act.name, alpha: 0.3) == act.with(alpha: 0.3))
    #expect(act.with(alpha: 0.3).alpha == act.alpha.map { _ in 0.3 })
    #expect(act.row.isInvertible == false || act.form != .clip)
  }

  /// An unknown name has the layer's line, in every layer that takes one.
  @Test func anUnknownNameNamesTheNearest() throws {
    let layers: [(Variable, String) throws -> Variable] = [
      { try activation($0, $1) }, { try elementwiseAdd($0, $0, act: $1) },
      { try elementwiseSub($0, $0, act: $1) }, { try elementwiseMul($0, $0, act: $1) },
      { try elementwiseDiv($0, $0, act: $1) }, { try fc($0, size: 2, act: $1) },
      { try fc([$0], size: 2, act: $1) },
      { try conv2d($0, numFilters: 2, filterSize: 1, act: $1) }, { try batchNorm($0, act: $1) },
      { try inplaceABN($0, act: $1) },
    ]
    for layer in layers {
      expectError(.attribute, ["leaky_rellu", "Did you mean \"leaky_relu\"?"]) {
        _ = try ProgramBuilder().build {
          try layer(data("x", shape: [4, 3, 2, 2]), "leaky_rellu")
        }
      }
    }
  }
}
