import InPlaceABN

/// Random sizes, ranks and numbers of one case.
struct Draw {
  private var random: SequentialRandom
  /// How many of a hundred sizes are extreme.
  var extremes = 15
  /// Told what is about to be done.
  var note: (String) -> Void = { _ in }
  private(set) var feeds: [String: Variable] = [:]

  init(seed: UInt64, number: UInt64) {
    random = SequentialRandom(CounterRandom(seed: seed, stream: 0x7A9 &+ number))
  }

  mutating func pick(_ count: Int) -> Int { Int.random(in: 0..<count, using: &random) }
  mutating func pick<T>(_ values: [T]) -> T { values[pick(values.count)] }
  mutating func chance() -> Bool { Bool.random(using: &random) }

  private static let extremeSizes = [
    0, -1, -2, 1 << 31, (1 << 31) - 1, 1 << 40, 1 << 62, (1 << 62) + 1, .max, .min,
  ]

  /// A size or another whole number.
  mutating func size() -> Int {
    pick(100) < extremes ? pick(Self.extremeSizes) : pick([1, 1, 2, 2, 3, 4, 8])
  }

  mutating func sizes(_ count: Int) -> [Int] { (0..<count).map { _ in size() } }
  mutating func shape() -> Shape { Shape(sizes(pick(7))) }
  mutating func axis() -> Int { pick(100) < extremes ? size() : pick(8) - 4 }
  mutating func real() -> Double {
    pick(100) < extremes
      ? pick([0, -1, .nan, .infinity, -.infinity, 1e300, 1e-300, 1e18]) : pick([0.5, 1, 0.1, 2])
  }
  mutating func dtype() -> DType {
    pick(100) < extremes ? pick(DType.allCases) : pick([.float32, .float32, .float64, .bfloat16])
  }
  mutating func layout() -> DataLayout { chance() ? .nchw : .nhwc }
  mutating func act() -> Activation? { chance() ? nil : pick(Activation.all) }
  mutating func pair() -> any Pair { pick(100) < extremes ? size() : [pick(3) + 1, pick(3) + 1] }
  mutating func padding() -> Padding {
    switch pick(4) {
    case 0: .same
    case 1: .valid
    case 2: .explicit([sizes(2), sizes(pick(100) < extremes ? 3 : 2)])
    default: .uniform(pick(100) < extremes ? size() : pick(2))
    }
  }

  /// An input of a rank in the range, or of any.
  mutating func input(
    _ ranks: ClosedRange<Int> = 0...6, like other: Variable? = nil, _ type: DType? = nil
  )
    throws -> Variable
  {
    let ranks = pick(100) < extremes ? 0...6 : ranks
    var shape =
      other?.shape ?? Shape(sizes(Int.random(in: ranks, using: &random)))
    if other == nil, shape.rank > 0, chance() { shape[0] = Shape.unknown }
    let type = type ?? other?.dtype ?? dtype()
    let made = try data("x\(feeds.count)", shape: shape, dtype: type, stopsGradient: false)
    feeds[made.name] = made
    return made
  }

  /// Takes a variable that was made elsewhere as an input.
  mutating func add(_ variable: Variable) { feeds[variable.name] = variable }

  /// Concrete shapes for the inputs.
  mutating func feedShapes() -> [String: Shape] {
    let batch = pick(100) < extremes ? size() : 2
    return feeds.mapValues { Shape($0.shape.dimensions.map { $0 < 0 ? batch : $0 }) }
  }
}

/// One thing that is tried: true where it came to a result.
struct TrapCase: Sendable {
  let name: String
  let check: @Sendable (inout Draw) throws -> Bool
}
