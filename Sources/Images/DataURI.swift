import ABNTensors
import Foundation

extension Picture {
  /// The picture so small that no side is longer than `longestSide`; one that is not longer stays
  /// as it is.
  package func fitted(to longestSide: Int) -> Picture {
    let longest = max(height, width)
    guard longest > longestSide, longestSide >= 1 else { return self }
    func part(_ side: Int) -> Int { max(1, (side * longestSide + longest / 2) / longest) }
    return resized(to: PictureSize(height: part(height), width: part(width)))
  }

  /// The picture in the address of an image of a page, which then needs no other file: PNG where
  /// pixels are to stay as they are, or are few; else JPEG, whose bytes are a tenth of it.
  ///
  /// - Precondition: grey (1) or in colours (3).
  package func dataURI(keepsPixels: Bool = false) throws -> String {
    let isExact = keepsPixels || width * height <= Self.fewPixels
    let bytes = isExact ? try encodedPNG() : try encodedJPEG(quality: 82)
    return "data:image/\(isExact ? "png" : "jpeg");base64,"
      + Data(bytes).base64EncodedString()
  }

  /// Up to so many a PNG is about as small as a JPEG: 48 x 48.
  private static let fewPixels = 2304
}
