import ABNDNNL
@testable import ABNCPUBackend
import ABNOperators
@testable import ABNRuntime
import ABNTensors

/// A convolution drawn at random: one of its three products, in one layout, against the plain
/// implementation in float64.
struct SweptConvolution: CustomStringConvertible {
  let product: ConvolutionProduct
  /// The same sizes in NCHW, for the plain implementation.
  private let plain: ConvolutionShape
  private let usesBlocks: Bool

  /// What a draw is about: shapes of which implementations were seen to be wrong, and all others.
  private enum Family: CaseIterable { case stridedPoint, padded, depthwise, any }

  /// Multiply-adds of a case at most: what the plain implementation does in a few milliseconds.
  private static let most = 60_000

  init(_ random: inout SequentialRandom) throws {
    while true {
      let family = (Family.allCases + [.stridedPoint]).randomElement(using: &random)!
      if let drawn = try Self.draw(family, &random) {
        self = drawn
        return
      }
    }
  }

  private init(_ product: ConvolutionProduct, plain: ConvolutionShape, usesBlocks: Bool) {
    (self.product, self.plain, self.usesBlocks) = (product, plain, usesBlocks)
  }

  /// Nil where the draw makes no convolution, or one that is too large.
  private static func draw(
    _ family: Family, _ random: inout SequentialRandom
  ) throws -> SweptConvolution? {
    func number(_ range: ClosedRange<Int>) -> Int { Int.random(in: range, using: &random) }
    func pair(_ range: ClosedRange<Int>) -> [Int] { [number(range), number(range)] }
    var direction: ConvolutionProduct.Direction =
      [.forward, .dataGradient, .weightGradient].randomElement(using: &random)!
    let counts = [1, 2, 3, 4, 5, 7, 8, 9, 12, 15, 16, 17, 19, 24, 32, 33]
    var channels = counts.randomElement(using: &random)!
    var filters = counts.randomElement(using: &random)!
    var groups = 1
    var (kernel, stride, dilation) = (pair(1...4), pair(1...3), [1, 1])
    var padding = [[0, 0], [0, 0]]
    var sizes = pair(1...12)
    var adds = number(0...3) == 0
    switch family {
    case .stridedPoint:
      (kernel, channels) = ([1, 1], number(1...(number(0...1) == 0 ? 7 : 17)))
      if number(0...7) > 0 { direction = .weightGradient }
      stride = [[2, 2], [2, 1], [1, 2], [3, 2]].randomElement(using: &random)!
      sizes = zip(pair(3...8), stride).map { $0 * $1 }
    case .padded:
      (kernel, padding) = (pair(1...2), [pair(0...2), pair(0...2)])
      if number(0...3) > 0 { (direction, adds) = (.forward, true) }
    case .depthwise:
      channels = number(2...40)
      (groups, filters) = (channels, channels)
      if number(0...1) == 0 { (direction, adds) = (.forward, true) }
    case .any:
      if number(0...3) == 0 { dilation = pair(1...3) }
      if number(0...1) == 0 { padding = [pair(0...2), pair(0...2)] }
      if number(0...3) == 0 {
        groups = number(2...4)
        (channels, filters) = (groups * number(1...9), groups * number(1...9))
      }
    }
    let isChannelsLast = family == .stridedPoint ? number(0...7) > 0 : number(0...2) > 0
    let layout: DataLayout = isChannelsLast ? .nhwc : .nchw
    let window = Window2D(
      kernel: kernel, stride: stride, dilation: dilation, padding: .explicit(padding))
    let batch = number(1...3)
    guard (0..<2).allSatisfy({ (try? window.outputSize($0, input: sizes[$0])) != nil }) else {
      return nil
    }
    func shape(_ layout: DataLayout) throws -> ConvolutionShape {
      let x: Shape =
        layout == .nchw
        ? [batch, channels, sizes[0], sizes[1]] : [batch, sizes[0], sizes[1], channels]
      return try ConvolutionShape(
        Conv2D(window: window, groups: groups, layout: layout), x: x,
        w: Shape([filters, channels / groups] + kernel))
    }
    let own = try shape(layout)
    guard own.flops <= 2 * most else { return nil }
    let isForward = direction == .forward
    let epilogue =
      isForward && adds
      ? DNNLEpilogue(addsDestination: true, slope: number(0...1) == 0 ? 0.125 : nil) : nil
    let product = ConvolutionProduct(
      direction, own, hasBias: direction != .dataGradient && number(0...1) == 0,
      epilogue: epilogue)
    return try SweptConvolution(product, plain: shape(.nchw), usesBlocks: number(0...3) > 0)
  }

