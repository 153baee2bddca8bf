import ABNImages
import ABNTensors

/// Pictures of batches side by side, as a network sees them.
package enum ContactSheet {
  /// A picture of pictures: rows of `columns`, white lines between.
  ///
  /// - Parameters:
  ///   - images: float32 [B, C, H, W], normalized.
  ///   - rule: how they were normalized.
  ///   - most: the pictures that are shown at most.
  /// - Throws: the tensor's failure; `ABNError(.data)` for pictures that are neither grey nor in
  ///   colours.
  package static func make(
    _ images: Tensor, _ rule: PictureRule, columns: Int, most: Int = .max
  ) throws -> Picture {
    let images = try images.checked()
    let (channels, size) = (
      images.shape[1], PictureSize(height: images.shape[2], width: images.shape[3])
    )
    guard channels == 1 || channels == 3 else {
      throw ABNError(
        .data, "contact sheet", got: "pictures of \(channels) channels",
        wanted: "pictures in grey (1) or in colours (3)")
    }
    let count = min(images.shape[0], most)
    let columns = max(1, min(columns, count))
    let gap = 2
    let rows = (count + columns - 1) / columns
    var sheet = Picture(
      size: PictureSize(
        height: rows * (size.height + gap) + gap, width: columns * (size.width + gap) + gap),
      colour: [UInt8](repeating: 255, count: channels))
    images.withUnsafeBytes { bytes in
      let values = bytes.bindMemory(to: Float.self)
      let plane = size.height * size.width
      for index in 0..<count {
        let start = index * channels * plane
        let picture = Picture(size: size, channels: channels) { to in
          for channel in 0..<channels {
            for i in 0..<plane {
              let value = Double(values[start + channel * plane + i])
              let stored = value * rule.deviation[channel] + rule.mean[channel]
              to[i * channels + channel] = UInt8(
                min(max((stored * 255 / rule.white).rounded(), 0), 255))
            }
          }
        }
        sheet.paste(
          picture, top: gap + index / columns * (size.height + gap),
          left: gap + index % columns * (size.width + gap))
      }
    }
    return sheet
  }
}
