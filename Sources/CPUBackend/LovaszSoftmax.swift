import ABNOperators
import ABNRuntime
import ABNTensors

extension LovaszSoftmax: CPULowerable {
  /// Classes that are sorted side by side; each needs room of its own.
  private static var lanes: Int { 2 }

  func lower(_ c: inout LoweringContext) throws {
    let planes = ClassPlanes(c.inputType(0).shape)
    guard planes.count <= Int(UInt32.max) else {
      throw ABNError(
        .unsupported, "lovasz_softmax", got: "\(planes.count) labels",
        wanted: "at most 2^32 - 1 in a batch", fix: "Take a smaller batch.")
    }
    let (lanes, ignored) = (min(Self.lanes, planes.classes), Int64(ignoreIndex))
    func run<T: CPUFloat, Key: FixedWidthInteger & UnsignedInteger & SendableMetatype>(
      _: T.Type, _ key: @escaping @Sendable (T) -> Key
    ) -> (bytes: Int, run: @Sendable (StepPointers) throws -> Void) {
      let room = planes.count * SortedErrors<Key>.bytesPerPlace
      // The classes' losses and numbers of places, then the lanes' rooms.
      let head = 16 * planes.classes
      return (
        head + lanes * room,
        { p in
          nonisolated(unsafe) let (x, labels) = (p(0, as: T.self), p(1, as: Int64.self))
          nonisolated(unsafe) let slope = p(3, as: T.self)
          try checkLabels(labels, count: planes.count, classes: planes.classes, ignored: ignored)
          nonisolated(unsafe) let losses = p(4, as: Double.self)
          nonisolated(unsafe) let sizes = p(4, as: Int.self) + planes.classes
          sizes.update(repeating: 0, count: planes.classes)
          for i in 0..<planes.count where labels[i] != ignored { sizes[Int(labels[i])] += 1 }
          var present = 0
          for k in 0..<planes.classes where sizes[k] > 0 { present += 1 }
          let factor = 1 / Double(max(1, present))
          nonisolated(unsafe) let rooms = p[4] + head
          Parallel.run(lanes) { lane in
            let sorted = SortedErrors<Key>(rooms + lane * room, most: planes.count)
            for k in stride(from: lane, to: planes.classes, by: lanes) {
              losses[k] =
                planes.lovasz(
                  x, labels, ignored, class: k, size: sizes[k], factor, into: slope, sorted, key)
            }
          }
          var total = 0.0
          for k in 0..<planes.classes { total += losses[k] }
          p(2, as: T.self)[0] = T(total * factor)
        }
      )
    }
    let dtype = c.inputType(0).dtype
    let step = try c.float(
      dtype, run(Float.self) { $0.bitPattern }, run(Double.self) { $0.bitPattern })
    let arguments = [
      try c.read(0), try c.read(1), c.write(0), c.write(1), c.scratch(bytes: step.bytes),
    ]
    c.step(arguments, run: step.run)
  }
}

extension ClassPlanes {
  /// The loss of one class, and its slopes times `factor`; 0 and zeros where no place has it.
  fileprivate func lovasz<T: CPUFloat, Key>(
    _ x: UnsafePointer<T>, _ labels: UnsafePointer<Int64>, _ ignored: Int64, class k: Int,
    size: Int, _ factor: Double, into slope: UnsafeMutablePointer<T>,
    _ sorted: SortedErrors<Key>, _ key: (T) -> Key
  ) -> Double {
    for image in 0..<images {
      (slope + (image * classes + k) * places).update(repeating: 0, count: places)
    }
    guard size > 0 else { return 0 }
    /// Where the label's place stands among the elements.
    func element(_ place: Int) -> Int {
      let (image, i) = place.quotientAndRemainder(dividingBy: places)
      return (image * classes + k) * places + i
    }
    var count = 0
    for image in 0..<images {
      let (y, label) = (x + (image * classes + k) * places, labels + image * places)
      for i in 0..<places where label[i] != ignored {
        let error = (label[i] == Int64(k) ? 1 - y[i] : y[i]).magnitude
        // The largest error has the smallest key.
        sorted.keys[count] = ~key(error)
        sorted.places[count] = UInt32(truncatingIfNeeded: image * places + i)
        count += 1
      }
    }
    sorted.sort(count)
    // J(r) - J(r - 1), in closed form: no difference of numbers that are nearly one.
    var (inside, union) = (Double(size), Double(size))
    var loss = 0.0
    for r in 0..<count {
      let place = Int(sorted.places[r])
      let at = element(place)
      let isInside = labels[place] == Int64(k)
      let step: Double
      if isInside {
        step = 1 / union
        inside -= 1
      } else {
        step = inside / (union * (union + 1))
        union += 1
      }
      let value = Double(x[at])
      loss += (isInside ? 1 - value : value).magnitude * step
      slope[at] = T(isInside ? -step * factor : step * factor)
    }
    return loss
  }
}

/// Keys with the places that they came from, sorted by their digits from the lowest on: in time
/// that grows with their number alone, and equal keys keep their order.
private struct SortedErrors<Key: FixedWidthInteger & UnsignedInteger>: @unchecked Sendable {
  /// Two arrays of keys and two of places.
  static var bytesPerPlace: Int { 2 * (MemoryLayout<Key>.stride + MemoryLayout<UInt32>.stride) }

  private static var digitBits: Int { 11 }

  /// What is sorted.
  let keys: UnsafeMutablePointer<Key>
  let places: UnsafeMutablePointer<UInt32>
  private let otherKeys: UnsafeMutablePointer<Key>
  private let otherPlaces: UnsafeMutablePointer<UInt32>

  /// Arrays of `most` in memory of `most * bytesPerPlace` bytes.
  init(_ memory: UnsafeMutableRawPointer, most: Int) {
    keys = memory.assumingMemoryBound(to: Key.self)
    otherKeys = keys + most
    places = UnsafeMutableRawPointer(otherKeys + most).assumingMemoryBound(to: UInt32.self)
    otherPlaces = places + most
  }

  /// Puts the first `count` keys, and their places with them, in rising order.
  func sort(_ count: Int) {
    let digits = 1 << Self.digitBits
    var (from, to) = ((keys, places), (otherKeys, otherPlaces))
    withUnsafeTemporaryAllocation(of: Int.self, capacity: digits) { starts in
      for shift in stride(from: 0, to: Key.bitWidth, by: Self.digitBits) {
        func digit(_ key: Key) -> Int { Int(truncatingIfNeeded: key &>> Key(shift)) & (digits - 1) }
        starts.initialize(repeating: 0)
        for i in 0..<count { starts[digit(from.0[i])] += 1 }
        var start = 0
        for d in 0..<digits {
          let own = starts[d]
          starts[d] = start
          start += own
        }
        for i in 0..<count {
          let d = digit(from.0[i])
          to.0[starts[d]] = from.0[i]
          to.1[starts[d]] = from.1[i]
          starts[d] += 1
        }
        swap(&from, &to)
      }
    }
    if from.0 != keys {
      keys.update(from: from.0, count: count)
      places.update(from: from.1, count: count)
    }
  }
}
