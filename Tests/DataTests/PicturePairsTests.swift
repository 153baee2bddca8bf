import ABNFormats
import ABNImages
import ABNTensors
import ABNTestSupport
import Foundation
import Testing

@testable import ABNData

/// Folders of pictures and masks, and what can be wrong with them.
@Suite struct PicturePairsTests {
  let folder: TemporaryFolder

  init() throws { folder = try TemporaryFolder() }

  private func error(_ category: ABNError.Category = .data, _ body: () throws -> Void) -> String {
    expectError(category, body)?.description ?? ""
  }

  /// Reads every pair.
  private func readAll(_ data: Dataset) throws {
    for split in [data.train, data.test] {
      for i in 0..<split.count { _ = try split.readablePair(from: i, try #require(split.masks)) }
    }
  }

  @Test func trainAndValWithTheirAnnotations() throws {
    try folder.writePairs()
    let data = try folder.loadPairs()
    #expect(data.train.count == 4 && data.test.count == 2)
    #expect(data.classNames == ["0", "1", "2", "3"] && data.imageShape == [3, 16, 24])
    #expect(data.notes.count == 1 && data.notes[0].contains("numbers up to 3"))
    #expect(data.pixelClasses?.hasOwnColours == false)
    #expect(data.normalization == .imageNet(channels: 3))
    let masks = try #require(data.train.masks)
    for i in 0..<4 {
      let (_, picture, mask) = try data.train.readablePair(from: i, masks)
      #expect(mask == scene(30 + 2 * i, 40 - i, classes: 4, seed: 101 + UInt64(i)))
      #expect(picture.size == mask.size && picture.channels == 3)
    }
    // The default part: the first picture.
    #expect(try folder.loadPairs { $0.cropSize = nil }.imageShape == [3, 30, 40])
  }

  @Test(arguments: ["masks", "labels", "Annotations"])
  func imagesAndMasks(name: String) throws {
    try folder.writeScenes("images", name, count: 10, seed: 3)
    let data = try folder.loadPairs { $0.validationShare = 0.3 }
    #expect(data.train.count == 7 && data.test.count == 3)
    let again = try folder.loadPairs { $0.validationShare = 0.3 }
    #expect(again.test == data.test)
    try readAll(data)
    // Pictures may lie deeper, in folders of the same names.
    try folder.writeScenes("images/more", "\(name)/more", count: 2, seed: 30)
    #expect(try folder.loadPairs().train.count + folder.loadPairs().test.count == 12)
  }

  @Test func imagesAndMasksThatAreDivided() throws {
    try folder.writeScenes("images/training", "annotations/training", count: 3, seed: 3)
    try folder.writeScenes("images/validation", "annotations/validation", count: 1, seed: 9)
    let data = try folder.loadPairs()
    #expect(data.train.count == 3 && data.test.count == 1)
  }

  @Test func classesFromAFile() throws {
    try folder.writePairs()
    try folder.write(
      PixelClasses.fileName,
      Array("# of four\nroad 128 64 128\ntraffic light #804000\nvoid ignore\ncar\n\n".utf8))
    let data = try folder.loadPairs()
    let classes = try #require(data.pixelClasses)
    #expect(data.classNames == ["road", "traffic light", "car"] && data.notes.isEmpty)
    #expect(classes.colours.prefix(2) == [.init(128, 64, 128), .init(128, 64, 0)])
    #expect(!classes.hasOwnColours && classes.classes == [0: 0, 1: 1, 2: 255, 3: 2, 255: 255])
    #expect((0..<3).map(classes.value) == [0, 1, 3])
    let mask = try #require(data.train.masks).mask(0, for: nil, of: "")
    let stored = scene(30, 40, classes: 4, seed: 101).pixels
    #expect(mask.pixels == stored.map { [0, 1, 255, 2][safe: Int($0)] ?? 255 })
    // What a model keeps says the same; another file, and more numbers that do not count.
    #expect(PixelClasses(text: classes.text) == classes)
    #expect(try folder.loadPairs { $0.ignoredValues = [1] }.classNames == ["road", "car"])
    try folder.write("other.txt", Array("a\nb\nc\nd\n".utf8))
    let other = try folder.loadPairs { $0.classesFile = folder.path + "/other.txt" }
    #expect(other.classNames == ["a", "b", "c", "d"])
    // The model that is judged knows its classes, unless a file is named.
    #expect(try folder.loadPairs { $0.pixelClasses = other.pixelClasses }.classNames.count == 4)
  }

  @Test(arguments: [
    ("a\na\n", "the name \"a\" twice"), ("3: a\n3: b\n", "the number \"3\" twice"),
    ("a 1 2 300\n", "line 1"), ("x\n256: b\n", "line 2"), ("a #12345\n", "#12345"),
    ("a 1 2 3\nb 1 2 3\n", "a colour of \"b\" twice"), ("", "0 classes"),
    ("a ignore\n", "0 classes"),
  ])
  func filesOfClassesThatAreNone(text: String, says: String) throws {
    try folder.writePairs()
    try folder.write(PixelClasses.fileName, Array(text.utf8))
    let message = error(.file) { _ = try folder.loadPairs() }
    #expect(message.contains(says) && message.contains("classes.txt"), "\(message)")
  }

  @Test func masksOfColours() throws {
    try folder.writePairs()
    try folder.write(PixelClasses.fileName, Array("a 1 2 3\nb 9 9 9\nc 200 0 0 ignore\n".utf8))
    let colours: [[UInt8]] = [[1, 2, 3], [9, 9, 9], [200, 0, 0]]
    let numbers = (0..<1200).map { $0 * 7 / 5 % 3 }
    let mask = Picture(
      size: PictureSize(height: 30, width: 40), channels: 3, bytes: numbers.flatMap { colours[$0] })
    try folder.write("trainannot/x0.png", mask.encodedPNG())
    let found = try #require(folder.loadPairs().train.masks).mask(0, for: mask.size, of: "")
    #expect(found.pixels == numbers.map { [0, 1, 255][$0] })
    var other = mask
    other.withMutablePixels { $0[3 * 45] = 77 }
    try folder.write("trainannot/x0.png", other.encodedPNG())
    let message = error {
      _ = try folder.loadPairs().train.masks?.mask(0, for: mask.size, of: "")
    }
    #expect(message.contains("trainannot/x0.png\" (row 1, column 5): got the colour #4d"))
    // Without colours of classes nobody knows what they mean.
    try folder.remove(PixelClasses.fileName)
    #expect(error { _ = try folder.loadPairs() }.contains("x0.png\": got colours"))
  }

  @Test func palettes() throws {
    try folder.writePairs()
    try folder.write(PixelClasses.fileName, Array("a 1 2 3\nb 9 9 8\nc 7 7 9\nd 5 6 7\n".utf8))
    let mask = scene(30, 40, classes: 4, seed: 5)
    func write(_ palette: [UInt8]) throws {
      var shown = mask
      shown.withMutablePixels { for i in $0.indices where $0[i] == 255 { $0[i] = 0 } }
      try folder.write("trainannot/x0.png", shown.encodedPNG(palette: palette))
    }
    func read() throws -> Picture? {
      try folder.loadPairs().train.masks?.mask(0, for: mask.size, of: "")
    }
    let own: [UInt8] = [1, 2, 3, 9, 9, 8, 7, 7, 9, 5, 6, 7]
    try write(own)
    #expect(try read()?.pixels == mask.pixels.map { $0 == 255 ? 0 : $0 })
    // Shades of grey are numbers alone.
    try write((0..<4).flatMap { [UInt8](repeating: $0 * 80, count: 3) })
    #expect(try read()?.pixels.max() == 3)
    // Two colours changed places, as where a picture was saved with a palette of its own.
    try write(Array(own[3..<6] + own[..<3] + own[6...]))
    let message = error { _ = try read() }
    #expect(
      message.contains("trainannot/x0.png") && message.contains("a palette whose number")
        && message.contains("wanted #0"), "\(message)")
  }

  @Test func aMaskOfAnotherSize() throws {
    try folder.writePairs()
    try folder.write("valannot/x1.png", scene(32, 38, classes: 4, seed: 1).encodedPNG())
    let data = try folder.loadPairs()
    let message = error(.shape) { try readAll(data) }
    #expect(message.contains("valannot/x1.png\": got 38 x 32 pixels, wanted 39 x 32"), "\(message)")
    #expect(message.contains("val/x1.jpg"))
    // Left out where that is asked for.
    let whole = try folder.loadPairs { $0.skipsBroken = true }
    #expect(whole.test.count == 1 && whole.notes.contains { $0.contains("valannot/x1.png") })
  }

  @Test func aClassOutOfRange() throws {
    try folder.writePairs()
    try folder.write(PixelClasses.fileName, Array("a\nb\nc\nd\n".utf8))
    var mask = scene(30, 40, classes: 4, seed: 5)
    mask.withMutablePixels { $0[83] = 9 }
    try folder.write("trainannot/x0.png", mask.encodedPNG())
    let message = error { try readAll(folder.loadPairs()) }
    #expect(
      message.contains(
        "trainannot/x0.png\" (row 2, column 3): got 9, wanted a class in 0...3; 255 do not count"),
      "\(message)")
  }

