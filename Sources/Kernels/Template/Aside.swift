import CKernels

/// What a forward pass keeps aside: words in memory that the caller has made. A note is the address
/// that z goes to, as an integer, and x in the first bytes of another.
package enum AsideWord {
  package static let count = 0
  /// How many notes there is room for.
  package static let capacity = 1
  /// The address of the notes.
  package static let notes = 2
  /// A `GrowAside`.
  package static let grow = 3
  package static let all = 4
  package static let noteBytes = 16
}

/// Makes room for more notes; takes the address of the words.
package typealias GrowAside = @convention(c) (UnsafeMutableRawPointer) -> Void

/// Notes x of the lanes whose bits are set, of the 16 elements from `index` on, which have not been
/// overwritten. A function of its own, as it is seldom called.
@inline(never)
func noteAside(_ call: Call, _ elementBytes: Int, _ index: Int, _ lanes: Int) {
  let words = call.state
  var rest = lanes
  while rest != 0 {
    let count = words.load(fromByteOffset: AsideWord.count &* 8, as: Int.self)
    if count == words.load(fromByteOffset: AsideWord.capacity &* 8, as: Int.self) {
      words.load(fromByteOffset: AsideWord.grow &* 8, as: GrowAside.self)(words)
    }
    let offset = (index &+ rest.trailingZeroBitCount) &* elementBytes
    let notes = words.load(fromByteOffset: AsideWord.notes &* 8, as: UnsafeMutableRawPointer.self)
    let note = notes + count &* AsideWord.noteBytes
    note.storeBytes(of: UInt(bitPattern: call.out + offset), as: UInt.self)
    let x = call.a + offset
    switch elementBytes {
    case 2: note.storeBytes(of: x.load(as: UInt16.self), toByteOffset: 8, as: UInt16.self)
    case 4: note.storeBytes(of: x.load(as: UInt32.self), toByteOffset: 8, as: UInt32.self)
    default: note.storeBytes(of: x.load(as: UInt64.self), toByteOffset: 8, as: UInt64.self)
    }
    words.storeBytes(of: count &+ 1, toByteOffset: AsideWord.count &* 8, as: Int.self)
    rest &= rest &- 1
  }
}
