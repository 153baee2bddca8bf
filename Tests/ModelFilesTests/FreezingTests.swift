import ABNTestSupport
import Foundation
import InPlaceABN
import Testing

@testable import ABNModelFiles
@testable import ABNModels

/// Parameters that training leaves alone, and what their normalizations do.
@Suite struct FreezingTests {
  static let model = CIFARResNet(blocks: 1, width: 4).model("cifar-small")
  static let image: Shape = [3, 8, 8]

  @Test func patterns() {
    for (name, pattern, matches) in [
      ("conv2d_0.w_0", "conv2d_0", true), ("conv2d_0.w_0", "conv2d_0.", true),
      ("conv2d_0.w_0", "conv2d_0.w_0", true), ("conv2d_10.w_0", "conv2d_1", false),
      ("conv2d_10.w_0", "conv2d_1*", true), ("conv2d_10.w_0", "*.w_0", true),
      ("conv2d_10.w_0", "conv2d_??.w_0", true), ("conv2d_1.w_0", "conv2d_??.w_0", false),
      ("abab", "*ab", true), ("abab", "a*b*c", false), ("abab", "*", true), ("abab", "**?", true),
      ("layer1.0.conv1.weight", "layer1", true), ("layer10.0.conv1.weight", "layer1", false),
    ] {
      #expect(Freezing.matches(name, pattern) == matches, "\(name) \(pattern)")
    }
  }

  private func train(
    _ norm: NormStyle, _ patterns: [String], steps: Int = 3
  ) throws -> (before: [String: Tensor], after: [String: Tensor], frozen: [String]) {
    var frozen: [String] = []
    let programs = try ClassifierPrograms(
      Self.model, options: ModelOptions(classes: 5, norm: norm), image: Self.image, seed: 3
    ) { loss in
      let freezing = try ProgramBuilder.current.freeze(patterns, model: Self.model)
      frozen = freezing.frozen.map(\.name)
      _ = try Momentum(learningRate: 0.1, momentum: 0.9)
        .minimize(loss, parameters: freezing.trained)
    }
    let (scope, executor) = (Scope(), Executor(backend: CPUBackend()))
    try executor.run(programs.startup, scope: scope)
    let names = Set(programs.training.parameters.map(\.name))
    let before = scope.snapshot().filter { names.contains($0.key) }
    let random = CounterRandom(seed: 2, stream: 3)
    let images = Tensor(
      (0..<6 * 3 * 64).map { Float(random.uniform(UInt64($0)) * 2 - 1) }, shape: [6, 3, 8, 8])
    let labels = Tensor([0, 1, 2, 3, 4, 0] as [Int64], shape: [6, 1])
    for _ in 0..<steps {
      try executor.run(
        programs.training, feed: ["images": images, "labels": labels], fetch: [programs.loss],
        scope: scope)
    }
    return (before, scope.snapshot().filter { names.contains($0.key) }, frozen)
  }

  /// Frozen parameters keep their bits, and with scale and bias the moving statistics keep theirs; all
  /// others change.
  @Test(arguments: NormStyle.allCases) func trains(norm: NormStyle) throws {
    let layer = norm == .inplace ? "inplace_abn" : "batch_norm"
    for patterns in [["conv1", "bn1", "layer1"], ["conv2d_[012]", "conv2d_0", "\(layer)_0"]] {
      let known = patterns.filter { !$0.contains("[") }
      let (before, after, frozen) = try train(norm, known)
      #expect(!frozen.isEmpty && frozen.count < before.count)
      #expect(frozen.contains("conv2d_0.w_0") && frozen.contains("\(layer)_0.w_1"))
      for (name, value) in before {
        #expect((after[name] == value) == frozen.contains(name), "\(name)")
      }
    }
    // A frozen convolution alone: the normalization behind it goes on with the batch's statistics.
    let (before, after, frozen) = try train(norm, ["conv2d_0"])
    #expect(frozen == ["conv2d_0.w_0"])
    #expect(after["\(layer)_0.w_1"] != before["\(layer)_0.w_1"])
  }

  /// Nothing frozen is nothing changed.
  @Test func emptyList() throws {
    #expect(try train(.inplace, []).frozen.isEmpty)
  }

  @Test func mistakes() throws {
    for (pattern, near) in [
      ("conv2d_o.w_0", "conv2d_0.w_0"), ("layr1", "layer1"), ("inplace_abn_O", "inplace_abn_0"),
    ] {
      let error = #expect(throws: ABNError.self) { try train(.inplace, [pattern]) }
      #expect(error?.category == .name && error?.got.contains(pattern) == true)
      #expect(error?.description.contains("Did you mean \"\(near)\"?") == true, "\(error!)")
    }
    let everything = #expect(throws: ABNError.self) { try train(.inplace, ["*"]) }
    #expect(everything?.category == .program)
  }
}
