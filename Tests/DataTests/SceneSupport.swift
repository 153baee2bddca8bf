import ABNImages
import ABNTensors
import Foundation

@testable import ABNData

/// Classes of a picture in stripes and blocks, some of it not counted: another one for each seed.
func scene(_ height: Int, _ width: Int, classes: Int, seed: UInt64) -> Picture {
  let noise = randomBytes(64, seed: seed)
  return Picture(size: PictureSize(height: height, width: width), channels: 1) { to in
    for row in 0..<height {
      for column in 0..<width {
        let block = Int(noise[(row / 5 * 7 + column / 6) % 64])
        to[row * width + column] = block % 11 == 0 ? 255 : UInt8(block % classes)
      }
    }
  }
}

extension TemporaryFolder {
  /// Writes pictures and masks of the same names: `x0.png`, `x1.jpg`, ... and `x0.png`, `x1.png`.
  func writeScenes(
    _ pictures: String, _ masks: String, count: Int, classes: Int = 4, seed: UInt64
  ) throws {
    try make(pictures)
    try make(masks)
    for i in 0..<count {
      let (height, width) = (30 + 2 * i, 40 - i)
      let picture = photograph(height, width, seed: seed + UInt64(i))
      try write(
        "\(pictures)/x\(i).\(i % 2 == 0 ? "png" : "jpg")",
        i % 2 == 0 ? picture.encodedPNG() : picture.encodedJPEG())
      let mask = scene(height, width, classes: classes, seed: seed + 100 + UInt64(i))
      try write("\(masks)/x\(i).png", mask.encodedPNG())
    }
  }

  /// Scenes to learn and to be judged by.
  func writePairs() throws {
    try writeScenes("train", "trainannot", count: 4, seed: 1)
    try writeScenes("val", "valannot", count: 2, seed: 21)
  }

  /// The scenes in this folder.
  func loadPairs(_ change: (inout DataOptions) -> Void = { _ in }) throws -> Dataset {
    var options = DataOptions()
    options.cropSize = PictureSize(height: 16, width: 24)
    change(&options)
    return try DataSource.pairs(directory: path).load(options)
  }
}
