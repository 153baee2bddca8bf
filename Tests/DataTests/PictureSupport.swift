import ABNImages
import ABNTensors
import Foundation

@testable import ABNData

/// A picture as photographs are, another one for each seed.
func photograph(_ height: Int, _ width: Int, seed: UInt64) -> Picture {
  let noise = randomBytes(height * width * 3, seed: seed)
  let level = Int(seed * 37 % 100)
  return Picture(size: PictureSize(height: height, width: width), channels: 3) { to in
    for i in to.indices {
      let (row, column) = (i / 3 / width, i / 3 % width)
      to[i] = UInt8(
        level + 100 * (i % 3 == 1 ? column : row) / max(height, width) + Int(noise[i] % 16))
    }
  }
}

extension TemporaryFolder {
  /// Makes a folder, and those above it.
  func make(_ name: String) throws {
    try FileManager.default.createDirectory(
      atPath: "\(path)/\(name)", withIntermediateDirectories: true)
  }

  /// Writes pictures of different sizes, JPEG and PNG by turns: `NAME/0.jpg`, `NAME/1.png`, ...
  func writePictures(_ folder: String, count: Int, seed: UInt64) throws {
    try make(folder)
    for i in 0..<count {
      let picture = photograph(20 + 3 * i, 40 - 2 * i, seed: seed + UInt64(i))
      try write(
        "\(folder)/\(i).\(i % 2 == 0 ? "jpg" : "png")",
        i % 2 == 0 ? picture.encodedJPEG() : picture.encodedPNG())
    }
  }

  /// Two classes to learn and to be judged by.
  func writeClasses() throws {
    try writePictures("train/class10", count: 5, seed: 1)
    try writePictures("train/class2", count: 4, seed: 11)
    try writePictures("val/class10", count: 2, seed: 21)
    try writePictures("val/class2", count: 3, seed: 31)
  }

  /// The data in this folder, at 16 x 16 pixels.
  func load(_ change: (inout DataOptions) -> Void = { _ in }) throws -> Dataset {
    var options = DataOptions()
    options.geometry = PictureGeometry(side: 16)
    change(&options)
    return try DataSource.folder(directory: path).load(options)
  }
}

/// All changes at once.
func everyChange(_ policy: AugmentationPolicy) -> Augmentation {
  var augmentation = Augmentation.photographs
  augmentation.cropPadding = 1
  augmentation.jitter = ColourJitter(brightness: 0.4, contrast: 0.4, saturation: 0.4, hue: 0.1)
  augmentation.policy = policy
  augmentation.erasing = 0.5
  augmentation.mixup = 0.4
  augmentation.cutmix = 1
  augmentation.labelSmoothing = 0.1
  return augmentation
}
