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
  ///   - masks: the classes of the pixels, int64 [B, 1, H, W], whose colours are laid upon them.
  /// - Throws: the tensor's failure; `ABNError(.data)` for pictures that are neither grey nor in
  ///   colours.
  package static func make(
    _ images: Tensor, _ rule: PictureRule, columns: Int, most: Int = .max,
    masks: (labels: Tensor, classes: PixelClasses)? = nil
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
    let drawnChannels = masks == nil ? channels : 3
    var sheet = Picture(
      size: PictureSize(
        height: rows * (size.height + gap) + gap, width: columns * (size.width + gap) + gap),
      colour: [UInt8](repeating: 255, count: drawnChannels))
    for index in 0..<count {
      let picture = rule.picture(index, of: images)
      let shown = masks.map { masks in
        masks.classes.overlay(Picture(classes: masks.labels, of: index), upon: picture)
      }
      sheet.paste(
        shown ?? picture, top: gap + index / columns * (size.height + gap),
        left: gap + index % columns * (size.width + gap))
    }
    return sheet
  }
}
