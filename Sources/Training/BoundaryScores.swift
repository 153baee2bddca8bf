import ABNData
import ABNImages

/// How well the boundaries of classes fit: the BF score.
///
/// A pixel of a class is one of its boundary where one of its four neighbours in the picture is of
/// another class; where the mask does not count, neither the pixel nor the neighbour does. Of a
/// picture and a class that is in its mask or in what was predicted:
///
///     precision = the share of the predicted boundary that is within a tolerance of the mask's
///     recall    = the share of the mask's boundary that is within it of the predicted one
///     F         = 2 precision recall / (precision + recall), 0 where both are 0
///
/// The tolerance is 0.75 % of the picture's diagonal, at least one pixel. Where neither has a
/// boundary of the class, the picture has no F of it; where one alone has, F is 0. The score of a
/// class is the mean over the pictures that have one, the score of all the mean over the classes.
///
/// Source: G. Csurka, D. Larlus, F. Perronnin, "What is a good evaluation measure for semantic
/// segmentation?" (BMVC 2013), sections 2.3 and 3.
package struct BoundaryScores: Sendable, Codable, Equatable {
  /// Of the picture's diagonal.
  package static let tolerance = 0.0075

  private var sums: [Double]
  private var counts: [Int]

  init(classCount: Int) {
    sums = Array(repeating: 0, count: classCount)
    counts = Array(repeating: 0, count: classCount)
  }

  /// The score of each class; nil of a class without a boundary in any picture.
  package var perClass: [Double?] {
    zip(sums, counts).map { $1 > 0 ? $0 / Double($1) : nil }
  }

  /// The mean of these; 0 where there is none.
  package var mean: Double {
    let known = perClass.compactMap { $0 }
    return known.reduce(0, +) / Double(max(known.count, 1))
  }

  /// Compares a picture's classes with its mask.
  mutating func add(_ predicted: Picture, mask: Picture) {
    let own = Boundary(mask, mask: mask)
    let other = Boundary(predicted, mask: mask)
    let diagonal = Double(mask.width * mask.width + mask.height * mask.height).squareRoot()
    let disc = Disc(radius: max(1, diagonal * Self.tolerance))
    let (ownNear, otherNear) = (own.near(other, disc), other.near(own, disc))
    for number in sums.indices {
      let (ownCount, otherCount) = (own.counts[number], other.counts[number])
      guard ownCount + otherCount > 0 else { continue }
      counts[number] += 1
      guard ownCount > 0, otherCount > 0 else { continue }
      let recall = Double(ownNear[number]) / Double(ownCount)
      let precision = Double(otherNear[number]) / Double(otherCount)
      if precision + recall > 0 {
        sums[number] += 2 * precision * recall / (precision + recall)
      }
    }
  }
}

/// Places within a radius, the nearest first.
private struct Disc {
  let offsets: [(row: Int, column: Int)]

  init(radius: Double) {
    let most = Int(radius)
    var found: [(row: Int, column: Int, square: Int)] = []
    for row in -most...most {
      for column in -most...most where Double(row * row + column * column) <= radius * radius {
        found.append((row, column, row * row + column * column))
      }
    }
    offsets = found.sorted { ($0.square, $0.row, $0.column) < ($1.square, $1.row, $1.column) }
      .map { ($0.row, $0.column) }
  }
}

/// The pixels of a picture that are the boundary of their class.
private struct Boundary {
  let size: PictureSize
  /// The class at each pixel of a boundary, `PixelClasses.ignored` elsewhere.
  private let classes: [UInt8]
  private let pixels: [Int]
  /// The pixels of each class's boundary.
  let counts: [Int]

  init(_ picture: Picture, mask: Picture) {
    let (width, height) = (picture.width, picture.height)
    let ignored = UInt8(PixelClasses.ignored)
    var classes = [UInt8](repeating: ignored, count: width * height)
    var pixels: [Int] = []
    var counts = [Int](repeating: 0, count: 256)
    picture.withPixels { own in
      mask.withPixels { mask in
        for row in 0..<height {
          for column in 0..<width {
            let i = row * width + column
            if mask[i] == ignored { continue }
            func differs(_ other: Int) -> Bool { mask[other] != ignored && own[other] != own[i] }
            guard
              column > 0 && differs(i - 1) || column < width - 1 && differs(i + 1)
                || row > 0 && differs(i - width) || row < height - 1 && differs(i + width)
            else { continue }
            classes[i] = own[i]
            pixels.append(i)
            counts[Int(own[i])] += 1
          }
        }
      }
    }
    (self.classes, self.pixels, self.counts, size) = (classes, pixels, counts, picture.size)
  }

  /// How many pixels of each class's boundary are near another boundary of the class.
  func near(_ other: Boundary, _ disc: Disc) -> [Int] {
    var near = [Int](repeating: 0, count: 256)
    other.classes.withUnsafeBufferPointer { others in
      for i in pixels {
        let (row, column) = (i / size.width, i % size.width)
        let isNear = disc.offsets.contains { offset in
          let (y, x) = (row + offset.row, column + offset.column)
          return y >= 0 && y < size.height && x >= 0 && x < size.width
            && others[y * size.width + x] == classes[i]
        }
        if isNear { near[Int(classes[i])] += 1 }
      }
    }
    return near
  }
}
