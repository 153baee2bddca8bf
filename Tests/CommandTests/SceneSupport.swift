import ABNImages
import Foundation
import InPlaceABN

extension Workplace {
  /// Scenes of three classes, ground, sky and boxes: red, green and blue with noise. The last two rows
  /// do not count. `FOLDER/train`, `FOLDER/trainannot`, the same of `val`, and `FOLDER/classes.txt`.
  func makeScenes(
    _ folder: String, train: Int = 8, val: Int = 3, height: Int = 64, width: Int = 96
  ) throws {
    for (part, count) in [("train", train), ("val", val)] {
      for index in 0..<count {
        let (picture, mask) = scene(
          height, width, seed: UInt64(index) + (part == "val" ? 1000 : 0))
        try write("\(folder)/\(part)/\(index).png", picture.encodedPNG())
        try write("\(folder)/\(part)annot/\(index).png", mask.encodedPNG())
      }
    }
    try write(
      "\(folder)/classes.txt",
      Array("ground 200 60 60\nsky 60 200 60\nbox 60 60 200\nvoid 0 0 0 ignore\n".utf8))
  }

  private func scene(_ height: Int, _ width: Int, seed: UInt64) -> (Picture, Picture) {
    let random = CounterRandom(seed: seed, stream: 12)
    let horizon = height / 3 + Int(random.uniform(1) * Double(height) / 4)
    let left = Int(random.uniform(2) * Double(width) * 0.6)
    let size = PictureSize(height: height, width: width)
    let mask = Picture(size: size, channels: 1) { to in
      for i in to.indices {
        let (row, column) = (i / width, i % width)
        let isBox =
          (horizon - 8..<horizon + 16).contains(row) && (left..<left + width / 4).contains(column)
        to[i] = row >= height - 2 ? 3 : isBox ? 2 : row < horizon ? 1 : 0
      }
    }
    let picture = Picture(size: size, channels: 3) { to in
      mask.withPixels { classes in
        for i in to.indices {
          let noise = UInt8(random.uniform(UInt64(100 + i)) * 60)
          to[i] = (Int(classes[i / 3]) == i % 3 ? 180 : 40) + noise
        }
      }
    }
    return (picture, mask)
  }
}
