import CKernels

// The flat loops: an operation on the elements of arrays of any shape and element type, in tiles.
// An operand that is contiguous and of the type that is computed in is read where it stands; of any
// other, and of the last elements that fill no vector, a copy in that type is made first, in the
// room of the call. So an operation (FlatSteps.swift) sees whole vectors of one type, and there is
// one loop for it in float32 and one in float64.

/// What an operation sees of a tile: arrays of `count` numbers, which may be read up to the end of
/// a vector.
struct FlatTile {
  var a, b, c, d: UnsafeRawPointer
  var out, second, third: UnsafeMutableRawPointer
  var count: Int
  var constants: UnsafePointer<Double>
  /// Where sums are added up.
  var sums: UnsafeMutablePointer<Double>?
  /// Whether results are to go past the caches.
  var streams: Bool
}

/// The way in: one operation of `FlatCode`.
package func flat(_ call: UnsafePointer<abn_flat_call>) {
  if call.pointee.operation == FlatCode.sumOfRows {
    if call.pointee.a.element == 3 {
      sumRows(Float64Element.self, call.pointee)
    } else {
      sumRows(Float32Element.self, call.pointee)
    }
  } else if call.pointee.is_wide {
    overTiles(Float64Element.self, call.pointee)
  } else {
    overTiles(Float32Element.self, call.pointee)
  }
}

@inline(never) private func overTiles<E: Element>(_ element: E.Type, _ call: abn_flat_call) {
  let isDirect =
    isDirect(element, call.a, call) && isDirect(element, call.b, call)
    && isDirect(element, call.c, call) && isDirect(element, call.d, call)
    && isDirect(element, call.out, call) && isDirect(element, call.second, call)
    && isDirect(element, call.third, call)
  let most = isDirect ? Int.max : 2048 / E.bytes
  let end = call.first &+ call.count
  var first = call.first
  while first < end {
    let whole = (end &- first) & ~15
    // What fills no vector comes last and alone.
    let count = whole == 0 ? end &- first : whole < most ? whole : most
    let tile = FlatTile(
      a: source(element, call.a, 0, call, first, count),
      b: source(element, call.b, 1, call, first, count),
      c: source(element, call.c, 2, call, first, count),
      d: source(element, call.d, 3, call, first, count),
      out: target(element, call.out, 4, call, first, count),
      second: target(element, call.second, 5, call, first, count),
      third: target(element, call.third, 6, call, first, count), count: count,
      constants: call.constants, sums: call.sums,
      streams: call.streams && isDirect && count >= 16)
    step(E.V.self, call.operation, tile)
    put(element, call.out, tile.out, call, first, count)
    put(element, call.second, tile.second, call, first, count)
    put(element, call.third, tile.third, call, first, count)
    first &+= count
  }
}

/// out += each row of a, in float64.
@inline(never) private func sumRows<E: Element>(_ element: E.Type, _ call: abn_flat_call) {
  guard let base = call.a.base, let out = call.out.base else { return }
  var column = 0
  while column < call.length {
    let rest = call.length &- column
    let isWhole = rest >= 16
    var sum = isWhole ? F64.load(out, column) : Float64Element.loadTail(out, column, rest)
    var at = column
    var done = 0
    while done < call.count {
      let row = isWhole ? E.load(base, at) : E.loadTail(base, at, rest)
      sum = sum + row.wide
      at &+= call.a.row_stride
      done &+= call.length
    }
    if isWhole {
      sum.store(out, column)
    } else {
      Float64Element.storeTail(sum, out, column, rest)
    }
    column &+= 16
  }
}

/// Whether an operand is an array of E from its first element to its last, or there is none.
@inline(__always) private func isDirect<E: Element>(
  _ element: E.Type, _ operand: abn_flat_operand, _ call: abn_flat_call
) -> Bool {
  operand.base == nil
    || operand.element == (E.bytes == 8 ? 3 : 2) && operand.stride == 1
      && operand.row_stride == call.length
}

@inline(__always) private func room(_ call: abn_flat_call, _ place: Int) -> UnsafeMutableRawPointer
{
  call.room + place &* call.room_stride
}

@inline(__always) private func source<E: Element>(
  _ element: E.Type, _ operand: abn_flat_operand, _ place: Int, _ call: abn_flat_call,
  _ first: Int, _ count: Int
) -> UnsafeRawPointer {
  guard let base = operand.base else { return UnsafeRawPointer(call.room) }
  if count >= 16 && isDirect(element, operand, call) {
    return UnsafeRawPointer(base + first &* E.bytes)
  }
  gather(element, operand, call.length, first, count, room(call, place))
  return UnsafeRawPointer(room(call, place))
}

@inline(__always) private func target<E: Element>(
  _ element: E.Type, _ operand: abn_flat_operand, _ place: Int, _ call: abn_flat_call,
  _ first: Int, _ count: Int
) -> UnsafeMutableRawPointer {
  guard let base = operand.base, count >= 16, isDirect(element, operand, call) else {
    return room(call, place)
  }
  return base + first &* E.bytes
}

