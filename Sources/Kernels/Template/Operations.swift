/// The parameter vectors of a lane, in the precision of sums: `parameters` holds `Slot.count` rows of
/// `lanes` numbers each, or one number each where all lanes are one channel.
public enum Slot {
  /// The mean, and what its rounding took away; for statistics the pivot.
  public static let mean = 0
  public static let meanRemainder = 1
  /// scale * inverse deviation.
  public static let gain = 2
  public static let bias = 3
  /// The slope left of zero (alpha), and its inverse.
  public static let slope = 4
  public static let inverseSlope = 5
  /// What bias is stored as: z where xhat is 0. Written by `Step.prepare`; where all lanes are one
  /// channel the operations compute it themselves.
  public static let plain = 6
  /// dx = dyFactor * dy + offset + distanceFactor * (y - bias, or x - mean).
  public static let dyFactor = 7
  public static let offset = 8
  public static let distanceFactor = 9
  /// Standard deviation / scale: x = mean + (y - bias) * spread.
  public static let spread = 10
  /// Going forward, in its place: the y below which x is kept aside.
  public static let limit = 10
  /// Not 0 where the destination must stay what it is.
  public static let keep = 11
  /// bias less what rounding took from the mean, times gain: y = (x - mean) * gain + shiftedBias.
  public static let shiftedBias = 12
  /// A power of two that x, as the mean, its remainder and 1 / gain, is taken times by the steps that take x and dz:
  /// 1, but for channels whose gain / deviation is no number of float32 by far.
  public static let unit = 13
  public static let count = 14
}

/// What to do with a range of elements; the same numbers for every instruction set.
public enum Step {
  /// sums 0, 1, 2: of x - pivot; what must be added to 2 to make it the sum of its squares; squares around
  /// other centres.
  public static let statistics = 0
  /// out = act(y), y from x, for the invertible activations.
  public static let forward = 1
  /// sums 0 ... 2: of dy, dy * (y - bias), dz * min(y, 0); a = z, b = dz.
  public static let reduce = 2
  /// out = dx; a = z, b = dz.
  public static let apply = 3
  /// out = x; a = z.
  public static let restore = 4
  /// `reduce` and `apply` for any activation, a = y.
  public static let reduceStored = 5
  public static let applyStored = 6
  /// `reduce` and `apply` for any activation, a = x; x - mean stands for y - bias.
  public static let reduceInput = 7
  public static let applyInput = 8
  /// out = act(a) for any activation.
  public static let activate = 9
  /// Writes the slot `plain`, for the activations that can be inverted; with `Step.prepareStored`
  /// for stored y.
  public static let prepare = 10
  public static let prepareStored = 11
  /// `reduce` and `apply` without y - bias, and for the activations that are lines without y.
  public static let reduceDirect = 12
  public static let applyDirect = 13
  /// sums 0, 1: of x - pivot and its square, in float64. Of runs only.
  public static let carefulStatistics = 14
}

/// The pointers of one call. `sums` is 3 rows of `lanes` float64; `state` 3 rows of `lanes` numbers
/// in the precision of sums, for calls that go by rows; or, of the forward step, `AsideWord`s.
struct Call {
  var a: UnsafeRawPointer
  var b: UnsafeRawPointer
  var out: UnsafeMutableRawPointer
  var parameters: UnsafeMutableRawPointer
  var state: UnsafeMutableRawPointer
  var sums: UnsafeMutableRawPointer
  var lanes: Int
  /// Whether all lanes are one channel: parameters are one number each, and the order of elements
  /// within a run is free.
  var isUniform: Bool
  var activation: Int
  /// Whether a lane of `Slot.keep` is set.
  var keeps: Bool
  /// Whether a is x, for the steps that take it or y.
  var isInput: Bool
  /// Whether runs are asked for ahead: their elements come from memory.
  var isFar: Bool
  /// Elements from a run to one that a later pass reads, which is asked for beside it; 0 for none.
  var later: Int
  /// Whether the sums begin with this call, whatever memory holds.
  var starts: Bool

