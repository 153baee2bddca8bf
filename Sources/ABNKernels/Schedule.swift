/// How a tensor is cut into parts, from its shape alone, so that results do not depend on threads.
struct Schedule {
  /// Elements that share 16 lanes of parameters: units of runs of contiguous elements.
  struct Runs {
    /// Number of units: channels, or blocks of channels.
    var units: Int
    /// Elements from one unit to the next.
    var unitStride: Int
    /// Runs of a unit, elements from one to the next, elements of each.
    var count: Int
    var stride: Int
    var length: Int
    /// Channels of a unit: 1, 8 or 16.
    var width: Int

    /// Elements from a channel's first to number `index` of the channel.
    func offset(_ index: Int) -> Int {
      let (run, place) = index.quotientAndRemainder(dividingBy: max(1, length / width))
      return run * stride + place * width
    }
  }

  enum Form {
    case runs(Runs)
    /// Rows of all channels side by side.
    case rows(count: Int)
  }

  var form: Form
  /// Parts of a unit (runs), or of the tensor (rows). With 1 the two passes over a unit follow each
  /// other while it is in the cache.
  var slices: Int
  /// Pieces that a single run is cut into: slices = runs' share times pieces.
  var pieces: Int
  /// Units that one part of the work takes, for small units.
  var unitsPerPart: Int
  /// Whether the passes over the slices of a unit follow each other unit by unit (`Engine.inPhases`).
  var isPhased = false
  /// Channels, rounded up to whole vectors, in the rows form; else 16.
  var lanes: Int

  /// A unit this large leaves no cache for a second pass.
  static let cachedBytes = 8 << 20
  /// Slices of a unit of which two tensors are more than a core's cache: few, as each starts anew.
  static let sharedSlices = 4
  /// Work that is worth a part of its own.
  static let partElements = 1 << 15
  /// Elements of small units that go together: few enough that two tensors' stay in the nearest cache,
  /// and that one part too many for one of a few threads is not felt.
  static let unitElements = 1 << 11
  static let mostSlices = 64

  /// Elements from a channel's first to one in the middle and to the last.
  var samples: (middle: Int, last: Int)

  init(_ geometry: ABNGeometry, _ element: ABNElement, _ caches: Caches = Caches()) {
    let (outer, channels, spatial) = (geometry.outer, geometry.channels, geometry.spatial)
    let runs: Runs?
    switch geometry.layout {
    case .channelSecond:
      runs =
        spatial == 1 && channels > 1
        ? nil
        : Runs(
          units: channels, unitStride: spatial, count: outer, stride: channels * spatial,
          length: spatial, width: 1)
    case .channelLast:
      switch channels {
      case 1, 8, 16:
        runs = Runs(
          units: 1, unitStride: 0, count: 1, stride: 0, length: outer * spatial * channels,
          width: channels)
      default: runs = nil
      }
    case .blocked(let size):
      let blocks = (channels + size - 1) / size
      runs = Runs(
        units: blocks, unitStride: spatial * size, count: outer, stride: blocks * spatial * size,
        length: spatial * size, width: size)
    }
    pieces = 1
    unitsPerPart = 1
    let last = max(0, outer * spatial - 1)
    if let runs {
      samples = (runs.offset(last / 2), runs.offset(last))
      form = .runs(runs)
      lanes = 16
      let unitElements = runs.count * runs.length
      if unitElements <= Self.partElements
        || (runs.units >= 8 && unitElements * element.bytes <= Self.cachedBytes)
      {
        slices = 1
        isPhased = 2 * unitElements * element.bytes > caches.coreBytes
        unitsPerPart = max(1, Self.unitElements / max(1, unitElements))
      } else {
        slices = min(Self.mostSlices, (unitElements - 1) / Self.partElements + 1)
      }
      if isPhased { slices = Self.sharedSlices }
      if slices > 1 {
        let wanted = slices
        if runs.count >= wanted {
          slices = wanted
        } else {
          // Pieces of whole vectors, at least one each.
          pieces = max(1, min((wanted - 1) / runs.count + 1, runs.length / 16))
          slices = runs.count * pieces
        }
      }
    } else {
      let rows = outer * spatial
      form = .rows(count: rows)
      samples = (last / 2 * channels, last * channels)
      lanes = (channels + 15) / 16 * 16
      let elements = rows * channels
      slices = max(1, min(Self.mostSlices, elements / Self.partElements, rows))
    }
  }

  /// Parts when each takes whole units.
  func unitParts(_ units: Int) -> Int { (units + unitsPerPart - 1) / unitsPerPart }

  /// The units of a part.
  func units(_ part: Int, _ units: Int) -> Range<Int> {
    part * unitsPerPart..<min((part + 1) * unitsPerPart, units)
  }

  /// The rows of a slice.
  func rowRange(_ slice: Int, _ count: Int) -> Range<Int> { share(slice, of: slices, in: count) }

  /// The runs of a slice and the elements of each that it covers.
  func extent(_ runs: Runs, _ slice: Int) -> (runs: Range<Int>, elements: Range<Int>) {
    if pieces == 1 {
      return (share(slice, of: slices, in: runs.count), 0..<runs.length)
    }
    let (run, piece) = slice.quotientAndRemainder(dividingBy: pieces)
    let vectors = share(piece, of: pieces, in: runs.length / 16)
    let end = piece == pieces - 1 ? runs.length : vectors.upperBound * 16
    return (run..<run + 1, vectors.lowerBound * 16..<end)
  }
}

/// Share `index` of `shares` that `count` things in order are cut into: as even as they can be, each
/// beginning where the one before it ends.
package func share(_ index: Int, of shares: Int, in count: Int) -> Range<Int> {
  count * index / shares..<count * (index + 1) / shares
}
