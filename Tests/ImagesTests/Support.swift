import ABNImages
import ABNTensors
import ABNTestSupport
import CZlib
import Testing

/// Random bytes, the same for the same seed.
func randomBytes(_ count: Int, seed: UInt64) -> [UInt8] {
  var random = SequentialRandom(CounterRandom(seed: seed, stream: 0xB8))
  return (0..<count).map { _ in UInt8(truncatingIfNeeded: random.next()) }
}

/// A picture as photographs are: colours that change slowly, and some noise.
func smoothPicture(_ height: Int, _ width: Int, channels: Int, seed: UInt64 = 1) -> Picture {
  let noise = randomBytes(height * width * channels, seed: seed)
  return Picture(size: PictureSize(height: height, width: width), channels: channels) { to in
    for row in 0..<height {
      for column in 0..<width {
        for channel in 0..<channels {
          let i = (row * width + column) * channels + channel
          let slope = 40 + 150 * (channel == 1 ? column : row) / max(height, width)
          to[i] = UInt8(slope + channel * 10 + Int(noise[i] % 8))
        }
      }
    }
  }
}

/// A PNG file made by hand, chunk by chunk.
struct HandMadePNG {
  var width: Int
  var height: Int
  var depth: Int
  /// 0 grey, 2 colours, 3 palette, 4 grey and alpha, 6 colours and alpha.
  var colour: Int
  var isInterlaced = false
  /// Chunks between the header and the pixels.
  var chunks: [(name: String, content: [UInt8])] = []
  /// The rows without their filter bytes; of an interlaced picture those of its passes.
  var rows: [[UInt8]]

  var bytes: [UInt8] {
    let header =
      big(width) + big(height) + [UInt8(depth), UInt8(colour), 0, 0, isInterlaced ? 1 : 0]
    var all: [UInt8] = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]
    all += Self.chunk("IHDR", header)
    for chunk in chunks { all += Self.chunk(chunk.name, chunk.content) }
    all += Self.chunk("IDAT", packed(rows.flatMap { [0] + $0 }, windowBits: 15))
    return all + Self.chunk("IEND", [])
  }

  static func chunk(_ name: String, _ content: [UInt8]) -> [UInt8] {
    let named = Array(name.utf8) + content
    let sum = crc32(0, named, uInt(named.count))
    return bigEndian(content.count) + named + bigEndian(Int(sum))
  }

  private func big(_ value: Int) -> [UInt8] { bigEndian(value) }
}

func bigEndian(_ value: Int) -> [UInt8] {
  [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: value >> $0) }
}

/// Decodes bytes in memory.
func decoded(_ bytes: [UInt8], _ options: DecodingOptions = DecodingOptions(channels: nil)) throws
  -> Picture
{
  try bytes.withUnsafeBytes { try Picture(decoding: $0, path: "some/x.jpg", options: options) }
}

/// Runs `body`, which must throw an error of files that names the picture in one line, and returns it.
@discardableResult
func expectPictureError(
  sourceLocation: Testing.SourceLocation = #_sourceLocation, _ body: () throws -> Void
) -> ABNError? {
  let error = #expect(throws: ABNError.self, sourceLocation: sourceLocation) { try body() }
  if let error {
    #expect(error.category == .file, sourceLocation: sourceLocation)
    #expect(error.description.contains("\"some/x.jpg\""), sourceLocation: sourceLocation)
    #expect(!error.description.contains("\n"), sourceLocation: sourceLocation)
  }
  return error
}

/// A JPEG with an EXIF segment that holds an orientation.
func withOrientation(_ value: Int, _ jpeg: [UInt8], isLittle: Bool) -> [UInt8] {
  func number(_ value: Int, _ count: Int) -> [UInt8] {
    let bytes = (0..<count).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }
    return isLittle ? bytes : bytes.reversed()
  }
  let tiff =
    Array((isLittle ? "II" : "MM").utf8) + number(42, 2) + number(8, 4) + number(2, 2)
    + number(256, 2) + number(3, 2) + number(1, 4) + number(9, 2) + [0, 0]
    + number(274, 2) + number(3, 2) + number(1, 4) + number(value, 2) + [0, 0] + number(0, 4)
  let segment = Array("Exif\0\0".utf8) + tiff
  return [
    0xff, 0xd8, 0xff, 0xe1, UInt8((segment.count + 2) >> 8), UInt8((segment.count + 2) & 255),
  ]
    + segment + jpeg.dropFirst(2)
}
