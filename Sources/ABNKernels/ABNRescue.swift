import ABNKernelsBaseline

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

/// Memory that is freed with its owner.
final class Memory {
  let base: UnsafeMutableRawPointer
  let bytes: Int

  /// All 0.
  init(bytes: Int) {
    self.bytes = bytes
    base = .allocate(byteCount: max(1, bytes), alignment: 64)
    base.initializeMemory(as: UInt8.self, repeating: 0, count: bytes)
  }

  deinit { base.deallocate() }
}

/// What a layer keeps of x beside what its forward pass stores: the x of channels that cannot be
/// computed back from it, bit for bit, and in elu that of single elements far below the others.
/// Each such channel has a row of `geometry.countPerChannel` elements; of the single ones there are
/// at most a fifth of a channel.
///
/// The forward pass decides which channels those are, between the statistics and what it writes
/// (`RescueRule` has the rule), and takes a row for each; the backward pass and `restore` of the
/// same tensor read them. Rows are allocated when they are first needed and used again by later
/// passes: a layer without such channels allocates nothing. One value belongs to one tensor: its
/// passes run one after the other.
public final class ABNRescue: @unchecked Sendable {
  // Sendable: the passes run one after the other, the threads of one touch channels of their own,
  // and rows are handed out and counted under the lock.

  /// The shape of the tensor.
  public let geometry: ABNGeometry
  /// The type of its elements.
  public let element: ABNElement
  /// For each channel its row, or nil.
  let rows: UnsafeMutablePointer<UnsafeMutableRawPointer?>
  /// For each channel what `size` gives.
  let sizes: UnsafeMutablePointer<Double>
  private let perChannel: Memory
  private var allocated: [Memory] = []
  private var spare: [Memory] = []
  private let lock = Memory(bytes: MemoryLayout<pthread_mutex_t>.size)
  /// Single elements, of activations that saturate.
  let aside: Aside
  private let hasLists: Bool

  /// Room for the channels of a kernel's tensor; nothing is allocated for them yet.
  public init(_ kernel: ABNKernel) {
    geometry = kernel.geometry
    element = kernel.element
    aside = Aside(kernel)
    hasLists = RescueRule(kernel).keepsAside
    let channels = kernel.geometry.channels
    perChannel = Memory(bytes: channels * 16)
    rows = perChannel.base.bindMemory(to: UnsafeMutableRawPointer?.self, capacity: channels)
    sizes = (perChannel.base + channels * 8).bindMemory(to: Double.self, capacity: channels)
    pthread_mutex_init(mutex, nil)
  }

  deinit { pthread_mutex_destroy(mutex) }

  private var mutex: UnsafeMutablePointer<pthread_mutex_t> {
    lock.base.assumingMemoryBound(to: pthread_mutex_t.self)
  }

  /// What reads or writes the lists of rows.
  private func locked<R>(_ body: () -> R) -> R {
    pthread_mutex_lock(mutex)
    defer { pthread_mutex_unlock(mutex) }
    return body()
  }

  /// The bytes that are held now, in use or for the next pass.
  public var bytes: Int {
    locked { allocated.count } * geometry.countPerChannel * element.bytes + aside.bytes
  }

  /// The most that the data can make it hold between two passes: a row for every channel, and for
  /// elu a fifth of every channel in lists.
  package var mostBytes: Int {
    let elements = geometry.channels * geometry.countPerChannel
    return elements * element.bytes
      + (hasLists ? elements / 5 * (4 + 2 * element.bytes) : 0)
  }

  /// How many channels the last forward pass rescued.
  public var count: Int { locked { allocated.count - spare.count } }

  /// How many single elements the last forward pass kept aside.
  package var asideCount: Int { aside.count }

  /// Whether the last forward pass rescued a channel.
  public func isRescued(_ channel: Int) -> Bool { rows[channel] != nil }

  /// What told the elements of a channel apart in the y of the last forward pass: abs(scale) times
  /// the root mean square of xhat, which with the statistics of the batch is the deviation's share.
  package func size(_ channel: Int) -> Double { sizes[channel] }

  /// Forgets the rows of the pass before.
  func clear() {
    aside.clear()
    if count == 0 { return }
    for channel in 0..<geometry.channels { rows[channel] = nil }
    locked { spare = allocated }
  }

  /// Gives a channel its row. From any thread, once for a channel.
  func take(_ channel: Int) {
    locked {
      let row: Memory
      if let used = spare.popLast() {
        row = used
      } else {
        row = Memory(bytes: geometry.countPerChannel * element.bytes)
        allocated.append(row)
      }
      rows[channel] = row.base
    }
  }
}
