import ABNImages
import ABNTensors
import Synchronization

/// The pixels of each class in masks.
package struct PixelCounts: Sendable, Equatable {
  /// The pixels of each class, over all masks.
  package private(set) var counts: [Int]
  /// For each class the pixels that count of the masks that it is in.
  package private(set) var inMasks: [Int]
  /// For each class the masks that it is in.
  package private(set) var pictures: [Int]
  /// The pixels that do not count.
  package private(set) var ignored = 0

  init(classCount: Int) {
    counts = [Int](repeating: 0, count: classCount)
    (inMasks, pictures) = (counts, counts)
  }

  mutating func add(_ mask: Picture) {
    var all = [Int](repeating: 0, count: 256)
    mask.withPixels { pixels in
      all.withUnsafeMutableBufferPointer { all in for pixel in pixels { all[Int(pixel)] += 1 } }
    }
    ignored += all[PixelClasses.ignored]
    let counted = mask.width * mask.height - all[PixelClasses.ignored]
    for number in counts.indices where all[number] > 0 {
      counts[number] += all[number]
      inMasks[number] += counted
      pictures[number] += 1
    }
  }

  /// Reads all masks of a split.
  ///
  /// - Throws: why a mask, or the picture that it belongs to, cannot be read.
  package init(_ split: DataSplit, _ masks: MaskFiles, threads: Int) throws {
    let none = PixelCounts(classCount: masks.classes.count)
    let found = Mutex<(counts: PixelCounts, faults: [Int: any Error])>((none, [:]))
    forEachPicture(split.count, threads: threads) { index in
      do {
        let mask = try masks.mask(index, for: nil, of: split.source.name(of: index))
        found.withLock { $0.counts.add(mask) }
      } catch {
        found.withLock { $0.faults[index] = error }
      }
    }
    let all = found.withLock { $0 }
    // Whoever leaves broken pictures out counts the others.
    if !split.source.skipsBroken, let first = all.faults.min(by: { $0.key < $1.key }) {
      throw first.value
    }
    self = all.counts
  }
}

/// What a pixel of each class counts in a loss, by how many pixels of it there are.
package enum ClassWeighting: String, Sendable, CaseIterable {
  /// All the same.
  case none
  /// All pixels over K times those of the class: every class counts the same.
  case frequency
  /// The median of the frequencies over that of the class, a frequency being the share of the class
  /// in the masks that it is in.
  ///
  /// Source: D. Eigen, R. Fergus, "Predicting Depth, Surface Normals and Semantic Labels" (ICCV
  /// 2015), section 6.3.2, arXiv 1411.4734.
  case medianFrequency = "median-frequency"

  /// The weights for a split; 0 of a class without a pixel; nil: all are 1.
  ///
  /// - Throws: why a mask cannot be read.
  package func weights(of split: DataSplit, threads: Int) throws -> [Double]? {
    guard self != .none, let masks = split.masks else { return nil }
    return weights(try PixelCounts(split, masks, threads: threads))
  }

  func weights(_ pixels: PixelCounts) -> [Double]? {
    let total = Double(pixels.counts.reduce(0, +))
    switch self {
    case .none: return nil
    case .frequency:
      return pixels.counts.map {
        $0 > 0 ? total / (Double(pixels.counts.count) * Double($0)) : 0
      }
    case .medianFrequency:
      let shares = zip(pixels.counts, pixels.inMasks).map {
        $1 > 0 ? Double($0) / Double($1) : 0
      }
      let known = shares.filter { $0 > 0 }.sorted()
      guard !known.isEmpty else { return shares }
      let middle = known.count / 2
      let median =
        known.count % 2 == 1 ? known[middle] : (known[middle - 1] + known[middle]) / 2
      return shares.map { $0 > 0 ? median / $0 : 0 }
    }
  }
}
