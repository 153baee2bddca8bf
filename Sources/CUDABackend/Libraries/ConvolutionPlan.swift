import ABNTensors

/// One of the three products of a convolution, over tensors as they stand in memory.
struct ConvolutionProduct: Sendable, Hashable {
  enum Kind: String, Sendable, Hashable { case forward, dataGradient, weightGradient }

  let kind: Kind
  let dtype: DType
  /// Whether a float32 product may round its inputs to TF32.
  let allowsTF32: Bool
  /// N, C, H, W.
  let x: [Int]
  /// F, C / groups, height, width.
  let w: [Int]
  /// N, F, H, W.
  let y: [Int]
  /// Elements to the next along each of the dimensions.
  let xStrides, wStrides, yStrides: [Int]
  let stride, dilation, before, after: [Int]

  /// What makes it this one, for the cache and for messages.
  var described: String {
    "\(kind.rawValue) \(dtype)\(allowsTF32 ? " tf32" : "") x\(x)\(xStrides) w\(w)\(wStrides) "
      + "y\(y)\(yStrides) stride\(stride) dilation\(dilation) padding\(before)\(after)"
  }
}

/// A convolution as cuDNN runs it: an engine that was chosen, and its workspace.
final class ConvolutionPlan: Sendable {
  private let library: CuDNN
  private let plan: CuDNN.Descriptor
  /// Descriptors that the plan refers to.
  private let parts: [CuDNN.Descriptor]
  /// Scratch memory.
  let workspaceBytes: Int
  /// Which engine, for reports.
  let engine: Int

  private init(
    _ library: CuDNN, _ plan: CuDNN.Descriptor, parts: [CuDNN.Descriptor], workspaceBytes: Int,
    engine: Int
  ) {
    self.library = library
    self.plan = plan
    self.parts = parts
    self.workspaceBytes = workspaceBytes
    self.engine = engine
  }

  /// Puts the convolution on a stream.
  func run(
    x: UnsafeMutableRawPointer, w: UnsafeMutableRawPointer, y: UnsafeMutableRawPointer,
    workspace: UnsafeMutableRawPointer?, on stream: CUDAHandle
  ) throws {
    let pack = try library.make(.variantPack)
    // CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, _DATA_POINTERS, _WORKSPACE.
    try pack.set(1000, .int64, [Int64(1), 2, 3])
    try pack.set(1001, .pointer, [x, w, y].map { UInt(bitPattern: $0) })
    try pack.set(1003, .pointer, [UInt(bitPattern: workspace)])
    try pack.finalize()
    try library.execute(plan, pack, on: stream)
  }

  /// The graph of one operator.
  private static func graph(
    _ product: ConvolutionProduct, _ library: CuDNN
  ) throws -> (graph: CuDNN.Descriptor, parts: [CuDNN.Descriptor]) {
    guard let type = product.dtype.cuDNNType else {
      throw ABNError(
        .dtype, "convolution", got: "\(product.dtype)", wanted: "a floating-point type")
    }
    func tensor(_ id: Int64, _ sizes: [Int], _ strides: [Int]) throws -> CuDNN.Descriptor {
      let made = try library.make(.tensor)
      try made.set(901, .dataType, [type])
      try made.set(902, .int64, sizes.map(Int64.init))
      try made.set(903, .int64, strides.map(Int64.init))
      try made.set(906, .int64, [id])
      // Buffers of the arena begin at multiples of 64 bytes.
      try made.set(900, .int64, [Int64(16)])
      try made.finalize()
      return made
    }
    let x = try tensor(1, product.x, product.xStrides)
    let w = try tensor(2, product.w, product.wStrides)
    let y = try tensor(3, product.y, product.yStrides)
    let isDouble = product.dtype == .float64
    let convolution = try library.make(.convolution)
    try convolution.set(100, .dataType, [Int32(isDouble ? 1 : 0)])
    // CUDNN_CROSS_CORRELATION.
    try convolution.set(101, .convolutionMode, [Int32(1)])
    try convolution.set(102, .int64, product.dilation.map(Int64.init))
    try convolution.set(103, .int64, product.stride.map(Int64.init))
    try convolution.set(104, .int64, product.after.map(Int64.init))
    try convolution.set(105, .int64, product.before.map(Int64.init))
    try convolution.set(106, .int64, [Int64(2)])
    try convolution.finalize()
    // alpha, beta, convolution, w or dw, x or dx, y or dy stand one after the other from here on.
    let (kind, first): (CuDNN.Kind, Int32) =
      switch product.kind {
      case .forward: (.forward, 700)
      case .dataGradient: (.dataGradient, 706)
      case .weightGradient: (.weightGradient, 712)
      }
    let op = try library.make(kind)
    if isDouble {
      try op.set(first, .double, [1.0])
      try op.set(first + 1, .double, [0.0])
    } else {
      try op.set(first, .float, [Float(1)])
      try op.set(first + 1, .float, [Float(0)])
    }
    try op.set(first + 2, [convolution])
    try op.set(first + 3, [w])
    try op.set(first + 4, [x])
    try op.set(first + 5, [y])
    try op.finalize()
    let graph = try library.make(.graph)
    try graph.set(801, [op])
    try graph.setHandle(800)
    try graph.finalize()
    return (graph, [x, w, y, convolution, op, graph])
  }