  @Test func picturesWithoutMasksAndMasksWithoutPictures() throws {
    try folder.writePairs()
    try folder.remove("trainannot/x2.png")
    var message = error { _ = try folder.loadPairs() }
    #expect(
      message.contains("train/x2.png\": got no mask") && message.contains("trainannot/x2.png"))
    let left = try folder.loadPairs { $0.skipsBroken = true }
    #expect(left.train.count == 3 && left.unpaired.count == 1)
    #expect(try DataReport(.pairs(directory: folder.path), DataOptions()).brokenCount == 1)
    try folder.writePairs()
    try folder.remove("val/x0.png")
    message = error { _ = try folder.loadPairs() }
    #expect(message.contains("valannot/x0.png\": got no picture"), "\(message)")
    try folder.writePairs()
    try folder.write("train/x1.png", photograph(32, 39, seed: 1).encodedPNG())
    message = error { _ = try folder.loadPairs() }
    #expect(message.contains("wanted one file of this name"), "\(message)")
  }

  @Test func foldersThatAreNoPairs() throws {
    #expect(error { _ = try folder.loadPairs() }.contains("wanted train and trainannot"))
    try folder.make("images")
    try folder.make("masks")
    #expect(error { _ = try folder.loadPairs() }.contains("got no pictures"))
    expectError(.file) { _ = try DataSource.pairs(directory: folder.path + "/none").load() }
    expectError(.file) { _ = try DataSource.voc(directory: folder.path).load() }
    expectError(.file) { _ = try DataSource.cityscapes(directory: folder.path).load() }
    expectError(.attribute) { _ = try folder.loadPairs { $0.ignoredValues = [256] } }
  }

  @Test func masksThatAreNoSuchPNG() throws {
    try folder.writePairs()
    try folder.write(PixelClasses.fileName, Array("a\nb\nc\nd\n".utf8))
    for (bytes, says) in [
      (try photograph(30, 40, seed: 1).encodedJPEG(), "got a JPEG picture, wanted PNG"),
      (
        try Picture(
          size: PictureSize(height: 30, width: 40), channels: 2, bytes: randomBytes(2400, seed: 1)
        ).encodedPNG(), "grey with alpha"
      ), ([], "an empty file"),
    ] {
      try folder.write("trainannot/x0.png", bytes)
      let message = error(.file) { try readAll(folder.loadPairs()) }
      #expect(message.contains("trainannot/x0.png") && message.contains(says), "\(message)")
    }
  }

  @Test func vocFolders() throws {
    try folder.make("JPEGImages")
    try folder.make("SegmentationClass")
    try folder.make("ImageSets/Segmentation")
    let palette = (0..<256).flatMap { number -> [UInt8] in
      let colour = PixelClasses.usualColour(number)
      return [colour.x, colour.y, colour.z]
    }
    #expect(palette.prefix(12) == [0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0])
    #expect(palette[45..<48] == [192, 128, 128])
    for name in ["2007_1", "2007_2", "2007_3"] {
      let mask = scene(30, 40, classes: 21, seed: UInt64(name.utf8.last!))
      try folder.write("JPEGImages/\(name).jpg", photograph(30, 40, seed: 1).encodedJPEG())
      try folder.write("SegmentationClass/\(name).png", mask.encodedPNG(palette: palette))
    }
    try folder.write("ImageSets/Segmentation/train.txt", Array("2007_1\n2007_3\n".utf8))
    try folder.write("ImageSets/Segmentation/val.txt", Array("2007_2\n".utf8))
    let data = try DataSource.voc(directory: folder.path).load()
    #expect(data.train.count == 2 && data.test.count == 1 && data.classCount == 21)
    #expect(data.classNames[15] == "person")
    try readAll(data)
    #expect(
      try data.test.masks?.mask(0, for: nil, of: "").pixels
        == scene(30, 40, classes: 21, seed: UInt64(UInt8(ascii: "2"))).pixels)
    try folder.write("ImageSets/Segmentation/val.txt", Array("2007_9\n".utf8))
    #expect(
      error { _ = try DataSource.voc(directory: folder.path).load() }
        .contains("JPEGImages/2007_9.jpg\": got nothing there"))
  }

  @Test func cityscapesFolders() throws {
    for part in ["train", "val"] {
      for folderName in ["leftImg8bit", "gtFine"] { try folder.make("\(folderName)/\(part)/ulm") }
      let stem = "\(part)/ulm/ulm_0_1"
      try folder.write(
        "leftImg8bit/\(stem)_leftImg8bit.png", photograph(20, 34, seed: 2).encodedPNG())
      let labels = Picture(
        size: PictureSize(height: 20, width: 34), channels: 1,
        bytes: (0..<680).map { UInt8($0 % 34) })
      try folder.write("gtFine/\(stem)_gtFine_labelIds.png", labels.encodedPNG())
      try folder.write("gtFine/\(stem)_gtFine_color.png", [1])
    }
    let data = try DataSource.cityscapes(directory: folder.path).load()
    #expect(data.classCount == 19 && data.train.count == 1 && data.test.count == 1)
    let mask = try #require(data.train.masks).mask(0, for: nil, of: "")
    // 7 is road, 33 bicycle; 0...6 do not count.
    let row = Array(mask.pixels.prefix(34))
    #expect(row[0...6].allSatisfy { $0 == 255 } && row[7] == 0 && row[33] == 18 && row[24] == 11)
    #expect(Set(row).subtracting([255]).count == 19)
  }

  @Test func cocoFolders() throws {
    let size = PictureSize(height: 6, width: 8)
    func write(_ part: String, _ numbers: [UInt32], category: Int = 9) throws {
      for name in [part, "annotations/panoptic_\(part)"] { try folder.make(name) }
      let mask = Picture(
        size: size, channels: 3,
        bytes: numbers.flatMap { [UInt8($0 & 255), UInt8($0 >> 8 & 255), UInt8($0 >> 16)] })
      try folder.write("\(part)/0001.jpg", photograph(6, 8, seed: 3).encodedJPEG())
      try folder.write("annotations/panoptic_\(part)/0001.png", mask.encodedPNG())
      let json = """
        {"info": {}, "images": [], "annotations": [{"image_id": 1, "file_name": "0001.png",
        "segments_info": [{"id": 70000, "category_id": 9, "iscrowd": 0, "area": 3},
        {"id": 5, "category_id": \(category)}]}], "categories": [
        {"id": 9, "name": "tree", "color": [1, 2, 3], "isthing": 0},
        {"id": 4, "name": "cat", "color": [9, 8, 7]}]}
        """
      try folder.write("annotations/panoptic_\(part).json", Array(json.utf8))
    }
    let numbers = (0..<48).map { [0, 70000, 5][$0 / 4 % 3] as UInt32 }
    try write("train2017", numbers, category: 4)
    try write("val2017", numbers)
    let data = try DataSource.coco(directory: folder.path).load()
    #expect(data.classNames == ["cat", "tree"] && data.train.count == 1 && data.test.count == 1)
    #expect(data.pixelClasses?.colours == [.init(9, 8, 7), .init(1, 2, 3)])
    let found = try [data.train, data.test].map { try $0.masks?.mask(0, for: size, of: "").pixels }
    #expect(found[0] == numbers.map { [0: 255, 5: 0, 70000: 1][$0]! })
    #expect(found[1] == numbers.map { [0: 255, 5: 1, 70000: 1][$0]! })
    // A segment that nobody names, a category that there is not, a picture that is not there.
    var others = numbers
    others[9] = 6
    try write("train2017", others, category: 4)
    #expect(
      error { try readAll(DataSource.coco(directory: folder.path).load()) }
        .contains("0001.png\" (row 1, column 1): got the segment 6"))
    try write("train2017", numbers, category: 77)
    #expect(
      error { _ = try DataSource.coco(directory: folder.path).load() }
        .contains("a segment of category 77 in \"0001.png\""))
    try write("train2017", numbers, category: 4)
    try folder.remove("val2017/0001.jpg")
    #expect(
      error { _ = try DataSource.coco(directory: folder.path).load() }.contains("got no picture"))
    try folder.write("annotations/panoptic_val2017.json", Array("{}".utf8))
    #expect(
      error { _ = try DataSource.coco(directory: folder.path).load() }
        .contains("panoptic_val2017.json"))
  }

  /// 367 and 101 frames.
  @Test(.enabled(if: sharedFolder("data/camvid") != nil, "there is no CamVid beside the package"))
  func readsTheSharedCamVid() throws {
    var options = DataOptions()
    let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent()
    options.classesFile = root.appending(path: "recipes/camvid.classes.txt").path
    let source = DataSource.pairs(directory: try #require(sharedFolder("data/camvid")))
    let data = try source.load(options)
    #expect(data.train.count == 367 && data.test.count == 101 && data.classCount == 11)
    #expect(data.classNames.first == "sky" && data.classNames.last == "bicyclist")
    #expect(data.imageShape == [3, 360, 480])
    let masks = try #require(data.test.masks)
    let (_, picture, mask) = try data.test.readablePair(from: 7, masks)
    #expect(picture.size == PictureSize(height: 360, width: 480))
    #expect(Set(mask.pixels).isSubset(of: Set(0...10).union([255])))
  }
}

extension Array {
  fileprivate subscript(safe index: Int) -> Element? { indices.contains(index) ? self[index] : nil }
}
