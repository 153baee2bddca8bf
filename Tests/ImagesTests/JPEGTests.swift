import ABNTensors
import Foundation
import Testing

@testable import ABNImages

@Suite struct JPEGTests {
  private func distance(_ a: Picture, _ b: Picture) -> Double {
    let pairs = zip(a.pixels, b.pixels).map { abs(Double($0) - Double($1)) }
    return pairs.reduce(0, +) / Double(max(pairs.count, 1))
  }

  @Test(arguments: [1, 3], [false, true])
  func comesBackNearly(channels: Int, isProgressive: Bool) throws {
    let picture = smoothPicture(45, 70, channels: channels)
    let bytes = try picture.encodedJPEG(quality: 95, isProgressive: isProgressive)
    let found = try decoded(bytes)
    #expect(found.size == picture.size && found.channels == channels)
    #expect(distance(found, picture) < 3)
    // Grey becomes colours and colours grey where that is asked for.
    #expect(try decoded(bytes, DecodingOptions(channels: 3)).channels == 3)
    #expect(try decoded(bytes, DecodingOptions(channels: 1)) == found.converted(toChannels: 1))
  }

  /// Ink is stored inverted, as Adobe's programs do: a colour is its channel times black.
  @Test func inkBecomesColours() throws {
    let ink = smoothPicture(16, 16, channels: 4)
    let found = try decoded(ink.encodedJPEG(quality: 100))
    let wanted = Picture(size: ink.size, channels: 3) { to in
      for i in 0..<256 {
        for c in 0..<3 {
          to[3 * i + c] = UInt8(
            (Double(ink.pixels[4 * i + c]) * Double(ink.pixels[4 * i + 3]) / 255).rounded())
        }
      }
    }
    #expect(found.channels == 3 && distance(found, wanted) < 3)
  }

  /// The shorter side of the result is the least that is at least as long as asked for; the picture is the same.
  @Test func decodesAtAReducedSize() throws {
    let picture = smoothPicture(403, 600, channels: 3)
    let bytes = try picture.encodedJPEG(quality: 98)
    for (least, denominator) in [
      (50, 8), (51, 4), (100, 4), (101, 2), (201, 2), (202, 1), (900, 1),
    ] {
      let found = try decoded(bytes, DecodingOptions(channels: 3, leastShorterSide: least))
      #expect(found.height == (403 + denominator - 1) / denominator, "\(least)")
      #expect(found.width == (600 + denominator - 1) / denominator, "\(least)")
      let small = picture.resized(to: found.size)
      #expect(distance(found, small) < 3, "\(least)")
    }
  }

  /// The eight orientations of a picture whose corners differ, against their definition: where row 0 and column 0
  /// of what is stored are seen (EXIF 2.32, table of tag 274).
  @Test func orientations() throws {
    let stored = Picture(size: PictureSize(height: 16, width: 32), channels: 1) { to in
      for i in to.indices {
        let (bottom, right) = (i / 32 >= 8, i % 32 >= 16)
        to[i] = bottom ? (right ? 250 : 170) : (right ? 90 : 10)
      }
    }
    let jpeg = try stored.encodedJPEG(quality: 100)
    // Upper left, upper right, lower left, lower right as seen.
    let seen: [Int: [Int]] = [
      1: [10, 90, 170, 250], 2: [90, 10, 250, 170], 3: [250, 170, 90, 10], 4: [170, 250, 10, 90],
      5: [10, 170, 90, 250], 6: [170, 10, 250, 90], 7: [250, 90, 170, 10], 8: [90, 250, 10, 170],
    ]
    for (value, corners) in seen {
      for isLittle in [false, true] {
        let found = try decoded(withOrientation(value, jpeg, isLittle: isLittle))
        let isTall = value >= 5
        #expect(found.size == PictureSize(height: isTall ? 32 : 16, width: isTall ? 16 : 32))
        let (h, w) = (found.height - 1, found.width - 1)
        let bytes = [found[0, 0], found[0, w], found[h, 0], found[h, w]].map { Int($0[0]) }
        #expect(zip(bytes, corners).allSatisfy { abs($0 - $1) < 6 }, "\(value): \(bytes)")
      }
    }
    for value in [0, 9, 65535] {
      #expect(try decoded(withOrientation(value, jpeg, isLittle: true)).width == 32)
    }
  }

  /// What libjpeg would fill with grey is an error, wherever the file ends.
  @Test(arguments: [false, true])
  func everyCutIsAnError(isProgressive: Bool) throws {
    let bytes = try smoothPicture(40, 33, channels: 3).encodedJPEG(isProgressive: isProgressive)
    #expect(throws: Never.self) { _ = try decoded(bytes) }
    for count in 0..<bytes.count - 2 {
      expectPictureError { _ = try decoded(Array(bytes.prefix(count))) }
    }
    // Bytes behind the end do no harm.
    #expect(try decoded(bytes + [1, 2, 3]) == decoded(bytes))
  }

  @Test func damagedDataAreAnErrorOrAPicture() throws {
    let bytes = try smoothPicture(24, 24, channels: 3).encodedJPEG()
    var refused = 0
    for place in bytes.indices {
      for flip in [1, 0x80, 0xff] as [UInt8] {
        var copy = bytes
        copy[place] ^= flip
        do {
          _ = try decoded(copy)
        } catch {
          #expect(error is ABNError)
          refused += 1
        }
      }
    }
    #expect(refused > 100)
  }

  @Test func whatIsNoPictureIsNamed() throws {
    func got(_ bytes: [UInt8]) -> String? { expectPictureError { _ = try decoded(bytes) }?.got }
    #expect(got([]) == "an empty file")
    #expect(got(Array("This is text.\n".utf8)) == "text that begins with \"This is text.\\n\"")
    #expect(got(Array("GIF89a".utf8) + [1, 2, 3]) == "a GIF picture")
    #expect(got(Array("RIFF....WEBPVP8 ".utf8)) == "a WebP picture")
    #expect(got([0, 1, 2, 0xfe, 0xff]) == "bytes that begin with 0 1 2 fe")
    #expect(got([0xff, 0xd8, 0xff])?.hasPrefix("JPEG data with this fault: ") == true)
  }

  @Test func filesAreReadFromTheirPath() throws {
    let path = FileManager.default.temporaryDirectory.path + "/abn-tests-\(UUID().uuidString).jpg"
    defer { try? FileManager.default.removeItem(atPath: path) }
    let picture = smoothPicture(20, 30, channels: 3)
    try Data(picture.encodedJPEG()).write(to: URL(filePath: path))
    #expect(try Picture.read(path) == decoded(picture.encodedJPEG()))
    #expect(try Picture.readWithHeader(path).header.size == picture.size)
    let error = #expect(throws: ABNError.self) { _ = try Picture.read(path + "x") }
    #expect(error?.description.contains(path + "x") == true)
  }
}
