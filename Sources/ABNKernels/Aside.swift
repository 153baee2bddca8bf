import ABNKernelsBaseline

/// The single elements whose x a layer keeps aside: those far below zero in elu, whose y its z does not tell.
/// The parts of a forward pass note them as they meet them, each on its own; then they are put in lists of
/// channels, which no longer depend on how the work was cut or the tensor laid out.
final class Aside {
  private let geometry: ABNGeometry
  private let elementBytes: Int
  /// `AsideWord.all` words for each part of the work.
  private var words: UnsafeMutableRawPointer?
  private var parts = 0
  /// How many elements there are.
  private(set) var count = 0
  /// For each channel where its list begins, and where the last one ends.
  private var starts: [Int] = []
  private var capacity = 0
  /// Numbers of elements in their channels, in order of the parts.
  private(set) var indices: UnsafeMutablePointer<UInt32>
  /// Their x, and for the time of a backward pass their dx: elements of the tensor.
  private(set) var x: UnsafeMutableRawPointer
  private(set) var dx: UnsafeMutableRawPointer

  init(_ kernel: ABNKernel) {
    geometry = kernel.geometry
    elementBytes = kernel.element.bytes
    (indices, x, dx) = Self.room(0, elementBytes)
  }

  deinit {
    freeLists()
    guard let words else { return }
    for part in 0..<parts { notes(words, part)?.deallocate() }
    words.deallocate()
  }

  /// The bytes that are held now.
  var bytes: Int {
    var sum = capacity * (4 + 2 * elementBytes)
    guard let words else { return sum }
    for part in 0..<parts {
      sum += self[words, part, AsideWord.capacity] * AsideWord.noteBytes
    }
    return sum
  }

  /// The places of a channel's elements in the lists.
  func range(_ channel: Int) -> Range<Int> {
    count == 0 ? 0..<0 : starts[channel]..<starts[channel + 1]
  }

  /// Forgets what there is.
  func clear() {
    count = 0
  }

  /// Makes ready for the notes of a forward pass that is cut into `parts`.
  func begin(parts wanted: Int) {
    if wanted > parts {
      let more = UnsafeMutableRawPointer.allocate(
        byteCount: wanted * AsideWord.all * 8, alignment: 64)
      more.initializeMemory(as: UInt8.self, repeating: 0, count: wanted * AsideWord.all * 8)
      if let words {
        more.copyMemory(from: words, byteCount: parts * AsideWord.all * 8)
        words.deallocate()
      }
      for part in parts..<wanted {
        more.storeBytes(of: grow, toByteOffset: place(part, AsideWord.grow), as: GrowAside.self)
      }
      words = more
      parts = wanted
    }
    guard let words else { return }
    for part in 0..<parts {
      words.storeBytes(of: 0, toByteOffset: place(part, AsideWord.count), as: Int.self)
    }
  }

  /// The words of a part, for the kernels.
  func words(_ part: Int) -> UnsafeMutableRawPointer? { words.map { $0 + place(part, 0) } }

  /// Makes lists of the notes, whose addresses are of a tensor at `base`.
  func collect(_ base: UnsafeRawPointer) {
    guard let words else { return }
    var total = 0
    for part in 0..<parts { total += self[words, part, AsideWord.count] }
    count = total
    if total == 0 { return }
    // Room for a little more, but not for much that is not used.
    if total > capacity || total < capacity / 4 {
      freeLists()
      capacity = total + total / 8
      (indices, x, dx) = Self.room(capacity, elementBytes)
    }
    starts = [Int](repeating: 0, count: geometry.channels + 2)
    eachNote(words, base) { channel, _, _ in starts[channel + 2] += 1 }
    for channel in 0..<geometry.channels { starts[channel + 2] += starts[channel + 1] }
    eachNote(words, base) { channel, index, value in
      let at = starts[channel + 1]
      starts[channel + 1] += 1
      indices[at] = UInt32(truncatingIfNeeded: index)
      (x + at * elementBytes).copyMemory(from: value, byteCount: elementBytes)
    }
    for part in 0..<parts where self[words, part, AsideWord.capacity] > Self.mostKeptNotes {
      notes(words, part)?.deallocate()
      for word in [AsideWord.count, AsideWord.capacity, AsideWord.notes] {
        words.storeBytes(of: 0, toByteOffset: place(part, word), as: Int.self)
      }
    }
  }

