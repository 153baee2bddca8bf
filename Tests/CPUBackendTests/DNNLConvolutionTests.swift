@testable import ABNCPUBackend
import ABNTensors
import Testing

/// One convolution: sizes, groups and window.
struct ConvolutionCase: CustomTestStringConvertible, Sendable {
  var batch = 2
  var input: Int
  var output: Int
  var groups = 1
  var sizes: [Int]
  var kernel: [Int]
  var window: DNNLConvolution
  var hasBias = true

  var testDescription: String {
    "\(input)->\(output)/\(groups) \(sizes) k\(kernel) s\(window.strides) d\(window.dilations) "
      + "p\(window.paddingBefore)\(window.paddingAfter)"
  }

  var sourceDims: [Int] { [batch, input] + sizes }
  var destinationDims: [Int] {
    [batch, output] + window.outputSizes(input: sizes, kernel: kernel)
  }
  /// [O, I, kernel], or [G, O/G, I/G, kernel] for groups.
  var weightDims: [Int] {
    groups == 1 ? [output, input] + kernel : [groups, output / groups, input / groups] + kernel
  }

  /// Calls with source index, weight index (without groups: O, I/G, kernel) and destination index
  /// of each product that the definition adds up.
  func forEachProduct(_ body: ([Int], [Int], [Int]) -> Void) {
    let inputPerGroup = input / groups
    let outputPerGroup = output / groups
    for to in Reference.indices(destinationDims) {
      for tap in Reference.indices([inputPerGroup] + kernel) {
        let group = to[1] / outputPerGroup
        var from = [to[0], group * inputPerGroup + tap[0]]
        for axis in kernel.indices {
          from.append(
            to[2 + axis] * window.strides[axis] - window.paddingBefore[axis]
              + tap[1 + axis] * window.dilations[axis])
        }
        let inside = sizes.indices.allSatisfy { (0..<sizes[$0]).contains(from[2 + $0]) }
        if inside { body(from, [to[1]] + tap, to) }
      }
    }
  }

  /// The weights without the axis of groups: that axis and O are adjacent, so only sizes change.
  var flatWeightDims: [Int] { [output, input / groups] + kernel }
}

let convolutionCases: [ConvolutionCase] = [
  .init(
    input: 5, output: 7, sizes: [9, 6], kernel: [3, 3],
    window: .init(strides: [1, 1], paddingBefore: [1, 1])),
  .init(
    input: 16, output: 32, sizes: [7, 5], kernel: [3, 3],
    window: .init(strides: [2, 2], paddingBefore: [1, 1]), hasBias: false),
  .init(
    input: 3, output: 16, sizes: [13, 11], kernel: [7, 5],
    window: .init(strides: [2, 1], paddingBefore: [3, 0], paddingAfter: [1, 4])),
  .init(
    input: 16, output: 16, sizes: [11, 9], kernel: [3, 3],
    window: .init(strides: [1, 1], dilations: [2, 3], paddingBefore: [2, 3])),
  .init(
    input: 32, output: 32, groups: 2, sizes: [5, 7], kernel: [3, 3],
    window: .init(strides: [1, 2], paddingBefore: [0, 1], paddingAfter: [2, 1])),
  .init(
    input: 16, output: 16, groups: 16, sizes: [8, 7], kernel: [3, 3],
    window: .init(strides: [1, 1], paddingBefore: [1, 1])),
  .init(
    batch: 3, input: 17, output: 33, sizes: [4, 4], kernel: [1, 1],
    window: .init(strides: [1, 1], paddingBefore: [0, 0])),
  .init(
    input: 6, output: 4, sizes: [10], kernel: [3],
    window: .init(strides: [2], dilations: [2], paddingBefore: [1], paddingAfter: [2])),
  .init(
    input: 16, output: 16, sizes: [5, 4, 6], kernel: [3, 2, 3],
    window: .init(strides: [1, 2, 1], paddingBefore: [1, 0, 1], paddingAfter: [1, 1, 0])),
]

