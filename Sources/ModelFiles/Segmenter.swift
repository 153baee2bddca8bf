// Shapes: K classes, C channels, H rows, W columns of a picture.

import ABNData
import ABNGraph
import ABNImages
import ABNLayers
import ABNModels
import ABNRuntime
import ABNTensors
import Synchronization

/// How a picture is shown to a network that segments; what comes out of several views is averaged.
package struct SegmentationView: Sendable, Hashable {
  /// Windows of this size that cover the picture; nil: the whole picture at once.
  package var window: PictureSize?
  /// The share of a window that the next one covers too, along each axis.
  package var overlap = 0.25
  /// Whether the picture is shown mirrored, too.
  package var flips = false
  /// The sizes at which it is shown, as shares of its own.
  package var scales = [1.0]

  package init() {}

  /// - Throws: `ABNError(.attribute)` for a number outside its range.
  package func validate() throws {
    func require(_ holds: Bool, _ what: String, _ got: String, _ wanted: String) throws {
      if !holds { throw ABNError(.attribute, what, got: got, wanted: wanted) }
    }
    let sides = 1...1 << 14
    try require(
      window.map { sides.contains($0.height) && sides.contains($0.width) } ?? true, "window",
      "\(window.map { "\($0)" } ?? "")", "sides of 1...\(1 << 14)")
    try require((0...0.95).contains(overlap), "overlap of windows", "\(overlap)", "0...0.95")
    try require(
      !scales.isEmpty && scales.count <= 64 && scales.allSatisfy { (0.05...20).contains($0) },
      "scales", scales.map { "\($0)" }.joined(separator: ","), "numbers in 0.05...20")
  }
}

/// A network that segments as programs for pictures of several sizes, all with the same parameters.
package final class SegmentationNetworks: Sendable {
  /// A program for pictures of one size.
  package struct Network: Sendable {
    /// With the moving statistics.
    package let program: Program
    /// First values of what no model file has.
    package let startup: Program
    /// float32 [1, K, H, W]: softmax of the logits.
    package let probabilities: Variable
  }

  package let model: Model
  package let options: ModelOptions
  /// The images that the network was made for, [C, H, W].
  let image: Shape
  /// Programs that are kept; the one that was not used for longest goes first.
  static let limit = 16
  private let known = Mutex<(networks: [PictureSize: (Network, use: Int)], uses: Int)>(([:], 0))

  /// - Parameter image: what the network was made for, [C, H, W].
  package init(_ model: Model, _ options: ModelOptions, image: Shape) {
    (self.model, self.options, self.image) = (model, options, image)
  }

  /// The size at which a picture of another size is shown: filled up to what the network takes.
  package func padded(_ size: PictureSize) -> PictureSize {
    PictureSize(height: model.sizes.padded(size.height), width: model.sizes.padded(size.width))
  }

  /// The program for pictures of a size that the network takes.
  ///
  /// - Throws: `ABNError(.unsupported)` for a network that classifies pictures; `.shape` for a size
  ///   at which it has other parameters.
  package func network(for size: PictureSize) throws -> Network {
    let found = known.withLock { known -> Network? in
      known.uses += 1
      guard let (network, _) = known.networks[size] else { return nil }
      known.networks[size] = (network, known.uses)
      return network
    }
    if let found { return found }
    let made = try make(size)
    try requireSameParameters(made.program, size)
    known.withLock { known in
      if known.networks.count >= Self.limit,
        let oldest = known.networks.min(by: { $0.value.use < $1.value.use })
      {
        known.networks[oldest.key] = nil
      }
      known.networks[size] = (made, known.uses)
    }
    return made
  }

  private func requireSameParameters(_ program: Program, _ size: PictureSize) throws {
    let own = PictureSize(height: image[1], width: image[2])
    guard size != own else { return }
    let known = Dictionary(
      try make(own).program.parameters.map { ($0.name, $0.shape) }, uniquingKeysWith: { a, _ in a })
    guard let other = program.parameters.first(where: { known[$0.name] != $0.shape }) else {
      return
    }
    throw ABNError(
      .shape, "pictures for \(model.name)",
      got: "\(size) pixels, where its \(quoted(other.name)) "
        + "is \(other.shape)",
      wanted: known[other.name].map { "\($0), as for the \(own) pixels that it learns from" }
        ?? "the parameters that it has for the \(own) pixels that it learns from",
      fix: "Train with a larger part of the pictures (--crop-size), or use --window.")
  }

  private func make(_ size: PictureSize) throws -> Network {
    let builder = ProgramBuilder()
    let probabilities = try builder.build {
      let images = try ABNLayers.data(
        "images", shape: [Shape.unknown, image[0], size.height, size.width])
      let logits = try model.build(images, options)
      guard logits.shape.rank == 4 else {
        throw ABNError(
          .unsupported, "model \(quoted(model.name))", got: "a network that classifies pictures",
          wanted: "one that segments, as unet does")
      }
      return try softmax(logits, axis: 1)
    }
    return Network(
      program: builder.main.cloned(forTest: true), startup: builder.startup,
      probabilities: probabilities)
  }
}

