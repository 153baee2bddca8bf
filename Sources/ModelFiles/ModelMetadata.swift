import ABNData
import ABNFormats
import ABNTensors
import Foundation

/// The texts beside the tensors of a file that this package wrote: a model, its exported weights,
/// or a checkpoint.
package struct ModelMetadata {
  /// The file, for errors.
  let path: String
  /// The texts by their keys.
  let texts: [String: String]

  package init(path: String, texts: [String: String]) {
    self.path = path
    self.texts = texts
  }

  /// The value under a key.
  ///
  /// - Parameter convert: gives nil for a text that is none.
  /// - Throws: `ABNError(.file)` where there is none.
  func field<T>(_ key: String, _ convert: (String) -> T?) throws -> T {
    guard let value = texts[key].flatMap(convert) else {
      throw ABNError(
        .file, "model file \(quoted(path))", got: "\(key): \(texts[key] ?? "nothing")",
        wanted: "a model saved by abn train", fix: "Pass the output folder of a training run.")
    }
    return value
  }

  /// The same of a text that older files do not have: nil for those.
  func optional<T>(_ key: String, _ convert: (String) -> T?) throws -> T? {
    try texts[key].map { _ in try field(key, convert) }
  }

  /// Whether the file says what pixels are before the network sees them.
  package var statesPixels: Bool { texts["mean"] != nil }

  /// What pixels are before the network sees them.
  ///
  /// - Throws: `ABNError(.file)` where the file does not say, or what is no number.
  package func pixels() throws -> PixelScale {
    func numbers(_ text: String) -> [Double]? {
      let values = text.split(separator: " ").map { Double($0) }
      return values.contains { $0 == nil } ? nil : values.map { $0! }
    }
    let white = try optional("white") { Double($0).flatMap { $0 > 0 && $0.isFinite ? $0 : nil } }
    return PixelScale(
      normalization: try ChannelNormalization(
        mean: field("mean", numbers), standardDeviation: field("deviation", numbers)),
      white: white ?? (texts["data"] == DataSource.digits.description ? Digits.dataset.white : 255))
  }

  /// What so many classes are called; empty where nobody said.
  func classNames(count: Int) throws -> [String] {
    try optional("class_names") { text -> [String]? in
      let names = try? JSONDecoder().decode([String].self, from: Data(text.utf8))
      return names?.count == count ? names : nil
    } ?? []
  }

  /// See `PictureGeometry.resize`.
  func resize() throws -> Int? {
    try optional("resize") { Int($0).flatMap { (1...1 << 15).contains($0) ? $0 : nil } }
  }
}

/// What makes the bytes of pixels the numbers that a network sees.
package struct PixelScale: Sendable, Equatable {
  /// Mean and deviation of each channel, in units of the stored bytes.
  package var normalization: ChannelNormalization
  /// What white is in these units.
  package var white: Double

  package init(normalization: ChannelNormalization, white: Double) {
    self.normalization = normalization
    self.white = white
  }

  /// As a file says it: see `ModelMetadata.pixels`.
  package var texts: [String: String] {
    func text(_ values: [Double]) -> String { values.map { "\($0)" }.joined(separator: " ") }
    return [
      "mean": text(normalization.mean), "deviation": text(normalization.standardDeviation),
      "white": "\(white)",
    ]
  }

  /// The same numbers of pixels whose white is stored as `other`.
  package func at(white other: Double) throws -> PixelScale {
    if other == white { return self }
    func scaled(_ values: [Double]) -> [Double] { values.map { $0 / white * other } }
    return PixelScale(
      normalization: try ChannelNormalization(
        mean: scaled(normalization.mean),
        standardDeviation: scaled(normalization.standardDeviation)), white: other)
  }
}
