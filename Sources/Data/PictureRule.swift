// Shapes: C channels, H rows, W columns of what a network sees.

import ABNImages
import ABNTensors

/// Which part of a picture a network sees, and at which size, where nothing is random.
package struct PictureGeometry: Sendable, Hashable, Codable {
  /// H and W.
  package var size: PictureSize
  /// The shorter side of the picture becomes this long first, and the middle of it is seen. nil:
  /// pictures of `size` are seen as they are, and of others the shorter side becomes as long as
  /// `size` needs.
  package var resize: Int?

  package init(size: PictureSize, resize: Int? = nil) {
    self.size = size
    self.resize = resize
  }

  /// A square whose side is seven eighths of the resized picture's shorter one: 224 of 256.
  package init(side: Int) {
    self.init(size: PictureSize(side: side), resize: (side * 8 + 3) / 7)
  }

  /// - Throws: `ABNError(.attribute)` for sizes that are not.
  package func validate() throws {
    guard (1...1 << 14).contains(size.height), (1...1 << 14).contains(size.width) else {
      throw ABNError(.attribute, "image size", got: "\(size)", wanted: "1...\(1 << 14)")
    }
    if let resize, resize < max(size.height, size.width) || resize > 1 << 15 {
      throw ABNError(
        .attribute, "resize", got: "\(resize)",
        wanted: "\(max(size.height, size.width))...\(1 << 15): the image that is cut out has to fit"
      )
    }
  }

  /// The size of a picture of `from` before its middle is cut out, as torchvision's `Resize` has
  /// it: the longer side is rounded down.
  func resizedSize(_ from: PictureSize) -> PictureSize {
    if resize == nil, from == size { return from }
    // Without a rule of its own the picture is made just large enough.
    guard let side = resize else {
      let isWide = from.width * size.height >= from.height * size.width
      return isWide
        ? PictureSize(
          height: size.height, width: max(size.width, from.width * size.height / from.height))
        : PictureSize(
          height: max(size.height, from.height * size.width / from.width), width: size.width)
    }
    return from.width <= from.height
      ? PictureSize(height: from.height * side / from.width, width: side)
      : PictureSize(height: side, width: from.width * side / from.height)
  }

  /// The middle of a picture at this geometry.
  package func centred(_ picture: Picture) -> Picture {
    let whole = resizedSize(picture.size)
    // Python's round: halves to the even number.
    func margin(_ all: Int, _ part: Int) -> Int {
      Int((Double(all - part) / 2).rounded(.toNearestOrEven))
    }
    return picture.resized(
      to: whole,
      part: PictureRegion(
        top: margin(whole.height, size.height), left: margin(whole.width, size.width), size: size))
  }

  /// Pictures are decoded at twice the size that is seen, or a little more: a random part of a
  /// picture is smaller than the whole.
  package func decodingOptions(channels: Int) -> DecodingOptions {
    DecodingOptions(
      channels: channels == 1 || channels == 3 ? channels : nil,
      leastShorterSide: 2 * (resize ?? max(size.height, size.width)))
  }
}