  var description: String {
    let (s, w) = (product.shape, product.shape.window)
    return "\(product.direction) \(s.layout)\(usesBlocks ? "" : " without blocks") x \(s.source) "
      + "w \(s.weights) strides \(w.strides) dilations \(w.dilations) padding \(w.paddingBefore) "
      + "\(w.paddingAfter)\(product.hasBias ? " bias" : "")"
      + (product.epilogue.map { " + sum, slope \($0.slope ?? 1)" } ?? "")
  }

  /// What oneDNN does wrong; nil where it is right.
  func fault(_ random: inout SequentialRandom) throws -> String? {
    let primitive = try product.made(usesBlocks: usesBlocks).primitive
    let bias = Reference(random: [plain.filters], bits: 8, using: &random)
    let x = Reference(random: plain.source, bits: 8, using: &random)
    let w = Reference(random: plain.weights, bits: 8, using: &random)
    let y = Reference(random: plain.destination, bits: 8, using: &random)
    let zeros = { (like: Reference) in Reference(zeros: like.dims) }
    let reference = ReferenceConvolution(plain)
    let hasBias = product.hasBias
    let arguments: [(DNNLPrimitive.Argument, Reference)]
    let wanted: [(DNNLPrimitive.Argument, Reference)]
    switch product.direction {
    case .forward:
      var sums = runPlainly(
        reference.forward(hasBias), [x, w, zeros(y), bias])[2]
      if let epilogue = product.epilogue {
        for i in sums.values.indices {
          let v = sums.values[i] + y.values[i]
          sums.values[i] = v > 0 ? v : v * Double(epilogue.slope ?? 1)
        }
      }
      arguments =
        [(.source, x), (.weights, w)] + (hasBias ? [(.bias, bias)] : [])
        + (product.epilogue == nil ? [] : [(.destination, y)])
      wanted = [(.destination, sums)]
    case .dataGradient:
      arguments = [(.weights, w), (.diffDestination, y)]
      wanted = [
        (.diffSource, runPlainly(reference.backwardData(), [w, y, zeros(x)])[2])
      ]
    case .weightGradient:
      let results = runPlainly(
        reference.backwardWeight(hasBias), [x, y, zeros(w), zeros(bias)])
      arguments = [(.source, x), (.diffDestination, y)]
      wanted = [(.diffWeights, results[2])] + (hasBias ? [(.diffBias, results[3])] : [])
    }
    return try differences(primitive, arguments, wanted)
  }
}

/// Runs a step of the plain implementation over float64 arrays; gives them as it leaves them.
func runPlainly(_ step: (StepPointers) -> Void, _ arrays: [Reference]) -> [Reference] {
  let buffers = arrays.map { array in
    let buffer = UnsafeMutableBufferPointer<Double>.allocate(capacity: max(1, array.values.count))
    _ = buffer.update(from: array.values)
    return buffer
  }
  defer { buffers.forEach { $0.deallocate() } }
  let table = buffers.map { UnsafeMutableRawPointer($0.baseAddress!) }
  table.withUnsafeBufferPointer { step(StepPointers(base: $0.baseAddress!)) }
  return zip(arrays, buffers).map { Reference($0.dims, Array($1.prefix($0.values.count))) }
}

/// Runs a primitive and says which results differ from what is wanted, and which guards were
/// written to; nil where all is right.
///
/// The bound is 1e-5 of the largest number: a few thousand terms of 16 bits, summed in float32.
func differences(
  _ primitive: DNNLPrimitive, _ arguments: [(DNNLPrimitive.Argument, Reference)],
  _ wanted: [(DNNLPrimitive.Argument, Reference)]
) throws -> String? {
  var buffers: [DNNLPrimitive.Argument: Buffer] = [:]
  for (argument, _) in wanted {
    buffers[argument] = Buffer(bytes: primitive.descriptor(argument)!.byteCount)
  }
  for (argument, values) in arguments {
    let own = primitive.descriptor(argument)!
    buffers[argument] = try store(values.reshaped(own.dims), as: own)
  }
  var faults = try runChecked(primitive, buffers).map { "wrote beside \($0)" }
  for (argument, right) in wanted {
    let own = primitive.descriptor(argument)!
    let distance = right.reshaped(own.dims).distance(to: try load(buffers[argument]!, as: own))
    if !(distance < 1e-5) { faults.append("\(argument) is off by \(distance) of the largest") }
  }
  return faults.isEmpty ? nil : "\(primitive.implementation) \(faults.joined(separator: ", "))"
}