  @inline(__always) func parameter<V: Vector>(_ slot: Int, _ lane: Int) -> V {
    isUniform ? V.broadcast(parameters, slot) : V.load(parameters, slot &* lanes &+ lane)
  }

  /// Adds to a row of sums, or begins one.
  @inline(__always) func add(_ row: Int, _ lane: Int, _ value: F64, starts: Bool = false) {
    let at = row &* lanes &+ lane
    if starts {
      // Nothing to wait for: in small channels adding to a 0 just written takes a tenth of the time.
      value.store(sums, at)
    } else {
      (F64.load(sums, at) + value).store(sums, at)
    }
  }
}

/// One arithmetic on whole vectors, with its parameters and running sums in registers.
protocol TileOperation {
  associatedtype E: Element
  /// Whether b is read beside a.
  static var readsBoth: Bool { get }
  /// Which of `count` elements are asked for by `call.later`: all by the second of two passes, or a half by
  /// each where that is faster.
  static func laterPart(_ call: Call, of count: Int) -> Range<Int>
  /// Groups of 16 lanes that it works on, side by side.
  static var groups: Int { get }
  init(_ call: Call, _ lane: Int)
  /// Starts a chunk at `index`, of which `available` vectors follow `step` elements apart.
  mutating func begin(_ call: Call, _ index: Int, _ step: Int, _ available: Int, _ count: Int)
  mutating func resume(_ call: Call, _ lane: Int)
  func suspend(_ call: Call, _ lane: Int)
  /// 16 elements for each group.
  mutating func full(_ call: Call, _ index: Int)
  /// Whether `pair` is worth its code: two chains of sums, which do not wait for one another.
  static var hasPairs: Bool { get }
  /// 16 elements, and 16 that follow `step` elements after. Only where `hasPairs`.
  mutating func pair(_ call: Call, _ index: Int, _ step: Int)
  /// `full` where `call.keeps` leaves some lanes as they are; a loop of its own, so that the usual one
  /// carries no choice. Only where `canKeep`.
  static var canKeep: Bool { get }
  mutating func fullKeeping(_ call: Call, _ index: Int)
  /// Ends a chunk of `vectors` vectors: its sums join those in memory, or are the first there (`starts`). The next
  /// one begins before anything is added.
  mutating func fold(_ call: Call, _ lane: Int, _ vectors: Int, _ starts: Bool)
}

/// One arithmetic on 16 lanes, also where less than a vector is left.
protocol LaneOperation: TileOperation {
  /// Whether `twin` is worth its code.
  static var hasTwins: Bool { get }
  /// 32 elements that follow one another, in the order of `Element.loadTwin`. Only where `hasTwins` and all
  /// lanes are one channel.
  mutating func twin(_ call: Call, _ index: Int)
  /// Whether rows are crossed by `Neighbours`: worth the code where an operation is used for itself.
  static var hasNeighbours: Bool { get }
  /// `count` elements, whose other lanes belong to no channel.
  mutating func partial(_ call: Call, _ index: Int, _ count: Int)
  /// The same where 16 may be read, and written back as they are: the rest is of the next row.
  mutating func leading(_ call: Call, _ index: Int, _ count: Int)
  /// `count` elements that are a whole run, whose other lanes must not count.
  mutating func tail(_ call: Call, _ index: Int, _ count: Int)
  /// A run ends in less than a vector: its last 16 elements overlap the vector before. `hold` is
  /// called before the run is changed, with the first of the 16; `release` after, with how many of
  /// them are left to do.
  associatedtype Held
  static var nothing: Held { get }
  func hold(_ call: Call, _ index: Int) -> Held
  mutating func release(_ call: Call, _ held: Held, _ index: Int, _ count: Int)
}

