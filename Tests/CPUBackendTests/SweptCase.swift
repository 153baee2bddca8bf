import ABNDNNL
@testable import ABNCPUBackend
import ABNTensors

/// A computation by oneDNN drawn at random, and what it gives by definition.
enum SweptCase: CustomStringConvertible {
  case convolution(SweptConvolution)
  case pooling(PoolingCase, DNNLFormat)
  /// [rows, inner] x [inner, columns], each transposed in memory or not.
  case product(rows: Int, inner: Int, columns: Int, transposed: [Bool])

  init(_ random: inout SequentialRandom) throws {
    switch Int.random(in: 0..<8, using: &random) {
    case 0: self = Self.drawPooling(&random)
    case 1:
      func size() -> Int { [1, 2, 3, 5, 8, 15, 16, 17, 33].randomElement(using: &random)! }
      self = .product(
        rows: size(), inner: size(), columns: size(),
        transposed: [Bool.random(using: &random), Bool.random(using: &random)])
    default: self = .convolution(try SweptConvolution(&random))
    }
  }

  private static func drawPooling(_ random: inout SequentialRandom) -> SweptCase {
    func number(_ range: ClosedRange<Int>) -> Int { Int.random(in: range, using: &random) }
    let channels = [1, 3, 7, 8, 16, 19, 32].randomElement(using: &random)!
    let format: DNNLFormat = [.plain, .channelsLast, .blocked(8), .blocked(16)]
      .randomElement(using: &random)!
    let algorithm = DNNLPooling.Algorithm.allCases.randomElement(using: &random)!
    while true {
      let kernel = [number(1...4), number(1...4)]
      let window = DNNLPooling(
        algorithm, kernel: kernel, strides: [number(1...3), number(1...3)],
        paddingBefore: kernel.map { number(0...($0 - 1)) },
        paddingAfter: kernel.map { number(0...($0 - 1)) })
      let dims = [number(1...2), channels, number(1...9), number(1...9)]
      let room = (0..<2).allSatisfy {
        dims[2 + $0] + window.paddingBefore[$0] + window.paddingAfter[$0] >= kernel[$0]
      }
      let drawn = PoolingCase(dims: dims, window: window)
      // As in the package, no window lies in the padding alone.
      if room, Reference.indices(drawn.destinationDims).allSatisfy({ !drawn.taps(of: $0).isEmpty })
      {
        return .pooling(drawn, format)
      }
    }
  }

  var description: String {
    switch self {
    case .convolution(let drawn): "\(drawn)"
    case .pooling(let drawn, let format): "\(drawn.testDescription) \(format)"
    case .product(let rows, let inner, let columns, let transposed):
      "product of \([rows, inner]) and \([inner, columns]), transposed \(transposed)"
    }
  }

  /// What oneDNN does wrong; nil where it is right.
  func fault(_ random: inout SequentialRandom) throws -> String? {
    switch self {
    case .convolution(let drawn): return try drawn.fault(&random)
    case .pooling(let drawn, let format): return try Self.fault(drawn, format, &random)
    case .product(let rows, let inner, let columns, let transposed):
      func strides(_ dims: [Int], _ isTransposed: Bool) -> DNNLFormat {
        .strides(isTransposed ? [1, dims[0]] : [dims[1], 1])
      }
      let a = Reference(random: [rows, inner], bits: 8, using: &random)
      let b = Reference(random: [inner, columns], bits: 8, using: &random)
      let primitive = try DNNLPrimitive.matmul(
        source: DNNLDescriptor(a.dims, .float32, strides(a.dims, transposed[0])),
        weights: DNNLDescriptor(b.dims, .float32, strides(b.dims, transposed[1])),
        destination: DNNLDescriptor([rows, columns], .float32, .plain))
      let wanted = DNNLMatmulTests.product(
        a.reshaped([1, rows, inner]), b.reshaped([1, inner, columns]), nil)
      return try differences(
        primitive, [(.source, a), (.weights, b)], [(.destination, wanted)])
    }
  }

  /// Both directions, the workspace of the first being read by the second.
  private static func fault(
    _ drawn: PoolingCase, _ format: DNNLFormat, _ random: inout SequentialRandom
  ) throws -> String? {
    let source = Reference(random: drawn.dims, using: &random)
    let gradient = Reference(random: drawn.destinationDims, using: &random)
    let (wanted, wantedBack) = drawn.reference(source, gradient: gradient)
    let from = try DNNLDescriptor(drawn.dims, .float32, format)
    let to = try DNNLDescriptor(drawn.destinationDims, .float32, format)
    let forward = try DNNLPrimitive.poolingForward(drawn.window, source: from, destination: to)
    let backward = try DNNLPrimitive.poolingBackward(
      drawn.window, source: from, destination: to, diffSource: from, diffDestination: to)
    let workspace = Buffer(bytes: forward.descriptor(.workspace)?.byteCount ?? 0)
    let (result, back) = (Buffer(bytes: to.byteCount), Buffer(bytes: from.byteCount))
    var faults = try runChecked(
      forward,
      [.source: store(source, as: from), .destination: result, .workspace: workspace]
    ).map { "wrote beside \($0)" }
    faults += try runChecked(
      backward,
      [.diffDestination: store(gradient, as: to), .diffSource: back, .workspace: workspace]
    ).map { "back, wrote beside \($0)" }
    for (name, right, got) in [
      ("y", wanted, try load(result, as: to)), ("dx", wantedBack, try load(back, as: from)),
    ] where !(right.distance(to: got) < 1e-5) {
      faults.append("\(name) is off by \(right.distance(to: got)) of the largest")
    }
    return faults.isEmpty ? nil : "\(forward.implementation) \(faults.joined(separator: ", "))"
  }
}