/// What stands in the room goes where it belongs.
@inline(__always) private func put<E: Element>(
  _ element: E.Type, _ operand: abn_flat_operand, _ tile: UnsafeMutableRawPointer,
  _ call: abn_flat_call, _ first: Int, _ count: Int
) {
  guard let base = operand.base, count < 16 || !isDirect(element, operand, call) else { return }
  scatter(E.V.self, operand.element, tile, base, first, count)
}

/// Elements `first` ..< `first + count` of an operand as numbers of E. Beyond them the room may be
/// written up to the end of a vector.
@inline(never) private func gather<E: Element>(
  _ element: E.Type, _ operand: abn_flat_operand, _ length: Int, _ first: Int, _ count: Int,
  _ tile: UnsafeMutableRawPointer
) {
  let base = UnsafeRawPointer(operand.base.unsafelyUnwrapped)
  if operand.stride == 1 && operand.row_stride == length {
    return widen(E.V.self, operand.element, base, first, count, tile)
  }
  var row = first / length
  var column = first &- row &* length
  var done = 0
  while done < count {
    let room = length &- column
    let now = room < count &- done ? room : count &- done
    let start = row &* operand.row_stride &+ column &* operand.stride
    let to = tile + done &* E.bytes
    if operand.stride == 1 {
      widen(E.V.self, operand.element, base, start, now, to)
    } else {
      var i = 0
      while i < now {
        widen(E.V.self, operand.element, base, start &+ i &* operand.stride, 1, to + i &* E.bytes)
        if operand.stride == 0 {
          let number = E.V.broadcast(UnsafeRawPointer(to), 0)
          while i < now {
            number.store(to, i)
            i &+= 16
          }
        }
        i &+= 1
      }
    }
    done &+= now
    row &+= 1
    column = 0
  }
}

@inline(never) private func widen<V: Vector>(
  _ type: V.Type, _ element: Int, _ base: UnsafeRawPointer, _ start: Int, _ count: Int,
  _ tile: UnsafeMutableRawPointer
) {
  switch element {
  case 0: widen(type, Float16Element.self, base, start, count, tile)
  case 1: widen(type, BFloat16Element.self, base, start, count, tile)
  case 2: widen(type, Float32Element.self, base, start, count, tile)
  case 3: widen(type, Float64Element.self, base, start, count, tile)
  default:
    var i = 0
    while i < count {
      V.choose(bits: bits(base + (start &+ i) / 8, count &- i), V(1), V(0)).store(tile, i)
      i &+= 16
    }
  }
}

/// Up to 16 bits; what is beyond `count` need not be there.
@inline(__always) private func bits(_ base: UnsafeRawPointer, _ count: Int) -> UInt16 {
  if count > 8 { return base.loadUnaligned(as: UInt16.self) }
  return UInt16(truncatingIfNeeded: Int(truncatingIfNeeded: base.load(as: UInt8.self)))
}

@inline(__always) private func widen<V: Vector, S: Element>(
  _ type: V.Type, _ element: S.Type, _ base: UnsafeRawPointer, _ start: Int, _ count: Int,
  _ tile: UnsafeMutableRawPointer
) {
  var i = 0
  while i &+ 16 <= count {
    V(wide: S.load(base, start &+ i).wide).store(tile, i)
    i &+= 16
  }
  if i < count { V(wide: S.loadTail(base, start &+ i, count &- i).wide).store(tile, i) }
}

@inline(never) private func scatter<V: Vector>(
  _ type: V.Type, _ element: Int, _ tile: UnsafeRawPointer, _ base: UnsafeMutableRawPointer,
  _ first: Int, _ count: Int
) {
  switch element {
  case 0: scatter(type, Float16Element.self, tile, base, first, count)
  case 1: scatter(type, BFloat16Element.self, tile, base, first, count)
  case 2: scatter(type, Float32Element.self, tile, base, first, count)
  case 3: scatter(type, Float64Element.self, tile, base, first, count)
  default:
    var i = 0
    while i < count {
      let rest = count &- i
      let zeros = (V.load(tile, i) == V(0)).bits
      let ones = ~zeros & (rest < 16 ? (1 &<< rest) &- 1 : 0xFFFF)
      let to = base + (first &+ i) / 8
      to.storeBytes(of: UInt8(truncatingIfNeeded: ones), as: UInt8.self)
      if rest > 8 {
        to.storeBytes(of: UInt8(truncatingIfNeeded: ones &>> 8), toByteOffset: 1, as: UInt8.self)
      }
      i &+= 16
    }
  }
}

@inline(__always) private func scatter<V: Vector, S: Element>(
  _ type: V.Type, _ element: S.Type, _ tile: UnsafeRawPointer, _ base: UnsafeMutableRawPointer,
  _ first: Int, _ count: Int
) {
  var i = 0
  while i < count {
    var value = S.V(wide: V.load(tile, i).wide)
    // No other NaN may reach the rounding to bfloat16.
    if !S.isExact { value = S.V.choose(value == value, value, S.V(Double.nan)) }
    if i &+ 16 <= count {
      S.store(value, base, first &+ i)
    } else {
      S.storeTail(value, base, first &+ i, count &- i)
    }
    i &+= 16
  }
}