extension TileOperation {
  @inline(__always) static func laterPart(_ call: Call, of count: Int) -> Range<Int> {
    Range(uncheckedBounds: (0, count))
  }
  static var groups: Int { @inline(__always) get { 1 } }
  static var hasPairs: Bool { @inline(__always) get { false } }
  @inline(__always) mutating func pair(_ call: Call, _ index: Int, _ step: Int) {}
}

extension LaneOperation {
  static var hasNeighbours: Bool { @inline(__always) get { false } }
  static var hasTwins: Bool { @inline(__always) get { false } }
  @inline(__always) mutating func twin(_ call: Call, _ index: Int) {}
  /// Sums of lanes that belong to no channel are not looked at.
  @inline(__always) mutating func leading(_ call: Call, _ index: Int, _ count: Int) {
    full(call, index)
  }
  static var readsBoth: Bool { @inline(__always) get { false } }
  static var canKeep: Bool { @inline(__always) get { false } }
  @inline(__always) mutating func fullKeeping(_ call: Call, _ index: Int) { full(call, index) }
  @inline(__always) mutating func begin(
    _ call: Call, _ index: Int, _ step: Int, _ available: Int, _ count: Int
  ) {}
  @inline(__always) mutating func resume(_ call: Call, _ lane: Int) {}
  @inline(__always) func suspend(_ call: Call, _ lane: Int) {}
  @inline(__always) mutating func tail(_ call: Call, _ index: Int, _ count: Int) {
    partial(call, index, count)
  }
  @inline(__always) mutating func fold(
    _ call: Call, _ lane: Int, _ vectors: Int, _ starts: Bool
  ) {}
}

/// An operation whose results depend on one place each: the overlapping lanes come out the same.
protocol PlacewiseOperation: LaneOperation where Held == E.V {
  func result(_ call: Call, _ index: Int) -> E.V
  func tailResult(_ call: Call, _ index: Int, _ count: Int) -> E.V
}

extension PlacewiseOperation {
  static var nothing: E.V { @inline(__always) get { E.V(0) } }
  @inline(__always) func hold(_ call: Call, _ index: Int) -> E.V { result(call, index) }
  @inline(__always) mutating func release(
    _ call: Call, _ held: E.V, _ index: Int, _ count: Int
  ) {
    E.store(held, call.out, index)
  }
  @inline(__always) mutating func full(_ call: Call, _ index: Int) {
    E.store(result(call, index), call.out, index)
  }
  @inline(__always) mutating func partial(_ call: Call, _ index: Int, _ count: Int) {
    E.storeTail(tailResult(call, index, count), call.out, index, count)
  }
  @inline(__always) mutating func leading(_ call: Call, _ index: Int, _ count: Int) {
    E.storeLeading(result(call, index), call.out, index, count)
  }
}

extension Call {
  /// Whether both passes of the way forward ask for the next channel, half of it each, so that the memory has
  /// as much to do in both. What computes for longer than the memory takes loses by it: 16 bits, and elu.
  @inline(__always) func sharesLater<E: Element>(_ element: E.Type) -> Bool {
    E.bytes >= 4 && activation != ActivationCode.elu
  }
}

/// z from x.
struct ForwardOperation<E: Element, A: InvertibleActivation>: PlacewiseOperation {
  let mean: E.V
  let gain: E.V
  let bias: E.V
  let slope: E.V
  /// y below which z does not tell it; of activations that saturate.
  let limit: E.V
  let lane: Int

  @inline(__always) init(_ call: Call, _ lane: Int) {
    mean = call.parameter(Slot.mean, lane)
    gain = call.parameter(Slot.gain, lane)
    bias = call.parameter(Slot.shiftedBias, lane)
    slope = call.parameter(Slot.slope, lane)
    limit = call.parameter(Slot.limit, lane)
    self.lane = lane
  }

