/// The loops over a tile, for each number of operands and results. Each reads an element before it
/// writes it, so that a result may take an operand's place.
struct Lanes<V: Vector> {
  let tile: FlatTile

  @inline(__always) func constant(_ index: Int) -> V { V(tile.constants[index]) }

  /// One result. What `f` does not look at is not read.
  @inline(__always) func map(_ f: (V, V, V, V) -> V) {
    var i = 0
    while i < tile.count {
      f(V.load(tile.a, i), V.load(tile.b, i), V.load(tile.c, i), V.load(tile.d, i))
        .store(tile.out, i)
      i &+= 16
    }
  }
  @inline(__always) func map(_ f: (V) -> V) { map { a, _, _, _ in f(a) } }
  @inline(__always) func map(_ f: (V, V) -> V) { map { a, b, _, _ in f(a, b) } }
  @inline(__always) func map(_ f: (V, V, V) -> V) { map { a, b, c, _ in f(a, b, c) } }

  /// Two results.
  @inline(__always) func map(_ f: (V, V, V, V) -> (V, V)) {
    var i = 0
    while i < tile.count {
      let (x, y) = f(
        V.load(tile.a, i), V.load(tile.b, i), V.load(tile.c, i), V.load(tile.d, i))
      x.store(tile.out, i)
      y.store(tile.second, i)
      i &+= 16
    }
  }
  @inline(__always) func map(_ f: (V) -> (V, V)) { map { a, _, _, _ in f(a) } }
  @inline(__always) func map(_ f: (V, V, V) -> (V, V)) { map { a, b, c, _ in f(a, b, c) } }

  @inline(__always) func mapThree(_ f: (V, V, V, V) -> (V, V, V)) {
    var i = 0
    while i < tile.count {
      let (x, y, z) = f(
        V.load(tile.a, i), V.load(tile.b, i), V.load(tile.c, i), V.load(tile.d, i))
      x.store(tile.out, i)
      y.store(tile.second, i)
      z.store(tile.third, i)
      i &+= 16
    }
  }

  /// sums += the elements of a tile, 32 of a lane in the precision of V, the rest in float64.
  @inline(__always) func sum(_ f: (V, V, V, V) -> V) {
    guard let sums = tile.sums else { return }
    var i = 0
    while i < tile.count {
      let end = i &+ 512 < tile.count ? i &+ 512 : tile.count
      var sum = V(0)
      while i &+ 16 <= end {
        sum = f(sum, V.load(tile.a, i), V.load(tile.b, i), V.load(tile.c, i))
        i &+= 16
      }
      if i < end {
        let more = f(sum, V.load(tile.a, i), V.load(tile.b, i), V.load(tile.c, i))
        sum = V.choose(V(Double(end &- i)) > V.lanes, more, sum)
        i &+= 16
      }
      (F64.load(sums, 0) + sum.wide).store(sums, 0)
    }
  }

  /// sums = the largest of them and of the elements; NaN is passed over.
  @inline(__always) func largest() {
    guard let sums = tile.sums else { return }
    var most = V(-Double.infinity)
    var i = 0
    while i < tile.count {
      let value = V.load(tile.a, i)
      let isElement = V(Double(tile.count &- i)) > V.lanes
      most = V.choose(value > most, V.choose(isElement, value, most), most)
      i &+= 16
    }
    let (old, new) = (F64.load(sums, 0), most.wide)
    F64.choose(new > old, new, old).store(sums, 0)
  }
}
