// Shapes: H rows, W columns of the part that is seen.

import ABNImages
import ABNTensors

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

/// Which part of a picture and its mask is seen this time: both are enlarged, turned about the
/// middle of the part, and mirrored alike. The mask takes the nearest pixel throughout.
struct JointChange: Equatable {
  /// The size of the whole picture before the part is cut out.
  let scaled: PictureSize
  /// The part of it that is seen; what lies outside of the picture is filled.
  let region: PictureRegion
  let degrees: Double
  let isMirrored: Bool

  /// The middle at its own size.
  init(middleOf size: PictureSize, seen: PictureSize) {
    scaled = size
    region = PictureRegion(
      top: Self.middle(size.height, seen.height), left: Self.middle(size.width, seen.width),
      size: seen)
    (degrees, isMirrored) = (0, false)
  }

  /// Where a part begins whose middle is that of the whole; below 0 where the part is larger.
  private static func middle(_ all: Int, _ part: Int) -> Int {
    Int((Double(all - part) / 2).rounded(.down))
  }

  /// What is drawn.
  init(
    _ augmentation: Augmentation, of size: PictureSize, seen: PictureSize, _ draws: inout Draws
  ) {
    let factor =
      augmentation.scaling.map { draws.uniform($0.lowerBound, $0.upperBound) } ?? 1
    func length(_ side: Int) -> Int { max(1, Int((Double(side) * factor).rounded())) }
    let scaled = PictureSize(height: length(size.height), width: length(size.width))
    degrees =
      augmentation.rotation > 0 ? draws.uniform(-augmentation.rotation, augmentation.rotation) : 0
    /// A random part of a larger picture; a smaller one is put at a random place.
    func start(_ all: Int, _ part: Int) -> Int {
      all >= part ? draws.below(all - part + 1) : -draws.below(part - all + 1)
    }
    region = PictureRegion(
      top: start(scaled.height, seen.height), left: start(scaled.width, seen.width), size: seen)
    isMirrored = augmentation.flipsHorizontally && draws.happens(0.5)
    self.scaled = scaled
  }

  /// What has to be cut out so that the part is covered when it is turned.
  private var covering: PictureRegion {
    if degrees == 0 { return region }
    let (sine, cosine) = (abs(sin(degrees * .pi / 180)), abs(cos(degrees * .pi / 180)))
    let (height, width) = (Double(region.size.height), Double(region.size.width))
    // A pixel more on each side: bilinear weights reach as far.
    func margin(_ needed: Double, _ side: Double) -> Int {
      max(0, Int(((needed - side) / 2).rounded(.up))) + 1
    }
    let rows = margin(height * cosine + width * sine, height)
    let columns = margin(width * cosine + height * sine, width)
    return PictureRegion(
      top: region.top - rows, left: region.left - columns,
      size: PictureSize(
        height: region.size.height + 2 * rows, width: region.size.width + 2 * columns))
  }

  /// The picture as it is seen.
  ///
  /// - Parameters:
  ///   - outside: the colour of what lies outside of it.
  ///   - change: changes its colours, before anything is filled.
  func seen(
    _ picture: Picture, outside: [UInt8], _ change: (inout Picture) -> Void = { _ in }
  ) -> Picture {
    finished(
      cut(outside) { part in
        var inside = picture.resized(to: scaled, part: part)
        change(&inside)
        return inside
      }, bilinear: true)
  }

  /// The mask as it is seen.
  func seen(mask: Picture) -> Picture {
    finished(
      cut([UInt8(PixelClasses.ignored)]) { mask.nearest(to: scaled, part: $0) }, bilinear: false)
  }

  /// The covering region: what of it is inside is made by `body`.
  private func cut(_ outside: [UInt8], _ body: (PictureRegion) -> Picture) -> Picture {
    let region = covering
    let (top, left) = (max(0, region.top), max(0, region.left))
    let inside = PictureSize(
      height: min(scaled.height, region.top + region.size.height) - top,
      width: min(scaled.width, region.left + region.size.width) - left)
    if inside == region.size { return body(PictureRegion(top: top, left: left, size: inside)) }
    var canvas = Picture(size: region.size, colour: outside)
    if inside.height > 0, inside.width > 0 {
      canvas.paste(
        body(PictureRegion(top: top, left: left, size: inside)), top: top - region.top,
        left: left - region.left)
    }
    return canvas
  }

  private func finished(_ canvas: Picture, bilinear: Bool) -> Picture {
    var seen = canvas
    if degrees != 0 {
      seen = canvas.warped(.rotation(degrees: degrees), bilinear: bilinear)
        .cut(
          PictureRegion(
            top: (canvas.height - region.size.height) / 2,
            left: (canvas.width - region.size.width) / 2, size: region.size))
    }
    return isMirrored ? seen.mirrored : seen
  }
}

extension BatchLoader {
  /// Fills places of a batch whose pixels have classes.
  func fillPairs(_ memory: BatchMemory, _ places: Range<Int>, epoch: Int, _ masks: MaskFiles) {
    let others = changes(ofEpoch: epoch, others: true)
    memory.fill(places) { sample, to, labels in
      let (used, picture, mask) = try split.readablePair(from: sample, masks)
      var draws = Draws(others, place: sample)
      let size = split.geometry.size
      let change =
        options.augmentation.map {
          JointChange($0, of: picture.size, seen: size, &draws)
        } ?? JointChange(middleOf: picture.size, seen: size)
      let seen = change.seen(picture, outside: outside) {
        options.augmentation?.jitter?.apply(to: &$0, &draws)
      }
      writeNormalized(seen, values, to: to)
      options.augmentation?.erase(to, channels: seen.channels, size, &draws)
      change.seen(mask: mask).withPixels { from in
        for i in 0..<from.count { labels[i] = Int64(from[i]) }
      }
      return used
    }
  }
}

extension DataSplit {
  /// The picture at an index with its mask or, where broken ones are skipped, the next one of which
  /// both can be read, and its index.
  ///
  /// - Throws: `ABNError` where one of them, or every pair, cannot be read.
  package func readablePair(
    from index: Int, _ masks: MaskFiles
  ) throws -> (index: Int, picture: Picture, mask: Picture) {
    for step in 0..<count {
      let place = (index + step) % count
      do {
        let picture = try source.picture(place)
        return (
          place, picture,
          try masks.mask(place, for: picture.size, of: source.name(of: place))
        )
      } catch let error as ABNError {
        guard source.skipsBroken else { throw error }
        source.noteBroken(place, error)
      }
    }
    throw ABNError(
      .data, "pictures", got: "\(count), none of which can be read with its mask",
      wanted: "at least one", fix: source.broken.first.map { "The first: \($0)" } ?? "")
  }
}
