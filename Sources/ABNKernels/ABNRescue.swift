#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

/// What a layer keeps of x beside what its forward pass stores: the x of channels that cannot be computed
/// back from it, bit for bit, and in elu that of single elements far below the others. Each such channel has a row
/// of `geometry.countPerChannel` elements; of the single ones there are at most a fifth of a channel.
///
/// The forward pass decides which channels those are, between the statistics and what it writes
/// (`ABNKernel.mustRescue` has the rule), and takes a row for each; the backward pass and `restore` of the
/// same tensor read them. Rows are allocated when they are first needed and used again by later passes:
/// a layer without such channels allocates nothing. One value belongs to one tensor: its passes
/// run one after the other.
public final class ABNRescue: @unchecked Sendable {
  // Sendable: the passes run one after the other, the threads of one touch channels of their own, and rows are
  // handed out under the lock.

  /// The shape of the tensor.
  public let geometry: ABNGeometry
  /// The type of its elements.
  public let element: ABNElement
  /// For each channel its row, or nil.
  let rows: UnsafeMutablePointer<UnsafeMutableRawPointer?>
  /// For each channel what `size` gives.
  let sizes: UnsafeMutablePointer<Double>
  private var spare: [UnsafeMutableRawPointer] = []
  private var allocated = 0
  private let lock: UnsafeMutablePointer<pthread_mutex_t>
  /// Single elements, of activations that saturate.
  let aside: Aside
  private let hasLists: Bool

  /// Room for the channels of a kernel's tensor; nothing is allocated for them yet.
  public init(_ kernel: ABNKernel) {
    geometry = kernel.geometry
    element = kernel.element
    aside = Aside(kernel)
    hasLists = Engine.keepsAside(kernel)
    rows = .allocate(capacity: max(1, kernel.geometry.channels))
    rows.initialize(repeating: nil, count: max(1, kernel.geometry.channels))
    sizes = .allocate(capacity: max(1, kernel.geometry.channels))
    sizes.initialize(repeating: 0, count: max(1, kernel.geometry.channels))
    lock = .allocate(capacity: 1)
    lock.initialize(to: pthread_mutex_t())
    pthread_mutex_init(lock, nil)
  }

  deinit {
    clear()
    for row in spare { row.deallocate() }
    rows.deallocate()
    sizes.deallocate()
    pthread_mutex_destroy(lock)
    lock.deallocate()
  }

  /// Bytes of a channel's row.
  var rowBytes: Int { geometry.countPerChannel * element.bytes }

  /// The bytes that are held now, in use or for the next pass.
  public var bytes: Int { allocated * rowBytes + aside.bytes }

  /// The most that the data can make it hold between two passes: a row for every channel, and for elu a fifth of
  /// every channel in lists.
  public var mostBytes: Int {
    let elements = geometry.channels * geometry.countPerChannel
    return elements * element.bytes
      + (hasLists ? elements / 5 * (4 + 2 * element.bytes) : 0)
  }

  /// How many channels the last forward pass rescued.
  public var count: Int { allocated - spare.count }

  /// How many single elements the last forward pass kept aside.
  public var asideCount: Int { aside.count }

  /// Whether the last forward pass rescued a channel.
  public func isRescued(_ channel: Int) -> Bool { rows[channel] != nil }

  /// What told the elements of a channel apart in the y of the last forward pass: abs(scale) times the root
  /// mean square of xhat, which with the statistics of the batch is the deviation's share.
  public func size(_ channel: Int) -> Double { sizes[channel] }

  /// Forgets the rows of the pass before.
  func clear() {
    aside.clear()
    if count == 0 { return }
    for channel in 0..<geometry.channels {
      guard let row = rows[channel] else { continue }
      spare.append(row)
      rows[channel] = nil
    }
  }

  /// Gives a channel its row. From any thread, once for a channel.
  func take(_ channel: Int) {
    pthread_mutex_lock(lock)
    defer { pthread_mutex_unlock(lock) }
    if let row = spare.popLast() {
      rows[channel] = row
      return
    }
    allocated += 1
    rows[channel] = .allocate(byteCount: max(1, rowBytes), alignment: 64)
  }
}
