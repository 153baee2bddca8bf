import ABNTensors

/// How many numbers lie where, in the buckets of TensorFlow: their limits grow by a tenth from
/// 1e-12 to 1e20, the same on both sides of zero.
package struct TensorBoardHistogram: Sendable, Equatable {
  /// The finite numbers: how many, the smallest and the largest, their sum and that of their
  /// squares.
  package private(set) var count = 0
  package private(set) var min = Double.infinity
  package private(set) var max = -Double.infinity
  package private(set) var sum = 0.0
  package private(set) var sumOfSquares = 0.0
  /// A bucket holds the numbers below its limit that are not below the limit before it.
  private var counts = [Int](repeating: 0, count: Self.limits.count)

  static let limits: [Double] = {
    let positive =
      Array(sequence(first: 1e-12) { $0 * 1.1 }.prefix { $0 < 1e20 })
      + [Double.greatestFiniteMagnitude]
    return positive.reversed().map(-) + [0] + positive
  }()

  /// The histogram of a tensor of any type. NaN and infinity have no bucket and are left out.
  package init(_ tensor: Tensor) {
    switch tensor.dtype {
    case .float32:
      tensor.withUnsafeBytes { for value in $0.bindMemory(to: Float.self) { add(Double(value)) } }
    default:
      for value in tensor.doubles { add(value) }
    }
  }

  private mutating func add(_ value: Double) {
    guard value.isFinite else { return }
    count += 1
    min = Swift.min(min, value)
    max = Swift.max(max, value)
    sum += value
    sumOfSquares += value * value
    counts[Self.bucket(of: value)] += 1
  }

  /// The first bucket whose limit is above the value; the last one for the largest of all numbers.
  static func bucket(of value: Double) -> Int {
    limits.withUnsafeBufferPointer { limits in
      var (low, high) = (0, limits.count - 1)
      while low < high {
        let middle = (low + high) / 2
        if limits[middle] > value { high = middle } else { low = middle + 1 }
      }
      return low
    }
  }

  /// The buckets with their limits, empty ones next to each other taken together.
  package var buckets: (limits: [Double], counts: [Double]) {
    var (kept, values): ([Double], [Double]) = ([], [])
    for (limit, count) in zip(Self.limits, counts) {
      if count == 0, values.last == 0 {
        kept[kept.count - 1] = limit
      } else {
        kept.append(limit)
        values.append(Double(count))
      }
    }
    return (kept, values)
  }
}