  /// z of `x`, the 16 elements from `index` on. Before they are overwritten, x is kept aside of those that z
  /// will not tell, among those from number `first` on and before `end`.
  @inline(__always) func map(
    _ x: E.V, _ call: Call, _ index: Int, _ first: Int = 0, _ end: Int = 16
  ) -> E.V {
    let y = E.V.fma(bias, x - mean, gain)
    if A.saturates && E.V.any(limit > y) { keepAside(E.self, call, lane, index, first, end) }
    return A.activate(y, slope)
  }

  @inline(__always) static func laterPart(_ call: Call, of count: Int) -> Range<Int> {
    Range(uncheckedBounds: (call.sharesLater(E.self) ? count &>> 1 : 0, count))
  }

  static var hasTwins: Bool { @inline(__always) get { E.hasTwins } }
  static var hasNeighbours: Bool { @inline(__always) get { true } }

  @inline(__always) mutating func twin(_ call: Call, _ index: Int) {
    let x = E.loadTwin(call.a, index)
    let y = (E.V.fma(bias, x.0 - mean, gain), E.V.fma(bias, x.1 - mean, gain))
    if A.saturates && (E.V.any(limit > y.0) || E.V.any(limit > y.1)) {
      keepAside(E.self, call, lane, index, 0, 16)
      keepAside(E.self, call, lane, index &+ 16, 0, 16)
    }
    E.storeTwin((A.activate(y.0, slope), A.activate(y.1, slope)), call.out, index)
  }

  @inline(__always) func result(_ call: Call, _ index: Int) -> E.V {
    map(E.load(call.a, index), call, index)
  }

  /// The lanes of the vector before are looked at there, and again in vain.
  @inline(__always) func hold(_ call: Call, _ index: Int) -> E.V {
    A.activate(E.V.fma(bias, E.load(call.a, index) - mean, gain), slope)
  }

  @inline(__always) mutating func release(
    _ call: Call, _ held: E.V, _ index: Int, _ count: Int
  ) {
    // Of the 16 that are held only these are still x.
    if A.saturates { _ = map(E.load(call.a, index), call, index, 16 &- count) }
    E.store(held, call.out, index)
  }

  @inline(__always) func tailResult(_ call: Call, _ index: Int, _ count: Int) -> E.V {
    map(E.loadTail(call.a, index, count), call, index, 0, count)
  }

  @inline(__always) mutating func leading(_ call: Call, _ index: Int, _ count: Int) {
    E.storeLeading(map(E.load(call.a, index), call, index, 0, count), call.out, index, count)
  }
}

/// What a forward pass keeps aside: words in memory that the caller has made. A note is the address that z goes to,
/// as an integer, and x in the first bytes of another.
public enum AsideWord {
  public static let count = 0
  /// How many notes there is room for.
  public static let capacity = 1
  /// The address of the notes.
  public static let notes = 2
  /// A `GrowAside`.
  public static let grow = 3
  public static let all = 4
  public static let noteBytes = 16
}

/// Makes room for more notes; takes the address of the words.
public typealias GrowAside = @convention(c) (UnsafeMutableRawPointer) -> Void

