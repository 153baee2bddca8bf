import ABNKernelsBaseline

/// How a tensor is cut, from its shape and the caches alone, so that results do not depend on
/// threads.
///
/// A unit has parameters and sums of its own: a channel or a block of channels, whose elements are
/// runs in memory, or, where the channels stand side by side in rows, the whole tensor, whose runs
/// are the rows. Large units are cut into slices. One slice of one unit is a `Window`: what one
/// call of a kernel goes over.
struct Plan {
  /// Number of units, and elements from one to the next.
  var units = 1
  var unitStride = 0
  /// Runs of a unit, elements from one to the next, elements of each.
  var runs: Int
  var stride = 0
  var length: Int
  /// Channels of a unit.
  var width: Int
  /// Whether the runs are rows of all channels side by side.
  var isRows = false
  /// Slices of a unit. With 1 the two passes over a unit follow each other while it is in the
  /// cache.
  var slices = 1
  /// Pieces that a single run is cut into: slices = runs' share times pieces.
  var pieces = 1
  /// Units that one part of the work takes, where they are small.
  var unitsPerPart = 1
  /// Whether all lanes of a vector are one channel.
  private(set) var isUniform = false
  /// Lanes of a channel: 16, 2 or 1.
  private(set) var copies = 1
  /// Lanes of a row of sums: 16, or of rows their channels, rounded up to whole vectors.
  private(set) var lanes = 16
  /// Numbers in a row of parameters, which the kernels spread themselves where all lanes are one
  /// channel.
  private(set) var parameterLanes = 16
  /// Bytes of a unit's parameters and a word beside them.
  private(set) var blockBytes = 0
  /// Channels of the tensor.
  private var allChannels = 1
  /// Whether the passes over the slices of a unit follow each other unit by unit: two tensors of it
  /// are more than a core's cache, and no more than a few cores' hold.
  var isPhased = false

  /// A unit this large leaves no cache for a second pass.
  static let cachedBytes = 8 << 20
  /// Slices of a unit of which two tensors are more than a core's cache: few, as each starts anew.
  static let sharedSlices = 4
  /// Work that is worth a part of its own.
  static let partElements = 1 << 15
  /// Elements of small units that go together: few enough that two tensors' stay in the nearest
  /// cache, and that one part too many for one of a few threads is not felt.
  static let unitElements = 1 << 11
  static let mostSlices = 64

  init(_ geometry: ABNGeometry, _ element: ABNElement, _ caches: Caches = Caches()) {
    let (outer, channels, spatial) = (geometry.outer, geometry.channels, geometry.spatial)
    switch geometry.layout {
    case .channelSecond where spatial != 1 || channels <= 1:
      (units, unitStride, width) = (channels, spatial, 1)
      (runs, stride, length) = (outer, channels * spatial, spatial)
    case .channelLast where channels == 1 || channels == 8 || channels == 16:
      (runs, length, width) = (1, outer * spatial * channels, channels)
    case .blocked(let size):
      let blocks = (channels + size - 1) / size
      (units, unitStride, width) = (blocks, spatial * size, size)
      (runs, stride, length) = (outer, blocks * spatial * size, spatial * size)
    default:
      (runs, stride, length, width) = (outer * spatial, channels, channels, channels)
      isRows = true
      slices = max(1, min(Self.mostSlices, runs * length / Self.partElements, runs))
    }
    allChannels = channels
    if !isRows { cut(bytes: runs * length * element.bytes, caches) }
    setLanes(element)
  }

  private mutating func setLanes(_ element: ABNElement) {
    isUniform = width == 1 && !isRows
    copies = isUniform ? 16 : width == 8 && !isRows ? 2 : 1
    lanes = isRows ? (width + 15) / 16 * 16 : 16
    parameterLanes = isUniform ? 1 : lanes
    blockBytes = (Slot.count * parameterLanes * element.statisticsBytes + 8 + 63) / 64 * 64
  }

  /// One run of `elements`, of which all have the same parameters.
  init(flat elements: Int, _ element: ABNElement) {
    (runs, length, width) = (1, elements, 1)
    cut(bytes: 0, Caches())
    setLanes(element)
  }

  /// At most 16 channels of one unit, uncut: of rows runs of so many elements.
  func alone(_ count: Int, _ element: ABNElement) -> Plan {
    var plan = self
    (plan.units, plan.slices, plan.pieces, plan.isRows) = (1, 1, 1, false)
    if isRows { (plan.length, plan.width) = (count, 16) }
    plan.setLanes(element)
    return plan
  }

  private mutating func cut(bytes: Int, _ caches: Caches) {
    let elements = runs * length
    if elements <= Self.partElements || (units >= 8 && bytes <= Self.cachedBytes) {
      isPhased = bytes > caches.coreBytes / 2
      unitsPerPart = isPhased ? 1 : max(1, Self.unitElements / max(1, elements))
      slices = isPhased ? Self.sharedSlices : 1
    } else {
      slices = min(Self.mostSlices, (elements - 1) / Self.partElements + 1)
    }
    if slices > 1 && runs < slices {
      // Pieces of whole vectors, at least one each.
      pieces = max(1, min((slices - 1) / max(1, runs) + 1, length / 16))
      slices = runs * pieces
    }
  }

  /// Elements of a unit.
  var unitElements: Int { runs * length }
  /// Parts when each takes whole units.
  var parts: Int { (units + unitsPerPart - 1) / unitsPerPart }

  /// The units of a part.
  func units(ofPart part: Int) -> Range<Int> {
    part * unitsPerPart..<min((part + 1) * unitsPerPart, units)
  }

  /// Elements from a channel's first to number `index` of the channel.
  func offset(_ index: Int) -> Int {
    let (run, place) = index.quotientAndRemainder(dividingBy: max(1, length / max(1, width)))
    return run * stride + place * width
  }

  /// The channels of a unit.
  @inline(__always) func channels(_ unit: Int) -> Range<Int> {
    unit &* width..<min(allChannels, (unit &+ 1) &* width)
  }

  /// Whether the units are done at once, with room on the stack.
  var isOnStack: Bool { slices == 1 && !isRows }

  /// The runs of a slice and the elements of each that it covers.
  func extent(_ slice: Int) -> Extent {
    let whole = Extent(runs: 0..<runs, elements: 0..<length)
    if slices == 1 { return whole }
    if pieces == 1 { return Extent(runs: share(slice, of: slices, in: runs), elements: 0..<length) }
    let (run, piece) = slice.quotientAndRemainder(dividingBy: pieces)
    return Extent(runs: run..<run + 1, elements: whole.piece(piece, of: pieces))
  }
}

/// Some runs of a unit, and the elements of each of them that are meant.
struct Extent {
  var runs: Range<Int>
  var elements: Range<Int>

  /// Piece `index` of `count` that its runs are cut into: whole vectors, but for the end.
  func piece(_ index: Int, of count: Int) -> Range<Int> {
    let vectors = share(index, of: count, in: elements.count / 16)
    let end =
      index == count - 1 ? elements.upperBound : elements.lowerBound + vectors.upperBound * 16
    return elements.lowerBound + vectors.lowerBound * 16..<end
  }
}

/// One slice of one unit.
struct Window {
  var unit: Int
  var slice: Int
  /// Elements from each run to one that is prefetched beside it for the next unit; 0 for none.
  var nextUnit = 0
}

/// Share `index` of `shares` that `count` things in order are cut into: as even as they can be,
/// each beginning where the one before it ends.
package func share(_ index: Int, of shares: Int, in count: Int) -> Range<Int> {
  count * index / shares..<count * (index + 1) / shares
}
