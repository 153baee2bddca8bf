import CCPUFeatures

/// What caches are taken to hold. Sizes of usual servers; where they are others the results are the
/// same but for the order of some sums (that of `coreBytes`, and of rows by whether they are asked
/// for), and the speed.
struct Caches: Hashable, Sendable {
  /// A core's second cache, nearly all of it.
  var coreBytes = 7 << 18
  /// What a tensor may hope for of the cache that all cores share. Runs of a larger one are asked
  /// for ahead; of smaller ones the processor reads ahead by itself, and asking would cost a
  /// twentieth.
  var sharedBytes = 32 << 20
  /// Rows of a tensor larger than this are prefetched: they are crossed, which no processor
  /// follows, and a core's own cache alone is near enough.
  var crossedBytes = 1 << 20
  /// A shared cache that takes in all that leaves the cores' own (AMD's); 0 where there is none.
  /// What was read once is still there for a second pass, and so is what was asked for long before.
  var victimBytes = 0
  /// Where there is such a cache, longer runs are not prefetched. Measured on a Zen 4: runs of 12
  /// KiB gain a twentieth by it, of 28 KiB they lose as much.
  var longRunBytes = 16 << 10
  /// Where there is such a cache, rows of at most so many channels are not asked for either: four
  /// groups of 16 at once go over them in order. Longer ones, which are crossed, take a quarter
  /// less asked for.
  var shortRowChannels = 64

  /// Those of the machine that this process runs on.
  static let ofThisMachine = Caches(victimBytes: Int(abn_cpu_victim_cache_bytes()))

  /// Whether runs of `run` bytes of a tensor of `tensor` are prefetched, within a pass.
  func prefetches(runs run: Int, of tensor: Int) -> Bool {
    tensor >= sharedBytes && (victimBytes == 0 || run < longRunBytes)
  }

  /// Whether rows of so many channels are prefetched.
  func prefetches(rowsOf channels: Int, of tensor: Int) -> Bool {
    tensor >= crossedBytes && (victimBytes == 0 || channels > shortRowChannels)
  }

  /// Whether `bytes` may be asked for while as many are worked on, and are there when their turn
  /// comes. Half of the cache for both, as others use it too; a tensor that is in the cache as it
  /// is gains nothing.
  func hold(next bytes: Int, of tensor: Int) -> Bool {
    bytes <= victimBytes / 4 && tensor >= victimBytes / 4
  }
}
