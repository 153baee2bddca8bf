import ABNTensors

/// The largest batch that a budget of memory allows, by what plans say: nothing is run.
package enum AutomaticBatchSize {
  /// The largest batch of at least 2 and at most `images` that needs at most `budget` bytes.
  ///
  /// Plans some 2 log2(batch) batch sizes: doubled until one does not fit, and halved in between.
  ///
  /// - Parameters:
  ///   - budget: bytes for all that a training holds beside what the process held before: a planned
  ///     peak.
  ///   - images: the most that a batch can have.
  ///   - planned: what a batch size needs; grows with it.
  /// - Throws: `ABNError(.system)` where not even 2 images fit, with what they need;
  ///   `ABNError(.data)` for fewer than 2 images; what `planned` throws.
  package static func largest(
    budget: Int, images: Int, planned: (Int) throws -> Int
  ) throws -> Int {
    guard images >= 2 else {
      throw ABNError(.data, "training data", got: "\(images) images", wanted: "at least 2")
    }
    let least = try planned(2)
    guard least <= budget else {
      throw ABNError(
        .system, "memory budget", got: describeBytes(budget),
        wanted: "at least the \(describeBytes(least)) of a batch of 2 images",
        fix: "Choose a smaller model or smaller images.")
    }
    var (fits, tooLarge) = (2, images + 1)
    while fits < images {
      let next = min(2 * fits, images)
      guard try planned(next) <= budget else {
        tooLarge = next
        break
      }
      fits = next
    }
    while tooLarge - fits > 1 {
      let middle = (fits + tooLarge) / 2
      if try planned(middle) <= budget { fits = middle } else { tooLarge = middle }
    }
    return fits
  }
}