@Suite struct DNNLConvolutionTests {
  @Test(arguments: convolutionCases, [DNNLFormat.any, .plain, .channelsLast, .blocked(16)])
  func forwardIsTheDefinition(_ c: ConvolutionCase, _ format: DNNLFormat) throws {
    var generator = SplitMix(seed: 1)
    let source = Reference(random: c.sourceDims, using: &generator)
    let weights = Reference(random: c.flatWeightDims, using: &generator)
    let bias = Reference(random: [c.output], using: &generator)
    let biasDescriptor = try DNNLDescriptor([c.output], .float32, .plain)
    for training in [true, false] {
      let primitive = try DNNLPrimitive.convolutionForward(
        c.window, source: DNNLDescriptor(c.sourceDims, .float32, format),
        weights: DNNLDescriptor(c.weightDims, .float32, .any),
        bias: c.hasBias ? biasDescriptor : nil,
        destination: DNNLDescriptor(c.destinationDims, .float32, format), training: training)
      let chosen = try #require(primitive.descriptor(.destination))
      let result = Buffer(bytes: chosen.byteCount)
      try run(
        primitive,
        [
          .source: store(source, as: #require(primitive.descriptor(.source))),
          .weights: store(
            weights.reshaped(c.weightDims), as: #require(primitive.descriptor(.weights))),
          .bias: store(bias, as: biasDescriptor), .destination: result,
        ])
      var wanted = Reference(zeros: c.destinationDims)
      if c.hasBias {
        for index in Reference.indices(wanted.dims) { wanted[index] = bias[[index[1]]] }
      }
      c.forEachProduct { from, weight, to in wanted[to] += source[from] * weights[weight] }
      #expect(wanted.distance(to: try load(result, as: chosen)) < 1e-5)
      #expect(primitive.descriptor(.bias) != nil || !c.hasBias)
      #expect(!primitive.implementation.isEmpty)
      if let layout = format.named { #expect(chosen.matches(layout)) }
    }
  }

  @Test(arguments: convolutionCases, [DNNLFormat.any, .plain, .channelsLast, .blocked(16)])
  func backwardIsTheTranspose(_ c: ConvolutionCase, _ format: DNNLFormat) throws {
    var generator = SplitMix(seed: 2)
    let source = Reference(random: c.sourceDims, using: &generator)
    let weights = Reference(random: c.flatWeightDims, using: &generator)
    let gradient = Reference(random: c.destinationDims, using: &generator)
    var wantedSource = Reference(zeros: c.sourceDims)
    var wantedWeights = Reference(zeros: c.flatWeightDims)
    var wantedBias = Reference(zeros: [c.output])
    c.forEachProduct { from, weight, to in
      wantedSource[from] += gradient[to] * weights[weight]
      wantedWeights[weight] += gradient[to] * source[from]
    }
    for index in Reference.indices(gradient.dims) { wantedBias[[index[1]]] += gradient[index] }

    let data = try DNNLPrimitive.convolutionBackwardData(
      c.window, diffSource: DNNLDescriptor(c.sourceDims, .float32, format),
      weights: DNNLDescriptor(c.weightDims, .float32, .any),
      diffDestination: DNNLDescriptor(c.destinationDims, .float32, format))
    let diffSource = try #require(data.descriptor(.diffSource))
    let diffSourceBuffer = Buffer(bytes: diffSource.byteCount)
    try run(
      data,
      [
        .diffDestination: store(gradient, as: #require(data.descriptor(.diffDestination))),
        .weights: store(weights.reshaped(c.weightDims), as: #require(data.descriptor(.weights))),
        .diffSource: diffSourceBuffer,
      ])
    #expect(wantedSource.distance(to: try load(diffSourceBuffer, as: diffSource)) < 1e-5)

    let biasDescriptor = try DNNLDescriptor([c.output], .float32, .plain)
    let sums = try DNNLPrimitive.convolutionBackwardWeights(
      c.window, source: DNNLDescriptor(c.sourceDims, .float32, format),
      diffWeights: DNNLDescriptor(c.weightDims, .float32, .any),
      diffBias: c.hasBias ? biasDescriptor : nil,
      diffDestination: DNNLDescriptor(c.destinationDims, .float32, format))
    let diffWeights = try #require(sums.descriptor(.diffWeights))
    let diffWeightsBuffer = Buffer(bytes: diffWeights.byteCount)
    let diffBiasBuffer = Buffer(bytes: biasDescriptor.byteCount)
    try run(
      sums,
      [
        .source: store(source, as: #require(sums.descriptor(.source))),
        .diffDestination: store(gradient, as: #require(sums.descriptor(.diffDestination))),
        .diffWeights: diffWeightsBuffer, .diffBias: diffBiasBuffer,
      ])
    let gotWeights = try load(diffWeightsBuffer, as: diffWeights).reshaped(c.flatWeightDims)
    #expect(wantedWeights.distance(to: gotWeights) < 1e-5)
    #expect((sums.descriptor(.diffBias) != nil) == c.hasBias)
    if c.hasBias {
      #expect(wantedBias.distance(to: try load(diffBiasBuffer, as: biasDescriptor)) < 1e-5)
    }
  }
}

extension DNNLFormat {
  /// The layout that a format names.
  var named: DNNLLayout? {
    switch self {
    case .plain: .plain
    case .channelsLast: .channelsLast
    case .blocked(8): .blocked8
    case .blocked(16): .blocked16
    default: nil
    }
  }
}