/// The probability of each class at each pixel of a picture.
package struct PixelScores: Sendable {
  package let size: PictureSize
  /// K.
  package let classCount: Int
  /// [K, H, W].
  package fileprivate(set) var values: [Float]

  fileprivate init(size: PictureSize, classCount: Int) {
    (self.size, self.classCount) = (size, classCount)
    values = [Float](repeating: 0, count: classCount * size.height * size.width)
  }

  /// Scores that are given.
  package init(_ values: [Float], size: PictureSize, classCount: Int) {
    precondition(values.count == classCount * size.height * size.width)
    (self.values, self.size, self.classCount) = (values, size, classCount)
  }

  /// The likeliest class of each pixel, of equal ones the lower number: one channel.
  ///
  /// - Throws: `ABNError(.data)` where a score is no number.
  package func classes() throws -> Picture {
    let count = size.height * size.width
    var isNumber = true
    let picture = Picture(size: size, channels: 1) { to in
      to.update(repeating: 0)
      var best = Array(values[..<count])
      values.withUnsafeBufferPointer { values in
        best.withUnsafeMutableBufferPointer { best in
          for i in 0..<count where best[i].isNaN { isNumber = false }
          for number in 1..<max(1, classCount) {
            let plane = values.baseAddress! + number * count
            for i in 0..<count where !(plane[i] <= best[i]) {
              best[i] = plane[i]
              to[i] = UInt8(number)
              if plane[i].isNaN { isNumber = false }
            }
          }
        }
      }
    }
    guard isNumber else {
      throw ABNError(
        .data, "classes of pixels", got: "probabilities that are no numbers", wanted: "numbers",
        fix: "Train again, with a lower learning rate.")
    }
    return picture
  }
}

/// A network that gives each pixel of a picture of any size its class.
package struct Segmenter {
  private let networks: SegmentationNetworks
  private let rule: PictureRule
  private let view: SegmentationView
  private let executor: Executor
  private let scope: Scope

  /// - Parameters:
  ///   - rule: how pictures are normalized.
  ///   - scope: the parameters.
  package init(
    _ networks: SegmentationNetworks, rule: PictureRule,
    view: SegmentationView = SegmentationView(), executor: Executor, scope: Scope
  ) {
    (self.networks, self.rule, self.view) = (networks, rule, view)
    (self.executor, self.scope) = (executor, scope)
  }

  /// What each pixel of a picture is taken for.
  ///
  /// - Throws: `ABNError(.data)` for a picture with other channels than the network takes; what
  ///   the run throws.
  package func scores(of picture: Picture) throws -> PixelScores {
    let own = rule.channels == picture.channels
    guard own || [1, 3].contains(rule.channels) && [1, 3].contains(picture.channels) else {
      throw ABNError(
        .data, "picture", got: "\(picture.channels) channels",
        wanted: "\(rule.channels), as the model has")
    }
    let picture = own ? picture : picture.converted(toChannels: rule.channels)
    var sum: PixelScores?
    var count: Float = 0
    for scale in view.scales {
      func length(_ side: Int) -> Int { max(1, Int((Double(side) * scale).rounded())) }
      let size = PictureSize(height: length(picture.height), width: length(picture.width))
      let seen = picture.resized(to: size)
      for isMirrored in view.flips ? [false, true] : [false] {
        var scores = try windows(isMirrored ? seen.mirrored : seen)
        if isMirrored { scores.mirror() }
        if size != picture.size { scores = scores.resized(to: picture.size) }
        count += 1
        if sum == nil { sum = scores } else { sum?.add(scores) }
      }
    }
    var scores = sum ?? PixelScores(size: picture.size, classCount: networks.options.classes)
    if count > 1 { scores.divide(by: count) }
    return scores
  }

  /// Where windows begin that cover a side.
  static func starts(side: Int, window: Int, overlap: Double) -> [Int] {
    guard side > window else { return [0] }
    let step = max(1, Int((Double(window) * (1 - overlap)).rounded()))
    return Array(stride(from: 0, to: side - window, by: step)) + [side - window]
  }

  private func windows(_ picture: Picture) throws -> PixelScores {
    guard let window = view.window.map(networks.padded),
      window.height < picture.height || window.width < picture.width
    else { return try whole(picture) }
    let rows = Self.starts(side: picture.height, window: window.height, overlap: view.overlap)
    let columns = Self.starts(side: picture.width, window: window.width, overlap: view.overlap)
    let size = PictureSize(
      height: min(window.height, picture.height), width: min(window.width, picture.width))
    var sum = PixelScores(size: picture.size, classCount: networks.options.classes)
    for top in rows {
      for left in columns {
        let region = PictureRegion(top: top, left: left, size: size)
        sum.add(try whole(picture.cut(region)), at: region)
      }
    }
    func covered(_ side: Int, _ starts: [Int], _ length: Int) -> [Float] {
      var counts = [Float](repeating: 0, count: side)
      for start in starts { for i in start..<start + length { counts[i] += 1 } }
      return counts
    }
    sum.divide(
      rows: covered(picture.height, rows, size.height),
      columns: covered(picture.width, columns, size.width))
    return sum
  }

  /// One run of the network; what fills the picture up is cut away again.
  private func whole(_ picture: Picture) throws -> PixelScores {
    let padded = networks.padded(picture.size)
    let network = try networks.network(for: padded)
    let images = rule.prepare(picture, paddedTo: padded)
    let result = try executor.run(
      network.program, feed: ["images": images], fetch: [network.probabilities], scope: scope)[0]
    var scores = PixelScores(size: picture.size, classCount: result.shape[1])
    let result32 = result.dtype == .float32 ? result : result.cast(to: .float32)
    result32.withUnsafeBytes { scores.take($0.bindMemory(to: Float.self), of: padded) }
    return scores
  }
}