  /// Notes of a part that the next pass finds room for.
  private static let mostKeptNotes = 64

  private func eachNote(
    _ words: UnsafeMutableRawPointer, _ base: UnsafeRawPointer,
    _ body: (_ channel: Int, _ index: Int, _ value: UnsafeRawPointer) -> Void
  ) {
    for part in 0..<parts {
      guard let notes = notes(words, part) else { continue }
      for number in 0..<self[words, part, AsideWord.count] {
        let note = notes + number * AsideWord.noteBytes
        let address = note.load(as: UInt.self)
        let place = geometry.place(Int(address - UInt(bitPattern: base)) / elementBytes)
        body(place.channel, place.index, note + 8)
      }
    }
  }

  private func place(_ part: Int, _ word: Int) -> Int { (part * AsideWord.all + word) * 8 }

  private subscript(_ words: UnsafeMutableRawPointer, _ part: Int, _ word: Int) -> Int {
    words.load(fromByteOffset: place(part, word), as: Int.self)
  }

  private func notes(_ words: UnsafeMutableRawPointer, _ part: Int) -> UnsafeMutableRawPointer? {
    words.load(fromByteOffset: place(part, AsideWord.notes), as: UnsafeMutableRawPointer?.self)
  }

  private static func room(
    _ count: Int, _ elementBytes: Int
  ) -> (UnsafeMutablePointer<UInt32>, UnsafeMutableRawPointer, UnsafeMutableRawPointer) {
    (
      .allocate(capacity: max(1, count)),
      .allocate(byteCount: max(1, count * elementBytes), alignment: 64),
      .allocate(byteCount: max(1, count * elementBytes), alignment: 64)
    )
  }

  private func freeLists() {
    indices.deallocate()
    x.deallocate()
    dx.deallocate()
  }
}

/// Makes twice the room for the notes of a part.
private let grow: GrowAside = { words in
  let capacity = words.load(fromByteOffset: AsideWord.capacity * 8, as: Int.self)
  let more = max(16, 2 * capacity)
  let notes = UnsafeMutableRawPointer.allocate(
    byteCount: more * AsideWord.noteBytes, alignment: 16)
  let old = words.load(fromByteOffset: AsideWord.notes * 8, as: UnsafeMutableRawPointer?.self)
  if let old {
    notes.copyMemory(from: old, byteCount: capacity * AsideWord.noteBytes)
    old.deallocate()
  }
  words.storeBytes(of: more, toByteOffset: AsideWord.capacity * 8, as: Int.self)
  words.storeBytes(
    of: notes, toByteOffset: AsideWord.notes * 8, as: UnsafeMutableRawPointer.self)
}

extension ABNGeometry {
  /// The channel of an element of the buffer, and its number in the channel: `outer`, then `spatial`.
  func place(_ offset: Int) -> (channel: Int, index: Int) {
    switch layout {
    case .channelSecond:
      let (run, inside) = offset.quotientAndRemainder(dividingBy: spatial)
      let (sample, channel) = run.quotientAndRemainder(dividingBy: channels)
      return (channel, sample * spatial + inside)
    case .channelLast:
      let (index, channel) = offset.quotientAndRemainder(dividingBy: channels)
      return (channel, index)
    case .blocked(let size):
      let (vector, lane) = offset.quotientAndRemainder(dividingBy: size)
      let (run, inside) = vector.quotientAndRemainder(dividingBy: spatial)
      let (sample, block) = run.quotientAndRemainder(dividingBy: (channels + size - 1) / size)
      return (block * size + lane, sample * spatial + inside)
    }
  }

  /// The element of the buffer that is number `index` of a channel: undoes `place`.
  func offset(_ channel: Int, _ index: Int) -> Int {
    switch layout {
    case .channelSecond:
      let (sample, inside) = index.quotientAndRemainder(dividingBy: spatial)
      return (sample * channels + channel) * spatial + inside
    case .channelLast: return index * channels + channel
    case .blocked(let size):
      let (sample, inside) = index.quotientAndRemainder(dividingBy: spatial)
      let (block, lane) = channel.quotientAndRemainder(dividingBy: size)
      return ((sample * ((channels + size - 1) / size) + block) * spatial + inside) * size + lane
    }
  }
}
