import ABNKernelsBaseline

/// The single elements whose x a layer keeps aside: those far below zero in elu, whose y its z does
/// not tell. The windows of a forward pass note them as they meet them, each on its own; then they
/// are put in lists of channels, which no longer depend on how the work was cut or the tensor laid
/// out.
final class Aside {
  private let geometry: ABNGeometry
  private let elementBytes: Int
  /// `AsideWord.all` words for each window.
  private var words = Memory(bytes: 0)
  private var parts: Int { words.bytes / (AsideWord.all * 8) }
  /// How many elements there are.
  private(set) var count = 0
  /// For each channel where its list begins, and where the last one ends.
  private var starts: [Int] = []
  private var capacity = 0
  /// Numbers of elements in their channels, in order of the windows: 32 bits each.
  private var indices = Memory(bytes: 0)
  /// Their x, and for the time of a backward pass their dx: elements of the tensor.
  private(set) var x = Memory(bytes: 0)
  private(set) var dx = Memory(bytes: 0)

  /// Notes of a window that the next pass finds room for.
  private static let mostKeptNotes = 64

  init(_ kernel: ABNKernel) {
    geometry = kernel.geometry
    elementBytes = kernel.element.bytes
  }

  deinit {
    for part in 0..<parts { notes(part)?.deallocate() }
  }

  /// The bytes that are held now.
  var bytes: Int {
    (0..<parts).reduce(capacity * (4 + 2 * elementBytes)) { sum, part in
      sum + self[part, AsideWord.capacity] * AsideWord.noteBytes
    }
  }

  /// The places of a channel's elements in the lists.
  func range(_ channel: Int) -> Range<Int> {
    count == 0 ? 0..<0 : starts[channel]..<starts[channel + 1]
  }

  /// The element of the buffer that stands at a place of the lists.
  func offset(_ channel: Int, _ place: Int) -> Int {
    geometry.offset(channel, Int(indices.base.load(fromByteOffset: 4 * place, as: UInt32.self)))
  }

  /// Forgets what there is.
  func clear() { count = 0 }

  /// Makes ready for the notes of a forward pass of so many windows.
  func begin(parts wanted: Int) {
    if wanted > parts {
      let (old, first) = (words, parts)
      words = Memory(bytes: wanted * AsideWord.all * 8)
      words.base.copyMemory(from: old.base, byteCount: old.bytes)
      for part in first..<wanted {
        words(part).storeBytes(of: grow, toByteOffset: AsideWord.grow * 8, as: GrowAside.self)
      }
    }
    for part in 0..<parts { self[part, AsideWord.count] = 0 }
  }

  /// The words of a window, for the kernels.
  func words(_ part: Int) -> UnsafeMutableRawPointer { words.base + part * AsideWord.all * 8 }

  /// Makes lists of the notes, whose addresses are of a tensor at `base`.
  func collect(_ base: UnsafeRawPointer) {
    count = (0..<parts).reduce(0) { $0 + self[$1, AsideWord.count] }
    if count == 0 { return }
    // Room for a little more, but not for much that is not used.
    if count > capacity || count < capacity / 4 {
      capacity = count + count / 8
      indices = Memory(bytes: 4 * capacity)
      x = Memory(bytes: elementBytes * capacity)
      dx = Memory(bytes: elementBytes * capacity)
    }
    starts = [Int](repeating: 0, count: geometry.channels + 2)
    eachNote(base) { channel, _, _ in starts[channel + 2] += 1 }
    for channel in 0..<geometry.channels { starts[channel + 2] += starts[channel + 1] }
    eachNote(base) { channel, index, value in
      let at = starts[channel + 1]
      starts[channel + 1] += 1
      indices.base.storeBytes(
        of: UInt32(truncatingIfNeeded: index), toByteOffset: 4 * at, as: UInt32.self)
      (x.base + at * elementBytes).copyMemory(from: value, byteCount: elementBytes)
    }
    for part in 0..<parts where self[part, AsideWord.capacity] > Self.mostKeptNotes {
      notes(part)?.deallocate()
      for word in [AsideWord.count, AsideWord.capacity, AsideWord.notes] { self[part, word] = 0 }
    }
  }

