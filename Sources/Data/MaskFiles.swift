import ABNImages
import ABNTensors

/// Masks in files, one for each picture of a split, decoded when they are asked for.
package final class MaskFiles: Sendable {
  /// What the numbers or colours in them stand for.
  package let classes: PixelClasses
  /// The files, in the order of the pictures.
  package let paths: [String]
  /// The class of each segment of each mask, where their colours are numbers of segments; nil:
  /// masks hold classes.
  private let segments: [[UInt32: UInt8]]?
  private let cache: PictureCache
  private let table: [UInt8]
  /// In the table: no number of a class.
  private static let unknown: UInt8 = 254

  /// - Parameters:
  ///   - segments: of each mask the class of each segment, whose number is red + 256 green +
  ///     65536 blue; nil: masks hold classes.
  ///   - budget: of decoded masks that are kept, with the pictures.
  init(
    _ paths: [String], _ classes: PixelClasses, segments: [[UInt32: UInt8]]? = nil,
    budget: CacheBudget
  ) {
    self.paths = paths
    self.segments = segments
    self.classes = classes
    cache = PictureCache(count: paths.count, budget: budget)
    table = (0..<256).map { classes.classes[$0].map { UInt8($0) } ?? Self.unknown }
  }

  /// These masks in this order.
  func selecting(_ indices: [Int]) -> MaskFiles {
    MaskFiles(
      indices.map { paths[$0] }, classes,
      segments: segments.map { all in indices.map { all[$0] } }, budget: cache.budget)
  }

  /// The class of each pixel, one channel; `PixelClasses.ignored` of those that do not count.
  ///
  /// - Parameters:
  ///   - size: that of the picture; nil: it is not compared.
  ///   - picture: what the picture is called.
  /// - Throws: `ABNError(.file)` with the path for what is no whole PNG; `(.shape)` for a mask of
  ///   another size than its picture; `(.data)` for a number or a colour that is no class, and for
  ///   a palette whose colours are not those of the classes.
  package func mask(_ index: Int, for size: PictureSize?, of picture: String) throws -> Picture {
    if let known = cache[index], size ?? known.size == known.size { return known }
    let path = paths[index]
    let stored = try StoredPicture.read(path)
    if let size, stored.picture.size != size {
      throw ABNError(
        .shape, "mask \(quoted(path))", got: "\(stored.picture.size) pixels",
        wanted: "\(size), as the picture \(quoted(picture)) has")
    }
    let mask =
      if let segments {
        try classes(of: segments[index], stored.picture, path)
      } else if stored.picture.channels == 1 {
        try numbers(stored, path)
      } else {
        try colours(stored.picture, path)
      }
    cache.keep(mask, at: index)
    return mask
  }

  private func error(
    _ path: String, at pixel: Int?, _ width: Int, got: String, wanted: String, fix: String = ""
  )
    -> ABNError
  {
    ABNError(
      .data, "mask \(quoted(path))",
      at: pixel.map { "row \($0 / width), column \($0 % width)" }, got: got, wanted: wanted,
      fix: fix)
  }

  /// Of a mask of numbers.
  private func numbers(_ stored: StoredPicture, _ path: String) throws -> Picture {
    let (picture, unknown) = (stored.picture, Self.unknown)
    if let palette = stored.palette { try check(palette, picture, path) }
    var bad: Int?
    let mask = Picture(size: picture.size, channels: 1) { to in
      picture.withPixels { from in
        table.withUnsafeBufferPointer { table in
          var isBad = false
          for i in 0..<from.count {
            let number = table[Int(from[i])]
            to[i] = number
            isBad = isBad || number == unknown
          }
          // The 255th class has the number that stands for none; then the table tells.
          if isBad { bad = to.indices.first { classes.classes[Int(from[$0])] == nil } }
        }
      }
    }
    if let bad {
      throw error(
        path, at: bad, picture.width,
        got: "\(picture.withPixels { $0[bad] })", wanted: wantedNumbers,
        fix:
          "Others that do not count are named with --ignore-index or in \(PixelClasses.fileName)."
      )
    }
    return mask
  }

  private var wantedNumbers: String {
    let known = classes.classes.filter { $0.value != PixelClasses.ignored }.keys.sorted()
    let ignored = classes.classes.filter { $0.value == PixelClasses.ignored }.keys.sorted()
    let range =
      known == Array(0..<known.count)
      ? "a class in 0...\(known.count - 1)"
      : "a class: \(known.map(String.init).joined(separator: ", "))"
    return range + "; \(ignored.map(String.init).joined(separator: ", ")) do not count"
  }

  /// A palette's numbers are those of the classes where its colours are theirs; shades of grey are
  /// numbers alone.
  private func check(_ palette: [UInt8], _ picture: Picture, _ path: String) throws {
    var first = [Int?](repeating: nil, count: 256)
    picture.withPixels { pixels in
      for i in pixels.indices.reversed() { first[Int(pixels[i])] = i }
    }
    let colours = (0..<palette.count / 3).map { number -> PixelClasses.Colour in
      PixelClasses.Colour(palette[3 * number], palette[3 * number + 1], palette[3 * number + 2])
    }
    let isGrey = colours.allSatisfy { $0 == PixelClasses.Colour(repeating: $0.x) }
    for (number, pixel) in first.enumerated() {
      guard let pixel else { continue }
      guard number < colours.count else {
        throw error(
          path, at: pixel, picture.width, got: "number \(number) of a palette",
          wanted: "one of the \(colours.count) colours of its palette")
      }
      guard classes.hasOwnColours, !isGrey, let own = classes.classes[number],
        own != PixelClasses.ignored
      else { continue }
      let found = colours[number]
      guard found == classes.colours[own] else {
        throw error(
          path, at: pixel, picture.width,
          got: "a palette whose number \(number) is \(found.text)",
          wanted: "\(classes.colours[own].text), the colour of \(quoted(classes.names[own]))",
          fix:
            "Was it saved with a palette of its own? Save it in grey or with the classes' palette."
        )
      }
    }
  }

  /// Of a mask of segments; 0 is no segment and does not count.
  private func classes(
    of segments: [UInt32: UInt8], _ picture: Picture, _ path: String
  ) throws -> Picture {
    guard picture.channels == 3 else {
      throw error(
        path, at: nil, 1, got: "\(picture.channels) channel",
        wanted: "numbers of segments in red, green and blue")
    }
    var bad: (pixel: Int, number: UInt32)?
    let mask = Picture(size: picture.size, channels: 1) { to in
      picture.withPixels { from in
        var last: (number: UInt32, own: UInt8) = (0, UInt8(PixelClasses.ignored))
        for i in to.indices {
          let number =
            UInt32(from[3 * i]) | UInt32(from[3 * i + 1]) << 8 | UInt32(from[3 * i + 2]) << 16
          if number == 0 {
            to[i] = UInt8(PixelClasses.ignored)
            continue
          }
          if number != last.number {
            if segments[number] == nil, bad == nil { bad = (i, number) }
            last = (number, segments[number] ?? 0)
          }
          to[i] = last.own
        }
      }
    }
    guard let bad else { return mask }
    throw error(
      path, at: bad.pixel, picture.width, got: "the segment \(bad.number)",
      wanted: "one of the \(segments.count) segments that its annotation names")
  }

  /// Of a mask of colours.
  private func colours(_ picture: Picture, _ path: String) throws -> Picture {
    guard classes.hasOwnColours else {
      throw error(
        path, at: nil, 1, got: "colours", wanted: "numbers of classes, in grey or of a palette",
        fix: "Or say which class each colour is: in \(PixelClasses.fileName), or with --class-file."
      )
    }
    var bad: (pixel: Int, code: UInt32)?
    let mask = Picture(size: picture.size, channels: 1) { to in
      picture.withPixels { from in
        // Neighbours are alike as a rule.
        var last: (code: UInt32, number: UInt8)?
        for i in to.indices {
          let code = PixelClasses.code(.init(from[3 * i], from[3 * i + 1], from[3 * i + 2]))
          if last?.code != code {
            guard let number = classes.classesOfColours[code] else {
              if bad == nil { bad = (i, code) }
              to[i] = 0
              continue
            }
            last = (code, UInt8(number))
          }
          to[i] = last?.number ?? 0
        }
      }
    }
    guard let bad else { return mask }
    throw error(
      path, at: bad.pixel, picture.width,
      got: "the colour \(PixelClasses.Colour(code: bad.code).text)",
      wanted: "one of the colours of the \(classes.count) classes")
  }
}