/// How a picture becomes what a network sees, where nothing is random: what a model file holds, so
/// that a picture can be classified years later.
///
///     value[c, y, x] = (byte white / 255 - mean[c]) / deviation[c]
package struct PictureRule: Sendable, Hashable, Codable {
  /// C: 1 for grey, 3 for red, green and blue.
  package var channels: Int
  /// H, W and what is cut out.
  package var geometry: PictureGeometry
  /// The mean of each channel, in the units of the stored bytes.
  package var mean: [Double]
  /// The deviation of each channel, in the same units.
  package var deviation: [Double]
  /// What white is in these units: 255, and 16 for the built-in digits.
  package var white: Double

  package init(
    channels: Int, geometry: PictureGeometry, normalization: ChannelNormalization,
    white: Double = 255
  ) {
    self.channels = channels
    self.geometry = geometry
    mean = normalization.mean
    deviation = normalization.standardDeviation
    self.white = white
  }

  /// The shape of what the network sees: [C, H, W].
  package var shape: Shape { [channels, geometry.size.height, geometry.size.width] }

  /// How a file is to be decoded for `prepare`.
  package var decodingOptions: DecodingOptions { geometry.decodingOptions(channels: channels) }

  /// What the network sees of a picture: float32 [1, C, H, W].
  ///
  /// - Throws: `ABNError(.data)` for a network that takes neither grey nor colour pictures.
  package func prepare(_ picture: Picture) throws -> Tensor {
    guard channels == 1 || channels == 3 || channels == picture.channels else {
      throw ABNError(
        .data, "picture", got: "\(picture.channels) channels",
        wanted: "\(channels), as the model has")
    }
    let seen = geometry.centred(
      channels == picture.channels ? picture : picture.converted(toChannels: channels))
    var tensor = Tensor(
      uninitialized: [1, channels, geometry.size.height, geometry.size.width], dtype: .float32)
    let values = values
    tensor.withUnsafeMutableBytes {
      writeNormalized(seen, values, to: $0.bindMemory(to: Float.self))
    }
    return tensor
  }

  /// A picture of `channels` channels at its own size, in the upper left corner of float32
  /// [1, C, H, W]: normalized, and 0, the mean, beside it.
  package func prepare(_ picture: Picture, paddedTo size: PictureSize) -> Tensor {
    precondition(picture.channels == channels)
    let values = values
    let isWhole = size == picture.size
    var tensor =
      isWhole
      ? Tensor(uninitialized: [1, channels, size.height, size.width], dtype: .float32)
      : Tensor(zeros: [1, channels, size.height, size.width], dtype: .float32)
    tensor.withUnsafeMutableBytes {
      let to = $0.bindMemory(to: Float.self)
      if isWhole { return writeNormalized(picture, values, to: to) }
      picture.withPixels { from in
        for row in 0..<picture.height {
          for column in 0..<picture.width {
            let source = (row * picture.width + column) * channels
            for channel in 0..<channels {
              to[(channel * size.height + row) * size.width + column] =
                values[256 * channel + Int(from[source + channel])]
            }
          }
        }
      }
    }
    return tensor
  }

  /// The normalized value of each byte of each channel.
  private var values: [Float] {
    let scale = white / 255
    return zip(mean, deviation).flatMap { (mean: Double, deviation: Double) -> [Float] in
      (0..<256).map { Float((Double($0) * scale - mean) / deviation) }
    }
  }

  /// Reads a file and prepares it.
  ///
  /// - Throws: `ABNError(.file)` with the path for what is no whole picture.
  package func prepare(path: String) throws -> Tensor {
    try prepare(Picture.read(path, options: decodingOptions))
  }
}

extension PictureRule {
  /// The picture that normalized values stand for, in grey or in colours; of values with other
  /// channels the first one, in grey.
  ///
  /// - Parameter images: float32 [B, C, H, W] without a failure.
  package func picture(_ index: Int, of images: Tensor) -> Picture {
    let (stored, plane) = (images.shape[1], images.shape[2] * images.shape[3])
    let shown = stored == 3 ? 3 : 1
    let size = PictureSize(height: images.shape[2], width: images.shape[3])
    return Picture(size: size, channels: shown) { to in
      images.withUnsafeBytes { bytes in
        let values = bytes.bindMemory(to: Float.self)
        for channel in 0..<shown {
          let start = (index * stored + channel) * plane
          for i in 0..<plane {
            let byte = Double(values[start + i]) * deviation[channel] + mean[channel]
            to[i * shown + channel] = UInt8(min(max((byte * 255 / white).rounded(), 0), 255))
          }
        }
      }
    }
  }
}

/// to[c, y, x] = values[c][picture[y, x, c]]; `values` are 256 for each channel.
func writeNormalized(
  _ picture: Picture, _ values: [Float], to: UnsafeMutableBufferPointer<Float>
) {
  let (plane, channels) = (picture.height * picture.width, picture.channels)
  picture.withPixels { from in
    values.withUnsafeBufferPointer { values in
      if channels == 3 {
        let (red, green, blue) = (
          to.baseAddress!, to.baseAddress! + plane, to.baseAddress! + 2 * plane
        )
        for i in 0..<plane {
          red[i] = values[Int(from[3 * i])]
          green[i] = values[256 + Int(from[3 * i + 1])]
          blue[i] = values[512 + Int(from[3 * i + 2])]
        }
        return
      }
      for channel in 0..<channels {
        for i in 0..<plane {
          to[channel * plane + i] = values[channel * 256 + Int(from[i * channels + channel])]
        }
      }
    }
  }
}
