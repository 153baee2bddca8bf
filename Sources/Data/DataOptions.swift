import ABNImages
import ABNTensors

/// How data are read, beside where from.
package struct DataOptions: Sendable, Hashable {
  /// The share of the pictures of each class that is held out, where the data are not divided yet.
  package var validationShare = 0.2
  /// The size at which pictures are seen; nil: that of the pictures or, of a folder, 224 x 224 from
  /// the middle of pictures whose shorter side is 256.
  package var geometry: PictureGeometry?
  /// Whether pictures that cannot be read are left out, and counted; else the first one is an
  /// error.
  package var skipsBroken = false
  /// The most bytes of decoded pictures that are kept in memory.
  package var cacheBytes = 0
  /// The threads that look through pictures that are held out, where broken ones are left out.
  package var threads = 2
  /// A file that says what the numbers or colours in masks stand for; nil: that in the folder of
  /// the data, if there is one.
  package var classesFile: String?
  /// What they stand for where no file is named: a model that was trained on them knows.
  package var pixelClasses: PixelClasses?
  /// Numbers in masks that do not count, beside those that the file says.
  package var ignoredValues: [Int] = []
  /// The part of a picture with a mask that is seen in training; nil: the size of the first one, at
  /// most 512 pixels a side.
  package var cropSize: PictureSize?
  /// Whether they are looked through when the data are read.
  var looksThroughHeldOut = true

  package init() {}

  /// - Throws: `ABNError(.attribute)` for a number outside its range.
  package func validate() throws {
    guard validationShare > 0, validationShare < 1 else {
      throw ABNError(
        .attribute, "validation share", got: "\(validationShare)",
        wanted: "a share in 0..<1, above 0")
    }
    guard cacheBytes >= 0 else {
      throw ABNError(.attribute, "picture cache", got: "\(cacheBytes) bytes", wanted: "0 or more")
    }
    guard (1...1024).contains(threads) else {
      throw ABNError(.attribute, "threads", got: "\(threads)", wanted: "1...1024")
    }
    if let bad = ignoredValues.first(where: { !(0...255).contains($0) }) {
      throw ABNError(.attribute, "ignore index", got: "\(bad)", wanted: "0...255")
    }
    try cropSize.map { try PictureGeometry(size: $0).validate() }
    try geometry?.validate()
  }
}

/// Which pictures of a class are held out.
enum HeldOut {
  /// The pictures with these labels, divided: round(n share) of the n of each class are held out,
  /// at least one of two, but never all. Which ones depends on their number in the class alone, not
  /// on a run's seed: a model is never judged by what another run of it was trained on.
  static func divide(_ labels: [Int32], share: Double) -> (train: [Int], test: [Int]) {
    var members: [Int32: [Int]] = [:]
    for (index, label) in labels.enumerated() { members[label, default: []].append(index) }
    var held = Set<Int>()
    for (label, indices) in members {
      let count = Double(indices.count) * share
      let wanted = max(min(Int(count.rounded()), indices.count - 1), indices.count > 1 ? 1 : 0)
      var order = indices
      var draws = Draws(CounterRandom(seed: 0, stream: 0xDA7A_0005_0000_0000), place: Int(label))
      for i in 0..<wanted { order.swapAt(i, i + draws.below(order.count - i)) }
      held.formUnion(order[..<wanted])
    }
    return (labels.indices.filter { !held.contains($0) }, labels.indices.filter(held.contains))
  }
}
