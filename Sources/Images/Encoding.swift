import ABNFormats
import ABNTensors
import CJPEG
import CPNG

extension Picture {
  /// The bytes of a PNG file of this picture.
  ///
  /// - Precondition: one to four channels.
  package func encodedPNG() throws -> [UInt8] {
    try encoded(Int(ABN_PNG_MESSAGE_BYTES), free: abn_png_free) { pixels, out, count, message in
      abn_png_encode(
        pixels, UInt32(width), UInt32(height), UInt32(channels), out, count, message)
    }
  }

  /// The bytes of a PNG file of this picture of one channel, whose bytes are numbers of colours.
  ///
  /// - Parameter palette: red, green and blue of each number, 1 to 256 of them; every byte of the
  ///   picture is below that.
  package func encodedPNG(palette: [UInt8]) throws -> [UInt8] {
    precondition(channels == 1 && palette.count % 3 == 0, "\(channels) channels")
    return try encoded(Int(ABN_PNG_MESSAGE_BYTES), free: abn_png_free) { pixels, out, count, text in
      abn_png_encode_palette(
        pixels, UInt32(width), UInt32(height), palette, UInt32(palette.count / 3), out, count, text)
    }
  }

  /// The bytes of a JPEG file of this picture: one channel is grey, three are colours, four are
  /// inverted ink.
  ///
  /// - Parameter quality: 1 to 100.
  package func encodedJPEG(quality: Int = 95, isProgressive: Bool = false) throws -> [UInt8] {
    try encoded(Int(ABN_JPEG_MESSAGE_BYTES), free: abn_jpeg_free) { pixels, out, count, message in
      abn_jpeg_encode(
        pixels, UInt32(width), UInt32(height), UInt32(channels), Int32(quality),
        isProgressive ? 1 : 0, out, count, message)
    }
  }

  private func encoded(
    _ messageBytes: Int, free: (UnsafeMutablePointer<UInt8>?) -> Void,
    _ body: (
      UnsafePointer<UInt8>?, UnsafeMutablePointer<UnsafeMutablePointer<UInt8>?>,
      UnsafeMutablePointer<Int>, UnsafeMutablePointer<CChar>
    ) -> Int32
  ) throws -> [UInt8] {
    try withUnsafeTemporaryAllocation(of: CChar.self, capacity: messageBytes) { message in
      message.initialize(repeating: 0)
      var out: UnsafeMutablePointer<UInt8>?
      var count = 0
      let code = withPixels { body($0.baseAddress, &out, &count, message.baseAddress!) }
      guard code == 0 else {
        throw ABNError(
          .system, "encoding of a picture", got: String(cString: message.baseAddress!),
          wanted: "success")
      }
      defer { free(out) }
      return Array(UnsafeBufferPointer(start: out, count: count))
    }
  }
}
