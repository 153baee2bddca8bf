import ABNDNNL
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

  /// Calls with the offsets in source, weights and destination of each product that the definition
  /// adds up. Fewer than three spatial axes are led by axes of size 1.
  func forEachProduct(_ body: (Int, Int, Int) -> Void) {
    func led(_ list: [Int], by filler: Int) -> [Int] {
      [Int](repeating: filler, count: 3 - list.count) + list
    }
    let size = led(sizes, by: 1)
    let taps = led(kernel, by: 1)
    let out = led(window.outputSizes(input: sizes, kernel: kernel), by: 1)
    let stride = led(window.strides, by: 1)
    let dilation = led(window.dilations, by: 1)
    let padding = led(window.paddingBefore, by: 0)
    let inputPerGroup = input / groups
    let outputPerGroup = output / groups
    /// The input rows under an axis' window, as (output, tap, input).
    func rows(_ axis: Int) -> [(Int, Int, Int)] {
      (0..<out[axis]).flatMap { o in
        (0..<taps[axis]).compactMap { tap in
          let i = o * stride[axis] - padding[axis] + tap * dilation[axis]
          return i >= 0 && i < size[axis] ? (o, tap, i) : nil
        }
      }
    }
    let depth = rows(0)
    let height = rows(1)
    let width = rows(2)
    for n in 0..<batch {
      for o in 0..<output {
        for i in 0..<inputPerGroup {
          let channel = n * input + o / outputPerGroup * inputPerGroup + i
          for (od, kd, id) in depth {
            for (oh, kh, ih) in height {
              let from = ((channel * size[0] + id) * size[1] + ih) * size[2]
              let tap = (((o * inputPerGroup + i) * taps[0] + kd) * taps[1] + kh) * taps[2]
              let to = (((n * output + o) * out[0] + od) * out[1] + oh) * out[2]
              for (ow, kw, iw) in width { body(from + iw, tap + kw, to + ow) }
            }
          }
        }
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
  @Test(arguments: convolutionCases)
  func forwardIsTheDefinition(_ c: ConvolutionCase) throws {
    var generator = SplitMix(seed: 1)
    let source = Reference(random: c.sourceDims, using: &generator)
    let weights = Reference(random: c.flatWeightDims, using: &generator)
    let bias = Reference(random: [c.output], using: &generator)
    let biasDescriptor = try DNNLDescriptor([c.output], .float32, .plain)
    var wanted = Reference(zeros: c.destinationDims)
    if c.hasBias {
      for index in Reference.indices(wanted.dims) { wanted[index] = bias[[index[1]]] }
    }
    c.forEachProduct { from, weight, to in
      wanted.values[to] += source.values[from] * weights.values[weight]
    }
    for format in convolutionFormats {
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
        #expect(wanted.distance(to: try load(result, as: chosen)) < 1e-5)
        #expect((primitive.descriptor(.bias) != nil) == c.hasBias)
        #expect(!primitive.implementation.isEmpty)
        if let layout = format.named { #expect(chosen.matches(layout)) }
      }
    }
  }

  @Test(arguments: convolutionCases)
  func backwardIsTheTranspose(_ c: ConvolutionCase) throws {
    var generator = SplitMix(seed: 2)
    let source = Reference(random: c.sourceDims, using: &generator)
    let weights = Reference(random: c.flatWeightDims, using: &generator)
    let gradient = Reference(random: c.destinationDims, using: &generator)
    var wantedSource = Reference(zeros: c.sourceDims)
    var wantedWeights = Reference(zeros: c.flatWeightDims)
    var wantedBias = Reference(zeros: [c.output])
    c.forEachProduct { from, weight, to in
      wantedSource.values[from] += gradient.values[to] * weights.values[weight]
      wantedWeights.values[weight] += gradient.values[to] * source.values[from]
    }
    for index in Reference.indices(gradient.dims) { wantedBias[[index[1]]] += gradient[index] }

    for format in convolutionFormats {
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
          .weights: store(
            weights.reshaped(c.weightDims), as: #require(data.descriptor(.weights))),
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

  /// bfloat16 inputs with float32 results: the products are exact, only the sums round.
  @Test func bfloat16WithFloat32Sums() throws {
    let c = convolutionCases[1]
    var generator = SplitMix(seed: 3)
    let source = Reference(random: c.sourceDims, bits: 8, using: &generator)
    let weights = Reference(random: c.flatWeightDims, bits: 8, using: &generator)
    let gradient = Reference(random: c.destinationDims, bits: 8, using: &generator)
    var wanted = Reference(zeros: c.destinationDims)
    var wantedSource = Reference(zeros: c.sourceDims)
    var wantedWeights = Reference(zeros: c.flatWeightDims)
    c.forEachProduct { from, weight, to in
      wanted.values[to] += source.values[from] * weights.values[weight]
      wantedSource.values[from] += gradient.values[to] * weights.values[weight]
      wantedWeights.values[weight] += gradient.values[to] * source.values[from]
    }
    func any(_ dims: [Int], _ dtype: DType) throws -> DNNLDescriptor {
      try DNNLDescriptor(dims, dtype, .any)
    }
    func result(
      _ primitive: DNNLPrimitive, _ output: DNNLPrimitive.Argument,
      _ inputs: [DNNLPrimitive.Argument: Reference]
    ) throws -> Reference {
      let chosen = try #require(primitive.descriptor(output))
      #expect(chosen.dtype == .float32)
      let buffer = Buffer(bytes: chosen.byteCount)
      var buffers = [output: buffer]
      for (argument, tensor) in inputs {
        let descriptor = try #require(primitive.descriptor(argument))
        #expect(descriptor.dtype == .bfloat16)
        buffers[argument] = try store(tensor, as: descriptor)
      }
      try run(primitive, buffers)
      return try load(buffer, as: chosen)
    }
    let forward = try DNNLPrimitive.convolutionForward(
      c.window, source: any(c.sourceDims, .bfloat16), weights: any(c.weightDims, .bfloat16),
      destination: any(c.destinationDims, .float32))
    let data = try DNNLPrimitive.convolutionBackwardData(
      c.window, diffSource: any(c.sourceDims, .float32), weights: any(c.weightDims, .bfloat16),
      diffDestination: any(c.destinationDims, .bfloat16))
    let sums = try DNNLPrimitive.convolutionBackwardWeights(
      c.window, source: any(c.sourceDims, .bfloat16), diffWeights: any(c.weightDims, .float32),
      diffDestination: any(c.destinationDims, .bfloat16))
    let got = try result(forward, .destination, [.source: source, .weights: weights])
    let gotSource = try result(data, .diffSource, [.diffDestination: gradient, .weights: weights])
    let gotWeights = try result(sums, .diffWeights, [.source: source, .diffDestination: gradient])
    #expect(wanted.distance(to: got) < 1e-5)
    #expect(wantedSource.distance(to: gotSource) < 1e-5)
    #expect(wantedWeights.distance(to: gotWeights) < 1e-5)
  }

  /// The library's own choice of algorithm computes the same numbers, within Winograd's rounding.
  @Test func automaticAlgorithm() throws {
    var c = convolutionCases[4]
    c.window.algorithm = .automatic
    var generator = SplitMix(seed: 4)
    let source = Reference(random: c.sourceDims, using: &generator)
    let weights = Reference(random: c.flatWeightDims, using: &generator)
    var wanted = Reference(zeros: c.destinationDims)
    c.forEachProduct { from, weight, to in
      wanted.values[to] += source.values[from] * weights.values[weight]
    }
    let primitive = try DNNLPrimitive.convolutionForward(
      c.window, source: DNNLDescriptor(c.sourceDims, .float32, .any),
      weights: DNNLDescriptor(c.weightDims, .float32, .any),
      destination: DNNLDescriptor(c.destinationDims, .float32, .any))
    let chosen = try #require(primitive.descriptor(.destination))
    let result = Buffer(bytes: chosen.byteCount)
    try run(
      primitive,
      [
        .source: store(source, as: #require(primitive.descriptor(.source))),
        .weights: store(
          weights.reshaped(c.weightDims), as: #require(primitive.descriptor(.weights))),
        .destination: result,
      ])
    #expect(wanted.distance(to: try load(result, as: chosen)) < 1e-4)
  }
}

let convolutionFormats: [DNNLFormat] = [.any, .plain, .channelsLast, .blocked(16)]

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
