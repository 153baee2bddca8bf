import ABNDNNL
@testable import ABNCPUBackend
import ABNTensors
import Testing

/// A pooling of two spatial axes, for the reference below.
struct PoolingCase: CustomTestStringConvertible, Sendable {
  var dims: [Int]
  var window: DNNLPooling

  var testDescription: String {
    "\(window.algorithm) \(dims) k\(window.kernel) s\(window.strides) "
      + "p\(window.paddingBefore)\(window.paddingAfter)"
  }

  var destinationDims: [Int] {
    Array(dims.prefix(2)) + window.outputSizes(input: Array(dims.dropFirst(2)))
  }

  /// The input indices under each output index, padding left out.
  func taps(of to: [Int]) -> [[Int]] {
    Reference.indices(window.kernel).compactMap { tap in
      var from = Array(to.prefix(2))
      for axis in tap.indices {
        let place =
          to[2 + axis] * window.strides[axis] - window.paddingBefore[axis] + tap[axis]
        guard (0..<dims[2 + axis]).contains(place) else { return nil }
        from.append(place)
      }
      return from
    }
  }

  /// The pooled tensor, and the gradient of the input for a gradient of the output.
  func reference(_ source: Reference, gradient: Reference) -> (Reference, Reference) {
    var result = Reference(zeros: destinationDims)
    var back = Reference(zeros: dims)
    for to in Reference.indices(destinationDims) {
      let under = taps(of: to)
      if window.algorithm == .max {
        let winner = under.max { source[$0] < source[$1] }!
        result[to] = source[winner]
        back[winner] += gradient[to]
      } else {
        let count =
          window.algorithm == .averageExcludingPadding
          ? under.count : window.kernel.reduce(1, *)
        for from in under {
          result[to] += source[from] / Double(count)
          back[from] += gradient[to] / Double(count)
        }
      }
    }
    return (result, back)
  }
}

let poolingCases: [PoolingCase] = DNNLPooling.Algorithm.allCases.flatMap { algorithm in
  [
    PoolingCase(
      dims: [2, 16, 7, 9],
      window: .init(algorithm, kernel: [3, 3], strides: [2, 2], paddingBefore: [1, 1])),
    PoolingCase(
      dims: [1, 5, 6, 5],
      window: .init(
        algorithm, kernel: [2, 3], strides: [2, 1], paddingBefore: [0, 1], paddingAfter: [1, 0])),
    PoolingCase(
      dims: [3, 19, 4, 4],
      window: .init(algorithm, kernel: [4, 4], strides: [1, 1], paddingBefore: [0, 0])),
    PoolingCase(
      dims: [2, 8, 11],
      window: .init(algorithm, kernel: [3], strides: [2], paddingBefore: [1])),
    PoolingCase(
      dims: [2, 16, 4, 5, 3],
      window: .init(
        algorithm, kernel: [2, 3, 2], strides: [2, 2, 1], paddingBefore: [0, 1, 1],
        paddingAfter: [0, 1, 0])),
  ]
}

