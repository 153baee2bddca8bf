import ABNData
import ABNFormats
import ABNModelFiles
import ABNTensors
import Foundation

extension Trainer {
  /// The data with pixels as the weights know them that the run begins or goes on with: a network
  /// that has learned from other numbers would have to learn these first.
  ///
  /// A run that goes on takes them from its checkpoint, as the file of weights may be gone.
  func scaled(_ dataset: Dataset) throws -> Dataset {
    let own = PixelScale(normalization: dataset.normalization, white: dataset.white)
    let stated: PixelScale?
    let last = RunFiles.last(in: settings.output)
    if settings.existing == .resumed, FileManager.default.fileExists(atPath: last) {
      let said = ModelMetadata(path: last, texts: try RunFiles.reading(last, Checkpoint.settings))
      stated = said.statesPixels ? try said.pixels() : nil
    } else if let path = settings.weights {
      stated = try WeightLoading(path).statedPixels(channels: dataset.imageShape[0])
      if stated != nil { note("pixels are normalized as for the weights in \(quoted(path))") }
    } else {
      stated = nil
    }
    guard let pixels = try stated?.at(white: dataset.white), pixels != own else { return dataset }
    return try dataset.replacing(normalization: pixels.normalization)
  }
}