  /// What the library proposes and whose numbers are as the product asks, the most promising first.
  static func candidates(
    _ product: ConvolutionProduct, _ library: CuDNN
  ) throws -> [Candidate] {
    let (graph, parts) = try graph(product, library)
    var candidates: [Candidate] = []
    // CUDNN_HEUR_MODE_A, then CUDNN_HEUR_MODE_FALLBACK.
    for mode: Int32 in [3, 2] {
      let heuristics = try library.make(.heuristics)
      try heuristics.set(201, [graph])
      try heuristics.set(200, .heuristicMode, [mode])
      guard (try? heuristics.finalize()) != nil else { continue }
      let count = heuristics.count(202, .descriptor)
      for configuration in try heuristics.descriptors(202, .engineConfiguration, most: count) {
        guard let engine = try configuration.descriptors(300, .engine, most: 1).first,
          product.admits(notes: engine.numbers(1303, .numericalNote, most: 16))
        else { continue }
        let number: [Int64] = engine.numbers(1301, .int64, most: 1)
        candidates.append(
          Candidate(
            library: library, configuration: configuration, parts: parts + [engine],
            engine: Int(number.first ?? -1)))
      }
    }
    return candidates
  }

  /// An engine with its settings, before it is made ready to run, which takes long where the
  /// library compiles it then.
  struct Candidate {
    fileprivate let library: CuDNN
    fileprivate let configuration: CuDNN.Descriptor
    fileprivate let parts: [CuDNN.Descriptor]
    let engine: Int

    /// The plan; nil where the library declines it after all, or it takes more scratch memory.
    func plan(workspaceLimit: Int) throws -> ConvolutionPlan? {
      let plan = try library.make(.plan)
      try plan.set(401, [configuration])
      try plan.setHandle(400)
      guard (try? plan.finalize()) != nil else { return nil }
      let bytes: [Int64] = plan.numbers(402, .int64, most: 1)
      guard let bytes = bytes.first.map(Int.init), bytes <= workspaceLimit else { return nil }
      return ConvolutionPlan(
        library, plan, parts: parts + [configuration], workspaceBytes: bytes, engine: engine)
    }
  }
}

extension ConvolutionProduct {
  /// Whether an engine with these notes (cudnnBackendNumericalNote_t) computes what is asked for:
  /// the same bits each time, sums in float32, and float32 inputs as they are. Winograd's larger
  /// tiles lose digits by the size of their constants.
  func admits(notes: [Int32]) -> Bool {
    let (tensorCore, roundsInputs, roundsSums, fourier, varies):
      (Int32, Int32, Int32, Int32, Int32) = (0, 1, 2, 3, 4)
    let has = Set(notes)
    if has.contains(varies) || has.contains(roundsSums) || has.contains(fourier) { return false }
    // Tiles of 4 x 4, 6 x 6 and 13 x 13.
    if !has.isDisjoint(with: [6, 7, 8]) { return false }
    if dtype == .float32, !allowsTF32 { return has.isDisjoint(with: [tensorCore, roundsInputs]) }
    return dtype == .float32 || !has.contains(roundsInputs)
  }
}