@Suite struct DNNLPoolingTests {
  @Test(arguments: poolingCases) func forwardAndBackward(_ c: PoolingCase) throws {
    var generator = SplitMix(seed: 5)
    let source = Reference(random: c.dims, using: &generator)
    let gradient = Reference(random: c.destinationDims, using: &generator)
    let (wanted, wantedBack) = c.reference(source, gradient: gradient)
    for format in [DNNLFormat.plain, .channelsLast, .blocked(8), .blocked(16)] {
      let from = try DNNLDescriptor(c.dims, .float32, format)
      let any = try DNNLDescriptor(c.destinationDims, .float32, .any)
      let forward = try DNNLPrimitive.poolingForward(c.window, source: from, destination: any)
      let to = try #require(forward.descriptor(.destination))
      #expect(to.matches(try #require(format.named)))
      let backward = try DNNLPrimitive.poolingBackward(
        c.window, source: from, destination: to, diffSource: from, diffDestination: to)
      #expect(forward.descriptor(.workspace) == backward.descriptor(.workspace))
      #expect((forward.descriptor(.workspace) != nil) == (c.window.algorithm == .max))

      let result = Buffer(bytes: to.byteCount)
      let back = Buffer(bytes: from.byteCount)
      let workspace = Buffer(bytes: forward.descriptor(.workspace)?.byteCount ?? 0)
      try run(
        forward,
        [.source: store(source, as: from), .destination: result, .workspace: workspace])
      try run(
        backward,
        [.diffDestination: store(gradient, as: to), .diffSource: back, .workspace: workspace])
      #expect(wanted.distance(to: try load(result, as: to)) < 1e-6)
      #expect(wantedBack.distance(to: try load(back, as: from)) < 1e-6)

      let inference = try DNNLPrimitive.poolingForward(
        c.window, source: from, destination: to, training: false)
      #expect(inference.descriptor(.workspace) == nil)
      let again = Buffer(bytes: to.byteCount)
      try run(inference, [.source: store(source, as: from), .destination: again])
      #expect(wanted.distance(to: try load(again, as: to)) < 1e-6)
    }
  }

  @Test func bfloat16MaximumIsExact() throws {
    let c = poolingCases[0]
    var generator = SplitMix(seed: 6)
    let source = Reference(random: c.dims, bits: 8, using: &generator)
    let (wanted, _) = c.reference(source, gradient: Reference(zeros: c.destinationDims))
    let from = try DNNLDescriptor(c.dims, .bfloat16, .blocked(16))
    let to = try DNNLDescriptor(c.destinationDims, .bfloat16, .blocked(16))
    let forward = try DNNLPrimitive.poolingForward(c.window, source: from, destination: to)
    let result = Buffer(bytes: to.byteCount)
    let workspace = Buffer(bytes: try #require(forward.descriptor(.workspace)).byteCount)
    try run(
      forward, [.source: store(source, as: from), .destination: result, .workspace: workspace])
    #expect(wanted == (try load(result, as: to)))
  }

  /// Equal elements: the whole gradient goes to the first of them, in every layout.
  @Test func tiesGoToTheFirst() throws {
    let dims = [1, 16, 4, 4]
    let window = DNNLPooling(.max, kernel: [2, 2], strides: [2, 2], paddingBefore: [0, 0])
    let source = Reference(dims, [Double](repeating: 0.5, count: 256))
    var generator = SplitMix(seed: 13)
    let gradient = Reference(random: [1, 16, 2, 2], using: &generator)
    var wanted = Reference(zeros: dims)
    for i in Reference.indices(gradient.dims) {
      wanted[[i[0], i[1], 2 * i[2], 2 * i[3]]] = gradient[i]
    }
    for format in [DNNLFormat.plain, .channelsLast, .blocked(8), .blocked(16)] {
      let from = try DNNLDescriptor(dims, .float32, format)
      let to = try DNNLDescriptor(gradient.dims, .float32, format)
      let forward = try DNNLPrimitive.poolingForward(window, source: from, destination: to)
      let backward = try DNNLPrimitive.poolingBackward(
        window, source: from, destination: to, diffSource: from, diffDestination: to)
      let workspace = Buffer(bytes: try #require(forward.descriptor(.workspace)).byteCount)
      let result = Buffer(bytes: to.byteCount)
      let back = Buffer(bytes: from.byteCount)
      try run(
        forward,
        [.source: store(source, as: from), .destination: result, .workspace: workspace])
      try run(
        backward,
        [.diffDestination: store(gradient, as: to), .diffSource: back, .workspace: workspace])
      #expect(wanted == (try load(back, as: from)))
    }
  }

  @Test func wrongCountsAreNamed() throws {
    let from = try DNNLDescriptor([1, 3, 4, 4], .float32, .plain)
    let window = DNNLPooling(.max, kernel: [2], strides: [2, 2], paddingBefore: [0, 0])
    #expect {
      try DNNLPrimitive.poolingForward(window, source: from, destination: from)
    } throws: { error in
      let error = error as? ABNError
      return error?.category == .shape && error?.what.contains("kernel") == true
    }
  }
}
