import ABNChecking
import ABNGraph
import ABNLayers
import ABNModelFiles
import ABNPasses
import ABNTensors
import InPlaceABN
import Testing

@testable import ABNModels

/// Concatenations made again from their parts: the same numbers for fewer bytes.
@Suite struct RecomputeConcatsTests {
  private static let others = memoryPasses.filter { !($0 is RecomputeConcats) } + trainingPasses
  private static let passes = memoryPasses + trainingPasses

  /// One run of a graph over x [2, 4, 8, 8], in float64.
  private func run(
    _ passes: [any ProgramPass],
    _ build: (Variable) throws -> (ends: [Variable], fetched: [Variable])
  ) throws -> Comparison.Results {
    try Comparison(inPlace: true, passes: passes).run(shape: [2, 4, 8, 8], build)
  }

  private func again(_ results: Comparison.Results) -> [PassDecision] {
    results.decisions.filter { $0.action == .recomputed && $0.variable.hasPrefix("concat") }
  }

  /// Both ways, bit by bit; how many concatenations are made again.
  private func check(
    _ build: (Variable) throws -> (ends: [Variable], fetched: [Variable])
  ) throws -> (count: Int, plain: Comparison.Results, again: Comparison.Results) {
    let plain = try run(Self.others, build)
    let other = try run(Self.passes, build)
    #expect(again(plain).isEmpty && plain.values.count == other.values.count)
    for (name, values) in plain.values {
      #expect(other.values[name]?.map(\.bitPattern) == values.map(\.bitPattern), "\(name)")
    }
    return (again(other).count, plain, other)
  }

  /// U-Net: each of the four joins of a shortcut with what an up-convolution makes.
  @Test(arguments: [true, false]) func wayUp(inPlace: Bool) throws {
    let options = ModelOptions(classes: 3, norm: inPlace ? .inplace : .standard)
    let model = Model(
      name: "narrow", summary: "", image: [4, 16, 16], classes: 3,
      sizes: ImageSizes(multiple: 16)
    ) { try UNet(width: 4).logits($0, $1) }
    func run(_ passes: [any ProgramPass]) throws -> Comparison.Results {
      try Comparison(inPlace: inPlace, passes: passes).run(shape: [2, 4, 16, 16]) {
        ([try model.build($0, options)], [])
      }
    }
    let (plain, other) = (try run(Self.others), try run(Self.passes))
    #expect(again(other).count == 4)
    for (name, values) in plain.values {
      #expect(other.values[name]?.map(\.bitPattern) == values.map(\.bitPattern), "\(name)")
    }
  }

  /// A fifth of what a step of U-Net holds.
  @Test func fewerBytes() throws {
    let programs = try ClassifierPrograms(
      .unetSmall, options: ModelOptions(classes: 3), image: [3, 64, 96], seed: 1
    ) { _ = try Momentum(learningRate: 0.1, momentum: 0.9).minimize($0) }
    let bytes = try [Self.others, Self.passes].map { passes in
      try Executor(backend: CPUBackend(passes: passes), mode: .compact).compile(
        programs.training, feed: programs.feedShapes(batchSize: 8), fetch: [programs.loss]
      ).plan.arenaBytes
    }
    #expect(bytes[1] * 5 < bytes[0] * 4, "\(bytes)")
  }

  private func conv(_ x: Variable) throws -> Variable {
    try conv2d(x, numFilters: 4, filterSize: 3, padding: 1)
  }

  /// Parts that are fed, kept, resized from a convolution that is worth it, reshaped and transposed.
  @Test func partsThatAreMadeAgain() throws {
    let (count, _, results) = try check { x in
      // Kept for the gradient of the convolution that reads it.
      let y = try square(conv(x))
      let small = try square(pool2d(conv(y), poolSize: 2, poolStride: 2))
      let wide = try conv2d(small, numFilters: 8, filterSize: 1)
      let turned = try transpose(reshape(y, [2, 4, 64, 1]), [0, 1, 3, 2])
      let joined = try concat(
        [x, y, resizeBilinear(wide, outShape: [8, 8]), reshape(turned, [2, 4, 8, 8])], axis: 1)
      return ([try square(conv(joined))], [])
    }
    #expect(count == 1)
    #expect(again(results)[0].reason.description.contains("conv2d_weight_grad"))
  }

  /// A part that nobody keeps, one of a convolution that costs too much, a result that is fetched,
  /// one that a layer overwrites, one that no gradient reads; and the same without such a fault.
  @Test func leftAsTheyAre() throws {
    enum Fault: CaseIterable { case none, notKept, costly, fetched, overwritten, notRead }
    for fault in Fault.allCases {
      let (count, _, _) = try check { x in
        let y = try square(conv(x))
        // Its gradient is the last that reads y.
        let beside = try square(conv(y))
        var parts = [y, x]
        switch fault {
        case .notKept: parts.append(try square(y))
        case .costly: parts.append(try conv(x))
        default: break
        }
        let joined = try concat(parts, axis: 1)
        var end = joined
        if fault == .overwritten { end = try inplaceABN(end) }
        end = fault == .notRead ? try scale(end, factor: 2) : try square(conv(end))
        return ([end, beside], fault == .fetched ? [joined] : [])
      }
      #expect(count == (fault == .none ? 1 : 0), "\(fault)")
    }
  }

  /// One concatenation is a part of another: what is made again is no part that is kept.
  @Test(arguments: [false, true]) func oneOfAnother(firstStays: Bool) throws {
    let (count, _, results) = try check { x in
      // A scaled part is not kept.
      let first = try concat([x, firstStays ? scale(x, factor: 2) : x], axis: 1)
      let inner = try square(conv(first))
      let beside = try square(conv(inner))
      let second = try concat([first, inner], axis: 1)
      return ([try square(conv(second)), beside], [])
    }
    #expect(count == 1)
    #expect(again(results)[0].variable.hasPrefix(firstStays ? "concat_1" : "concat_0"))
  }

  /// Anywhere in random graphs, in place and standard.
  @Test(arguments: [true, false]) func sameBitsInRandomGraphs(inPlace: Bool) throws {
    var changed = 0
    for seed in 9001...9050 {
      let graph = RandomGraph(seed: UInt64(seed))
      let plain = try graph.run(inPlace: inPlace, passes: Self.others)
      let other = try graph.run(inPlace: inPlace, passes: Self.passes)
      for (name, values) in plain.values {
        #expect(
          other.values[name]?.map(\.bitPattern) == values.map(\.bitPattern),
          "seed \(seed), \(name):\n\(graph)")
      }
      if !again(other).isEmpty { changed += 1 }
    }
    #expect(changed > 0, "\(changed) graphs had a concatenation to make again")
  }
}
