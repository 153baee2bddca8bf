import ABNImages
import ABNTensors
import Foundation
import Testing

@testable import ABNData

@Suite struct PictureFolderTests {
  let folder: TemporaryFolder

  init() throws { folder = try TemporaryFolder() }

  private func names(_ split: DataSplit) -> [String] {
    (0..<split.count).map { String(split.source.name(of: $0).dropFirst(folder.path.count + 1)) }
  }

  @Test func readsTrainAndValByClass() throws {
    try folder.writeClasses()
    let data = try folder.load()
    // Natural order: 2 before 10.
    #expect(data.classNames == ["class2", "class10"])
    #expect(
      data.train.labels == [0, 0, 0, 0, 1, 1, 1, 1, 1] && data.test.labels == [0, 0, 0, 1, 1])
    #expect(names(data.train).prefix(2) == ["train/class2/0.jpg", "train/class2/1.png"])
    #expect(names(data.test).last == "val/class10/1.png")
    #expect(data.imageShape == [3, 16, 16] && data.notes.isEmpty)
    #expect(data.normalization == .imageNet(channels: 3))
    #expect(data.train.images.failure != nil)
    // The default is 224 of 256.
    let plain = try DataSource.folder(directory: folder.path).load()
    #expect(plain.imageShape == [3, 224, 224] && plain.train.geometry.resize == 256)
  }

  @Test(arguments: ["val", "valid", "validation", "Test"])
  func heldOutFoldersHaveSeveralNames(name: String) throws {
    try folder.writePictures("train/a", count: 2, seed: 1)
    try folder.writePictures("\(name)/a", count: 3, seed: 2)
    #expect(try folder.load().test.count == 3)
  }

  /// Of n pictures of a class round(n share) are held out, the same ones each time, at least one of two.
  @Test(arguments: ["", "train/"])
  func oneFolderIsDivided(prefix: String) throws {
    try folder.writePictures("\(prefix)a", count: 10, seed: 1)
    try folder.writePictures("\(prefix)b", count: 2, seed: 2)
    try folder.writePictures("\(prefix)c", count: 1, seed: 3)
    let data = try folder.load { $0.validationShare = 0.3 }
    #expect(data.test.labels == [0, 0, 0, 1] && data.train.labels == [0, 0, 0, 0, 0, 0, 0, 1, 2])
    #expect(Set(names(data.train)).isDisjoint(with: names(data.test)))
    #expect(Set(names(data.train)).union(names(data.test)).count == 13)
    #expect(names(data.test) == names(try folder.load { $0.validationShare = 0.3 }.test))
    #expect(names(data.test) != (0..<3).map { "\(prefix)a/\($0).jpg" })
    for share in [0, 1, -0.5, .nan] {
      expectError(.attribute) { _ = try folder.load { $0.validationShare = share } }
    }
  }

  /// What is written among the classes would be one; a class that is not judged is named.
  @Test func outputsAndClassesThatAreNotHeldOut() throws {
    try folder.writePictures("a", count: 4, seed: 1)
    try folder.writePictures("b", count: 1, seed: 2)
    #expect(try folder.load().notes.count { $0.contains("\"b\" is held out") } == 1)
    let source = DataSource.folder(directory: folder.path)
    for inside in ["/run", "/a/run", "", "/new/../x"] {
      expectError(.file) { try source.requireOutside(folder.path + inside) }
    }
    try source.requireOutside(folder.path + "-run")
    try source.requireOutside(folder.path + "/../run")
    try folder.make("train")
    try source.requireOutside(folder.path + "/run")
  }

  /// One budget for all parts of the data, which a part that goes away gives back.
  @Test func oneBudgetForAllParts() throws {
    let budget = CacheBudget(mostBytes: 1000)
    let picture = photograph(10, 20, seed: 1)
    #expect(picture.byteCount == 600)
    do {
      let first = PictureCache(count: 2, budget: budget)
      first.keep(picture, at: 0)
      first.keep(picture, at: 0)
      #expect(first[0] != nil && first[1] == nil)
      let second = PictureCache(count: 2, budget: budget)
      second.keep(picture, at: 1)
      #expect(second[1] == nil)
    }
    let third = PictureCache(count: 2, budget: budget)
    third.keep(picture, at: 1)
    #expect(third[1] != nil)
  }

  @Test func deeperFoldersAndOtherFiles() throws {
    try folder.writeClasses()
    try folder.writePictures("train/class2/more/deep", count: 1, seed: 50)
    try folder.write("train/class2/.DS_Store", [1, 2])
    try folder.write("train/class10/stray.gif", Array("GIF89a".utf8))
    try folder.write("train/README", Array("x".utf8))
    try folder.write("train/class2/.jpg", [0])
    let data = try folder.load()
    #expect(names(data.train).contains("train/class2/more/deep/0.jpg") && data.train.count == 10)
    let note = try #require(data.notes.first)
    #expect(data.notes.count == 1 && note.hasPrefix("passed over 4 files that are not called"))
    for name in [".DS_Store", "stray.gif", "README", ".jpg"] {
      #expect(note.contains("/\(name)\""))
    }
  }

  @Test func whatIsNoFolderOfClassesIsNamed() throws {
    func error(_ category: ABNError.Category = .data) -> String {
      expectError(category) { _ = try folder.load() }?.description ?? ""
    }
    #expect(error().contains("got no folder, wanted a folder for each class"))
    try folder.write("x.jpg", try photograph(8, 8, seed: 1).encodedJPEG())
    #expect(error().contains("got 1 pictures and no folder"))
    try folder.make("train/empty")
    #expect(error().contains("/train/empty\": got no picture"))
    try folder.writePictures("train/empty", count: 2, seed: 1)
    try folder.writePictures("val/empti", count: 2, seed: 1)
    let unknown = error()
    #expect(unknown.contains("the class \"empti\"") && unknown.contains("Did you mean \"empty\"?"))
    expectError(.file) { _ = try DataSource.folder(directory: folder.path + "/none").load() }
    expectError(.file) { _ = try DataSource.folder(directory: folder.path + "/x.jpg").load() }
  }

  @Test func namesThatAreNoTextAreNamed() throws {
    try folder.writeClasses()
    let bytes = Array("\(folder.path)/train/class2/".utf8CString.dropLast()) + [-1, 0x61, 0]
    let descriptor = open(bytes, O_CREAT | O_WRONLY, 0o644)
    try #require(descriptor >= 0)
    close(descriptor)
    let error = expectError(.file) { _ = try folder.load() }
    #expect(error?.description.contains("\\xFFa") == true)
    let data = try folder.load { $0.skipsBroken = true }
    #expect(data.train.count == 9 && data.notes.contains { $0.contains("\\xFFa") })
    unlink(bytes)
  }

  @Test func linksInACircleEnd() throws {
    try folder.writeClasses()
    try FileManager.default.createSymbolicLink(
      atPath: "\(folder.path)/train/class2/again",
      withDestinationPath: "\(folder.path)/train/class2")
    #expect(expectError(.data) { _ = try folder.load() }?.fix.contains("circle") == true)
  }

  @Test func naturalOrder() {
    let names = ["a", "a1", "a2", "a10", "b", "b1c2", "b1c10", "é"]
    for i in names.indices {
      for j in names.indices {
        #expect(FolderListing.isBefore(names[i], names[j]) == (i < j), "\(names[i]) \(names[j])")
      }
    }
    // Equal but for a zero: in one order all the same.
    #expect(FolderListing.isBefore("a02", "a2") != FolderListing.isBefore("a2", "a02"))
    // Numbers beyond any integer.
    let (long, longer) = (
      String(repeating: "9", count: 60), "1" + String(repeating: "0", count: 60)
    )
    #expect(FolderListing.isBefore(long, longer) && !FolderListing.isBefore(longer, long))
  }

  /// 397 photographs and a stray GIF, all of which are decoded.
  @Test(
    .enabled(
      if: sharedFolder("data/hymenoptera") != nil, "there are no hymenoptera beside the package"))
  func readsTheSharedFolder() throws {
    let source = DataSource.folder(directory: try #require(sharedFolder("data/hymenoptera")))
    let data = try source.load()
    #expect(data.classNames == ["ants", "bees"])
    #expect(data.train.labels.count == 244 && data.test.labels.count == 153)
    #expect(data.notes.count == 1 && data.notes[0].contains("imageNotFound.gif"))
    let first = try data.train.source.picture(0)
    #expect(first.channels == 3)
  }
}
