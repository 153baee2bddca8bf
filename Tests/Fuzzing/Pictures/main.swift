import ABNImages
import ABNTensors
import CZlib
import Foundation

// libFuzzer's program: the decoders of pictures, on bytes that it makes. `scripts/fuzz pictures` builds it
// with the address sanitizer and runs it.

/// libFuzzer's loop: it calls the function with each input.
@_silgen_name("LLVMFuzzerRunDriver")
private func runFuzzer(
  _ count: UnsafeMutablePointer<Int32>,
  _ words: UnsafeMutablePointer<UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>>,
  _ testOneInput: @convention(c) (UnsafePointer<UInt8>?, Int) -> Int32
) -> Int32

// The first pictures, one of each kind, go into the folder that ABN_FUZZ_SEEDS names.
if let folder = ProcessInfo.processInfo.environment["ABN_FUZZ_SEEDS"] {
  for (name, bytes) in try seeds() { try Data(bytes).write(to: URL(filePath: "\(folder)/\(name)")) }
}
var count = CommandLine.argc
var words = CommandLine.unsafeArgv
exit(
  runFuzzer(&count, &words) { start, count in
    let bytes = Array(UnsafeBufferPointer(start: start, count: count))
    decode(bytes)
    decodeStored(bytes)
    // libpng ends at the first wrong checksum: behind it is looked with all of them right.
    if bytes.starts(with: [0x89, 0x50, 0x4e, 0x47]) {
      decode(withRightChecksums(bytes))
      decodeStored(withRightChecksums(bytes))
    }
    return 0
  })

/// An input is decoded in every way that the package decodes, and what comes out is resized and encoded.
private func decode(_ bytes: [UInt8]) {
  for (channels, least) in [(3, nil), (1, 8), (nil, 40)] as [(Int?, Int?)] {
    var options = DecodingOptions(channels: channels, leastShorterSide: least)
    options.mostPixels = 1 << 20
    let picture = try? bytes.withUnsafeBytes {
      try Picture(decoding: $0, path: "x", options: options)
    }
    guard let picture, picture.width > 0, picture.height > 0 else { continue }
    let small = picture.resized(to: PictureSize(height: 7, width: 9))
    precondition(small.pixels.count == 63 * small.channels)
    precondition((try? small.encodedPNG()) != nil)
  }
}

/// The samples of a PNG as they are stored.
private func decodeStored(_ bytes: [UInt8]) {
  let stored = try? bytes.withUnsafeBytes {
    try StoredPicture($0, path: "x", mostPixels: 1 << 20)
  }
  guard let stored, stored.picture.width > 0, stored.picture.height > 0 else { return }
  let small = stored.picture.nearest(to: PictureSize(height: 7, width: 9))
  precondition(small.pixels.count == 63 * small.channels)
}

/// A PNG's chunks with the checksums that they should have.
private func withRightChecksums(_ bytes: [UInt8]) -> [UInt8] {
  var bytes = bytes
  var place = 8
  while place + 12 <= bytes.count {
    let length = bytes[place..<place + 4].reduce(0) { $0 << 8 | Int($1) }
    guard length <= bytes.count - place - 12 else { break }
    let sum = bytes[(place + 4)..<(place + 8 + length)].withUnsafeBufferPointer {
      crc32(0, $0.baseAddress, uInt($0.count))
    }
    for i in 0..<4 {
      bytes[place + 8 + length + i] = UInt8(truncatingIfNeeded: sum >> (24 - 8 * UInt(i)))
    }
    place += 12 + length
  }
  return bytes
}

/// Small pictures of every kind that the package writes.
private func seeds() throws -> [(name: String, bytes: [UInt8])] {
  var random = SequentialRandom(CounterRandom(seed: 1, stream: 1))
  var seeds: [(String, [UInt8])] = []
  for channels in 1...4 {
    let size = PictureSize(height: 21, width: 34)
    let picture = Picture(size: size, channels: channels) { to in
      for i in to.indices { to[i] = UInt8(truncatingIfNeeded: i / 3 + Int(random.next() % 32)) }
    }
    seeds.append(("png-\(channels)", try picture.encodedPNG()))
    if channels == 1 {
      let palette = (0..<768).map { UInt8(truncatingIfNeeded: $0 * 7) }
      seeds.append(("png-palette", try picture.encodedPNG(palette: palette)))
    }
    if channels == 2 { continue }
    for isProgressive in [false, true] {
      seeds.append(
        (
          "jpeg-\(channels)-\(isProgressive)",
          try picture.encodedJPEG(quality: 80, isProgressive: isProgressive)
        ))
    }
  }
  return seeds
}