/// Notes the elements from number `first` on and before `end` of the 16 from `index` on whose y is below the limit
/// of their lane. A function of its own, as it is seldom called.
@inline(never) private func keepAside<E: Element>(
  _ element: E.Type, _ call: Call, _ lane: Int, _ index: Int, _ first: Int, _ end: Int
) {
  let mean: E.V = call.parameter(Slot.mean, lane)
  let bias: E.V = call.parameter(Slot.shiftedBias, lane)
  let limit: E.V = call.parameter(Slot.limit, lane)
  let x = end < 16 ? E.loadTail(call.a, index, end) : E.load(call.a, index)
  let y = E.V.fma(bias, x - mean, call.parameter(Slot.gain, lane))
  let isBelow = (limit > y).bits
  var at = first
  while at < end {
    if isBelow &>> at & 1 != 0 {
      let words = call.state
      let count = words.load(fromByteOffset: AsideWord.count &* 8, as: Int.self)
      if count == words.load(fromByteOffset: AsideWord.capacity &* 8, as: Int.self) {
        words.load(fromByteOffset: AsideWord.grow &* 8, as: GrowAside.self)(words)
      }
      let notes = words.load(
        fromByteOffset: AsideWord.notes &* 8, as: UnsafeMutableRawPointer.self)
      let note = notes + count &* AsideWord.noteBytes
      let offset = (index &+ at) &* E.bytes
      note.storeBytes(of: UInt(bitPattern: call.out + offset), as: UInt.self)
      let x = call.a + offset
      switch E.bytes {
      case 2: note.storeBytes(of: x.load(as: UInt16.self), toByteOffset: 8, as: UInt16.self)
      case 4: note.storeBytes(of: x.load(as: UInt32.self), toByteOffset: 8, as: UInt32.self)
      default: note.storeBytes(of: x.load(as: UInt64.self), toByteOffset: 8, as: UInt64.self)
      }
      words.storeBytes(of: count &+ 1, toByteOffset: AsideWord.count &* 8, as: Int.self)
    }
    at &+= 1
  }
}

/// x from z, for the activations that can be inverted.
struct RestoreOperation<E: Element>: PlacewiseOperation {
  let bias: E.V
  let slope: E.V
  let inverseSlope: E.V
  let plain: E.V
  let mean: E.V
  let remainder: E.V
  let spread: E.V
  let keep: E.V.Mask
  let activation: Int

  @inline(__always) init(_ call: Call, _ lane: Int) {
    bias = call.parameter(Slot.bias, lane)
    slope = call.parameter(Slot.slope, lane)
    inverseSlope = call.parameter(Slot.inverseSlope, lane)
    if !call.isUniform {
      plain = call.parameter(Slot.plain, lane)
    } else if call.activation == ActivationCode.elu {
      plain = E.rounded(Elu.activate(bias, slope))
    } else if call.activation == ActivationCode.identity {
      plain = E.rounded(bias)
    } else {
      plain = E.rounded(Leaky.activate(bias, slope))
    }
    mean = call.parameter(Slot.mean, lane)
    remainder = call.parameter(Slot.meanRemainder, lane)
    spread = call.parameter(Slot.spread, lane)
    let kept: E.V = call.parameter(Slot.keep, lane)
    keep = kept > E.V(0)
    activation = call.activation
  }

  @inline(__always) func map(_ z: E.V, _ old: E.V) -> E.V {
    var y = z
    if activation == ActivationCode.elu {
      y = Elu.invert(E.self, z, slope, inverseSlope).y
    } else if activation != ActivationCode.identity {
      y = Leaky.invert(E.self, z, slope, inverseSlope).y
    }
    let distance = E.V.choose(z == plain, E.V(0), y - bias)
    return E.V.choose(keep, old, E.V.fma(remainder, distance, spread) + mean)
  }

  @inline(__always) func result(_ call: Call, _ index: Int) -> E.V {
    map(E.load(call.a, index), E.load(UnsafeRawPointer(call.out), index))
  }

  @inline(__always) func tailResult(_ call: Call, _ index: Int, _ count: Int) -> E.V {
    map(
      E.loadTail(call.a, index, count), E.loadTail(UnsafeRawPointer(call.out), index, count))
  }
}

/// z = act(y) for any activation.
struct ActivateOperation<E: Element>: PlacewiseOperation {
  let slope: E.V
  let activation: Int

  @inline(__always) init(_ call: Call, _ lane: Int) {
    slope = call.parameter(Slot.slope, lane)
    activation = call.activation
  }

  @inline(__always) func result(_ call: Call, _ index: Int) -> E.V {
    AnyActivation.activate(activation, E.load(call.a, index), slope)
  }

  @inline(__always) func tailResult(_ call: Call, _ index: Int, _ count: Int) -> E.V {
    AnyActivation.activate(activation, E.loadTail(call.a, index, count), slope)
  }
}