  private func eachNote(
    _ base: UnsafeRawPointer,
    _ body: (_ channel: Int, _ index: Int, _ value: UnsafeRawPointer) -> Void
  ) {
    for part in 0..<parts {
      guard let notes = notes(part) else { continue }
      for number in 0..<self[part, AsideWord.count] {
        let note = notes + number * AsideWord.noteBytes
        let address = note.load(as: UInt.self)
        let place = geometry.place(Int(address - UInt(bitPattern: base)) / elementBytes)
        body(place.channel, place.index, note + 8)
      }
    }
  }

  private subscript(_ part: Int, _ word: Int) -> Int {
    get { words(part).load(fromByteOffset: word * 8, as: Int.self) }
    set { words(part).storeBytes(of: newValue, toByteOffset: word * 8, as: Int.self) }
  }

  private func notes(_ part: Int) -> UnsafeMutableRawPointer? {
    UnsafeMutableRawPointer(bitPattern: self[part, AsideWord.notes])
  }
}

/// Makes twice the room for the notes of a window.
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

extension Engine {
  private struct Copy: @unchecked Sendable {
    // Sendable: each channel has places of its own.
    let list: UnsafeRawPointer
    let target: UnsafeMutableRawPointer
  }

  /// Puts the lists' elements in their places: x or dx.
  func giveAside(_ list: Memory, _ target: UnsafeMutableRawPointer, _ team: KernelTeam) {
    let copy = Copy(list: list.base, target: target)
    team.run(channels) { channel in
      guard let aside else { return }
      for place in aside.range(channel) {
        (copy.target + aside.offset(channel, place) * bytes)
          .copyMemory(from: copy.list + place * bytes, byteCount: bytes)
      }
    }
  }
}

extension BackwardPass {
  /// Adds to the sums of a channel, of dy and of dy * (y - bias), what its elements kept aside make
  /// of them when they are taken from x instead of from z. False if there are none.
  @inline(never) func addAside(_ channel: Int) -> Bool {
    guard let aside = engine.aside, !aside.range(channel).isEmpty else { return false }
    let values = engine.values(channel)
    // x - mean, which is taken times the unit, times gain is y - bias.
    let gain = values.unit == 1 ? values.gain : values.gain / values.unit
    engine.alone(values) { own in
      func total(_ step: KernelStep, _ count: Int) -> (dy: Double, product: Double) {
        engine.clearSums(own.allSums, 16)
        engine.go(step, count, own)
        return (Engine.total(own.allSums), Engine.total(own.allSums + 128))
      }
      var sums = (dy: 0.0, product: 0.0)
      eachAside(channel) { place, z, dz, count in
        let x = aside.x.base + place * engine.bytes
        let known = total(KernelStep(Step.reduceInput, engine.code, x, dz), count)
        let told = total(KernelStep(Step.reduce, engine.code, z, dz), count)
        sums.dy += known.dy - told.dy
        sums.product += known.product * gain - told.product
      }
      totals[3 * channel] += sums.dy
      totals[3 * channel + 1] += sums.product
    }
    return true
  }

  /// dx of a channel's elements kept aside, from x, to their list: before dx goes over dz.
  @inline(never) func applyAside(_ channel: Int) {
    guard let aside = engine.aside else { return }
    engine.alone(valuesFromInput(channel)) { own in
      eachAside(channel) { place, _, dz, count in
        let at = place * engine.bytes
        engine.go(
          KernelStep(
            Step.applyInput, engine.code, aside.x.base + at, dz, to: aside.dx.base + at),
          count, own)
      }
    }
  }

  /// Hands z and dz of a channel's elements kept aside to `body`, side by side on the stack, some
  /// at a time.
  private func eachAside(
    _ channel: Int,
    _ body: (
      _ place: Int, _ z: UnsafeMutableRawPointer, _ dz: UnsafeMutableRawPointer, _ count: Int
    ) -> Void
  ) {
    guard let aside = engine.aside else { return }
    let (range, bytes) = (aside.range(channel), engine.bytes)
    var memory = (StackElements(), StackElements())
    memory.0.withPointer { z in
      memory.1.withPointer { dz in
        for start in stride(
          from: range.lowerBound, to: range.upperBound, by: StackElements.capacity)
        {
          let count = min(StackElements.capacity, range.upperBound - start)
          for number in 0..<count {
            let at = aside.offset(channel, start + number) * bytes
            (z + number * bytes).copyMemory(from: kept + at, byteCount: bytes)
            (dz + number * bytes).copyMemory(from: call.gradient + at, byteCount: bytes)
          }
          body(start, z, dz, count)
        }
      }
    }
  }
}
