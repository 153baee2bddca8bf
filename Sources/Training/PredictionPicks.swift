import ABNData
import ABNFormats
import ABNImages
import ABNTensors
import Foundation

/// The surest of a classifier's predictions, right and wrong, while an evaluation goes: bounded,
/// however many pictures there are.
package struct PredictionPicks: Sendable, Codable, Equatable {
  /// One prediction.
  package struct Pick: Sendable, Codable, Equatable {
    /// Which picture of the split.
    package let sample: Int
    /// Its class, and what it was taken for.
    package let own, predicted: Int
    /// (1 - p) / p of the prediction's probability p: tells apart what differs by less than the
    /// steps of numbers near 1.
    package let doubt: Double

    /// The probability of the prediction.
    package var probability: Double { 1 / (1 + doubt) }
  }

  /// How many are kept of each.
  package static let most = 12

  /// The surest first; of equally sure ones the picture with the lower number.
  package private(set) var right: [Pick] = []
  package private(set) var wrong: [Pick] = []

  package init() {}

  package mutating func add(_ pick: Pick) {
    pick.own == pick.predicted ? Self.insert(pick, in: &right) : Self.insert(pick, in: &wrong)
  }

  private static func insert(_ pick: Pick, in picks: inout [Pick]) {
    func isBefore(_ a: Pick, _ b: Pick) -> Bool { (a.doubt, a.sample) < (b.doubt, b.sample) }
    if picks.count == most, let last = picks.last, !isBefore(pick, last) { return }
    let place = picks.firstIndex { isBefore(pick, $0) } ?? picks.count
    picks.insert(pick, at: place)
    if picks.count > most { picks.removeLast() }
  }

  /// The sum of exp(logit - best) over the other classes, which is (1 - p) / p of the softmax.
  /// Logits that are NaN count nothing; nil where the best one is not finite.
  static func doubt<T: BinaryFloatingPoint>(
    _ logits: UnsafeBufferPointer<T>, best: Int
  ) -> Double? {
    let most = Double(logits[best])
    guard most.isFinite else { return nil }
    var sum = 0.0
    for other in logits.indices where other != best && !logits[other].isNaN {
      sum += exp(Double(logits[other]) - most)
    }
    return sum
  }
}

/// Predictions as pictures, in groups with a title: what a report shows of them.
package struct PredictionGroup: Sendable, Encodable {
  /// One picture of the data, and what was predicted.
  package struct Item: Sendable, Encodable {
    /// What the picture is called: its path, or its number.
    package var name: String
    /// The class, and what it was taken for.
    package var truth, predicted: String?
    /// The probability of the prediction, 0...1.
    package var probability: Double?
    /// Another number that says how good the prediction is, 0...1, and what it is called: mean IoU.
    package var score: Double?
    package var scoreName: String?
    /// What is shown side by side: the picture alone, or picture, prediction and truth.
    package var pictures: [Shown]

    package init(
      name: String, truth: String? = nil, predicted: String? = nil, probability: Double? = nil,
      score: Double? = nil, scoreName: String? = nil, pictures: [Shown]
    ) {
      (self.name, self.truth, self.predicted) = (name, truth, predicted)
      (self.probability, self.score, self.scoreName) = (probability, score, scoreName)
      self.pictures = pictures
    }
  }

  /// One image of a page.
  package struct Shown: Sendable, Encodable {
    package let name, uri: String
    /// Whether its pixels are to be seen as squares, and not blurred.
    package let isCoarse: Bool

    /// The longest side of an image: a page has up to a hundred of them, and few megabytes.
    static let longestSide = 160

    /// - Parameters:
    ///   - picture: one with another number of channels than 1 and 3 is shown by its first.
    ///   - longestSide: larger pictures are made smaller.
    package init(_ name: String, _ picture: Picture, longestSide: Int = Shown.longestSide) throws {
      let shown =
        picture.channels == 1 || picture.channels == 3 ? picture : picture.firstChannel
      self.name = name
      uri = try shown.fitted(to: longestSide).dataURI()
      isCoarse = max(picture.height, picture.width) <= 64
    }
  }

  package let title: String
  /// Whether the predictions are right, or good.
  package let isRight: Bool
  package let items: [Item]

  package init(title: String, isRight: Bool, items: [Item]) {
    (self.title, self.isRight, self.items) = (title, isRight, items)
  }
}

extension Picture {
  /// In grey.
  fileprivate var firstChannel: Picture {
    Picture(size: size, channels: 1) { to in
      withPixels { from in
        for pixel in to.indices { to[pixel] = from[pixel * channels] }
      }
    }
  }

  /// The picture with white at 255, of one whose white is `white`.
  fileprivate func brightened(white: Double) -> Picture {
    guard white != 255, white > 0 else { return self }
    return Picture(size: size, channels: channels) { to in
      withPixels { from in
        for i in to.indices {
          to[i] = UInt8(min(255, (Double(from[i]) * 255 / white).rounded()))
        }
      }
    }
  }
}

/// The held-out data of a run, for whoever shows some of its pictures.
package struct ShownData: Sendable {
  package let split: DataSplit
  /// What the classes are called.
  package let classNames: [String]
  /// What white is in the stored bytes.
  package let white: Double

  package init(split: DataSplit, classNames: [String], white: Double) {
    (self.split, self.classNames, self.white) = (split, classNames, white)
  }

  /// A picture as the network sees it, read anew.
  package func picture(_ sample: Int) throws -> Picture {
    split.geometry.centred(try split.source.picture(sample)).brightened(white: white)
  }

  package func className(_ number: Int) -> String {
    classNames.indices.contains(number) ? classNames[number] : "\(number)"
  }
}

extension PredictionPicks {
  /// The groups of a report; a picture that cannot be read any more is left out.
  package func groups(of data: ShownData) -> [PredictionGroup] {
    func items(_ picks: [Pick]) -> [PredictionGroup.Item] {
      picks.compactMap { pick in
        guard data.split.labels.indices.contains(pick.sample),
          let picture = try? data.picture(pick.sample),
          let shown = try? PredictionGroup.Shown("picture", picture)
        else { return nil }
        return PredictionGroup.Item(
          name: data.split.source.name(of: pick.sample), truth: data.className(pick.own),
          predicted: data.className(pick.predicted), probability: pick.probability,
          pictures: [shown])
      }
    }
    return [
      PredictionGroup(title: "Wrong, and most sure", isRight: false, items: items(wrong)),
      PredictionGroup(title: "Right, and most sure", isRight: true, items: items(right)),
    ]
  }
}