// MARK: Arithmetic of scores

extension PixelScores {
  private var planeSize: Int { size.height * size.width }

  /// The upper left corner of larger planes.
  fileprivate mutating func take(_ from: UnsafeBufferPointer<Float>, of padded: PictureSize) {
    values.withUnsafeMutableBufferPointer { to in
      for number in 0..<classCount {
        for row in 0..<size.height {
          let source = (number * padded.height + row) * padded.width
          let target = (number * size.height + row) * size.width
          for i in 0..<size.width { to[target + i] = from[source + i] }
        }
      }
    }
  }

  fileprivate mutating func mirror() {
    values.withUnsafeMutableBufferPointer { values in
      for row in 0..<classCount * size.height {
        let start = row * size.width
        for i in 0..<size.width / 2 { values.swapAt(start + i, start + size.width - 1 - i) }
      }
    }
  }

  fileprivate mutating func add(_ other: PixelScores) {
    for i in values.indices { values[i] += other.values[i] }
  }

  fileprivate mutating func add(_ other: PixelScores, at region: PictureRegion) {
    for number in 0..<classCount {
      for row in 0..<region.size.height {
        let source = (number * region.size.height + row) * region.size.width
        let target = (number * size.height + region.top + row) * size.width + region.left
        for i in 0..<region.size.width { values[target + i] += other.values[source + i] }
      }
    }
  }

  fileprivate mutating func divide(by count: Float) {
    for i in values.indices { values[i] /= count }
  }

  fileprivate mutating func divide(rows: [Float], columns: [Float]) {
    for number in 0..<classCount {
      for row in 0..<size.height {
        let start = (number * size.height + row) * size.width
        for column in 0..<size.width { values[start + column] /= rows[row] * columns[column] }
      }
    }
  }

  /// Bilinear, by the middles of pixels; beyond the outermost middles the value is that of the
  /// edge.
  fileprivate func resized(to new: PictureSize) -> PixelScores {
    var result = PixelScores(size: new, classCount: classCount)
    /// For each place of a side the two places between which it lies, and the share of the second.
    func weights(_ from: Int, _ to: Int) -> [(Int, Int, Float)] {
      (0..<to).map { i in
        let place = (Double(i) + 0.5) * Double(from) / Double(to) - 0.5
        let low = min(max(place, 0), Double(from - 1))
        let first = Int(low)
        return (first, min(first + 1, from - 1), Float(low - Double(first)))
      }
    }
    let (rows, columns) = (weights(size.height, new.height), weights(size.width, new.width))
    result.values.withUnsafeMutableBufferPointer { to in
      values.withUnsafeBufferPointer { from in
        var target = 0
        for number in 0..<classCount {
          let plane = number * planeSize
          for (upper, lower, down) in rows {
            let (above, below) = (plane + upper * size.width, plane + lower * size.width)
            for (left, right, share) in columns {
              let top = from[above + left] * (1 - share) + from[above + right] * share
              let bottom = from[below + left] * (1 - share) + from[below + right] * share
              to[target] = top * (1 - down) + bottom * down
              target += 1
            }
          }
        }
      }
    }
    return result
  }
}
