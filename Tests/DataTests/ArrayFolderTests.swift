import ABNFormats
import ABNImages
import ABNTensors
import Testing

@testable import ABNData

@Suite struct ArrayFolderTests {
  let folder: TemporaryFolder

  init() throws { folder = try TemporaryFolder() }

  @Test func idxOfAnyNumberOfClasses() throws {
    try folder.write("train-images.idx", idx([4, 5, 6], randomBytes(120, seed: 1)))
    try folder.write("train-labels.idx.gz", gzipped(idx([4], [0, 19, 3, 3])))
    try folder.write("test_images", idx([2, 5, 6], randomBytes(60, seed: 2)))
    try folder.write("test_labels", idx([2], [1, 0]))
    let data = try DataSource.parse("idx:\(folder.path)").load()
    #expect(
      data.classCount == 20 && data.train.labels == [0, 19, 3, 3] && data.test.labels == [1, 0])
    #expect(data.train.images.elements(UInt8.self) == randomBytes(120, seed: 1))
    #expect(data.imageShape == [1, 5, 6])
    try folder.remove("test_labels")
    #expect(
      expectError(.file) { _ = try DataSource.idx(directory: folder.path).load() }?.got
        == "no file test-labels...")
  }

  @Test func npyPairsAreDivided() throws {
    let bytes = randomBytes(20 * 4 * 5 * 3, seed: 3)
    let (images, labels) = ("\(folder.path)/x.npy", "\(folder.path)/y.npy")
    try NPY.write(Tensor(bytes, shape: [20, 4, 5, 3]), to: images)
    try NPY.write(Tensor((0..<20).map { Int64($0 % 2) }, shape: [20, 1]), to: labels)
    try folder.write("classes.txt", Array("cat\ndog\n".utf8))
    let source = try DataSource.parse("npy:\(images),\(labels)")
    let data = try source.load()
    #expect(data.train.count == 16 && data.test.count == 4 && data.imageShape == [3, 4, 5])
    #expect(data.classNames == ["cat", "dog"] && data.test.labels.sorted() == [0, 0, 1, 1])
    // Channels last became channels first.
    let parts = HeldOut.divide((0..<20).map { Int32($0 % 2) }, share: 0.2)
    let first = data.train.images.elements(UInt8.self)
    #expect(first[1 * 20 + 7] == bytes[parts.train[0] * 60 + 7 * 3 + 1])
    #expect(source.absolute == source && source.description == "npy:\(images),\(labels)")
    try NPY.write(
      Tensor([Float](repeating: 0.5, count: 20 * 60), shape: [20, 3, 4, 5]), to: images)
    #expect(expectError(.dtype) { _ = try source.load() }?.fix.contains("times 255") == true)
    try NPY.write(Tensor(bytes, shape: [20, 4, 5, 3]), to: images)
    try NPY.write(Tensor((0..<19).map { Int64($0 % 2) }), to: labels)
    expectError(.shape) { _ = try source.load() }
    try NPY.write(Tensor((0..<20).map { Int64($0) - 1 }), to: labels)
    #expect(expectError(.data) { _ = try source.load() }?.location == "label 0")
    expectError(.name) { _ = try DataSource.npy(paths: "a,b,c").load() }
  }

  @Test func npyFolders() throws {
    for (part, count) in [("train", 6), ("val", 2)] {
      try NPY.write(
        Tensor(randomBytes(count * 12, seed: 1), shape: [count, 3, 2, 2]),
        to: "\(folder.path)/\(part)_images.npy")
      try NPY.write(
        Tensor([UInt8](repeating: 1, count: count)), to: "\(folder.path)/\(part)_labels.npy")
    }
    let data = try DataSource.npy(paths: folder.path).load()
    #expect(data.train.count == 6 && data.test.count == 2 && data.classNames == ["0", "1"])
  }

  @Test func cifar100() throws {
    func records(_ labels: [UInt8], seed: UInt64) -> [UInt8] {
      labels.enumerated().flatMap { [7, $1] + randomBytes(3072, seed: seed + UInt64($0)) }
    }
    try folder.write("train.bin", records([99, 0, 42], seed: 1))
    try folder.write("test.bin", records([5], seed: 9))
    let data = try DataSource.parse("cifar100:\(folder.path)").load()
    #expect(data.train.labels == [99, 0, 42] && data.test.labels == [5] && data.classCount == 100)
    #expect(data.train.images.elements(UInt8.self).prefix(3072) == randomBytes(3072, seed: 1)[...])
    try folder.write("fine_label_names.txt", Array((0..<100).map { "n\($0)\n" }.joined().utf8))
    #expect(try CIFAR100.load(directory: folder.path).classNames[99] == "n99")
    try folder.write("test.bin", records([100], seed: 9))
    let error = expectError(.data) { _ = try CIFAR100.load(directory: folder.path) }
    #expect(error?.location == "byte 1" && error?.got == "label 100")
    try folder.write("test.bin", records([1], seed: 9) + [0])
    expectError(.file) { _ = try CIFAR100.load(directory: folder.path) }
  }

  /// Arrays are seen at another size where that is asked for.
  @Test func arraysAtAnotherSize() throws {
    var options = DataOptions()
    options.geometry = PictureGeometry(side: 14)
    let data = try DataSource.digits.load(options)
    #expect(data.imageShape == [1, 14, 14] && data.rule.white == 16)
    let loader = try BatchLoader(
      data.train, normalization: data.normalization, options: .init(batchSize: 3, isShuffled: false)
    )
    let batch = loader.batch(0, ofEpoch: 0)
    #expect(batch.images.shape == [3, 1, 14, 14])
    let whole = Picture(
      size: PictureSize(side: 8), channels: 1,
      bytes: Array(Digits.dataset.train.images.elements(UInt8.self).prefix(64)))
    let seen = whole.resized(to: PictureSize(side: 16)).cut(
      PictureRegion(top: 1, left: 1, size: PictureSize(side: 14)))
    let mean = data.normalization.mean[0]
    let deviation = data.normalization.standardDeviation[0]
    let wanted = seen.pixels.map { Float((Double($0) - mean) / deviation) }
    #expect(Array(batch.images.elements(Float.self).prefix(196)) == wanted)
  }
}
