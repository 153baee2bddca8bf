import ABNFormats
import ABNTensors
import Testing

@testable import ABNData

@Suite("IDX files")
struct IDXTests {
  func read(_ bytes: some Sequence<UInt8>) throws -> Tensor {
    try IDX.read(ByteSource(Array(bytes), path: "x", kind: "IDX"))
  }

  @Test(arguments: [false, true])
  func readsEveryType(packed: Bool) throws {
    func check(_ file: [UInt8], _ expected: Tensor) throws {
      #expect(try read(packed ? gzipped(file) : file) == expected)
    }
    try check(
      idx([2, 3], [1, 2, 3, 4, 5, 250]), Tensor([1, 2, 3, 4, 5, 250] as [UInt8], shape: [2, 3]))
    try check(idx([2], [1, 0xff], type: 9), Tensor([1, -1] as [Int8]))
    try check(
      idx([2], [0, 0, 1, 2, 0xff, 0xff, 0xff, 0xfe], type: 12), Tensor([258, -2] as [Int32]))
    try check(idx([1], [0x3f, 0xc0, 0, 0], type: 13), Tensor([1.5] as [Float]))
    try check(idx([1, 1], [0xc0, 4, 0, 0, 0, 0, 0, 0], type: 14), Tensor([-2.5], shape: [1, 1]))
    try check(idx([], [7]), Tensor(scalar: 7 as UInt8))
    try check(idx([0, 5], []), Tensor([] as [UInt8], shape: [0, 5]))
  }

  @Test func refusesWhatIsNone() {
    let good = idx([2, 3], [1, 2, 3, 4, 5, 6])
    expectError(.file) { _ = try read([1] + good.dropFirst()) }
    expectError(.file) { _ = try read(idx([1], [1], type: 7)) }
    expectError(.unsupported) { _ = try read(idx([1], [1, 2], type: 11)) }
    let longer = expectError(.file) { _ = try read(good + [0]) }
    #expect(longer?.location == "byte \(good.count)")
    expectError(.file) { _ = try read(gzipped(good + [0])) }
    expectError(.file) { _ = try read(gzipped(good) + [0]) }
    expectError(.file) { _ = try read(idx([0xffff_ffff, 0xffff_ffff, 0xffff_ffff], [1])) }
    expectError(.file) { _ = try read(gzipped(idx([0xffff_ffff, 2], [1]))) }
    expectError(.file) { _ = try read([0, 0, 8, 255, 0, 0, 0, 1]) }
    expectError(.file) { _ = try IDX.read("no-such-file") }
  }

  /// Files that `cat` has put together, or that a writer has flushed: several members, some empty.
  @Test func readsGzipInSeveralPieces() throws {
    let content = randomBytes(100_000, seed: 7)
    let good = idx([100_000], content)
    for cuts in [[0], [1], [3, 3, 4], [70_000], [100_000], [5, 99_999, 100_008]] {
      let places = [0] + cuts + [good.count]
      let bytes = zip(places, places.dropFirst()).flatMap { gzipped(Array(good[$0..<$1])) }
      #expect(try read(bytes).elements(UInt8.self) == content, "\(cuts)")
      // One that is cut off in its last member, and something else behind it.
      expectError(.file) { _ = try read(bytes.dropLast(3)) }
      expectError(.file) { _ = try read(bytes + [0]) }
      expectError(.file) { _ = try read(bytes + [0x1f, 0x8b]) }
      expectError(.file) { _ = try read(bytes + gzipped([1])) }
    }
  }

  @Test func deflateIsBounded() throws {
    let bytes = gzipped(idx([1 << 24], [UInt8](repeating: 0, count: 1 << 24)))
    var limits = ReadLimits()
    limits.mostBytes = 1 << 23
    let error = expectError(.file) {
      _ = try IDX.read(ByteSource(bytes, path: "x", kind: "IDX", limits: limits))
    }
    #expect(error?.wanted.contains("mostBytes") == true)
    limits.mostBytes = 1 << 24
    let source = ByteSource(bytes, path: "x", kind: "IDX", limits: limits)
    #expect(try IDX.read(source).elementCount == 1 << 24)
  }

  /// Every shorter file is refused; a packed one bears a checksum, so every change is found but
  /// those of the time, the system and the flags in its frame.
  @Test func survivesDamage() {
    let good = idx([4, 5], randomBytes(20, seed: 2))
    for bytes in [good, gzipped(good)] {
      for count in 0..<bytes.count {
        expectError(.file) { _ = try read(Array(bytes.prefix(count))) }
      }
    }
    let bytes = gzipped(good)
    var refused = 0
    for i in bytes.indices {
      for flip in [1, 0x80, 0xff] as [UInt8] {
        var copy = bytes
        copy[i] ^= flip
        do {
          #expect(try read(copy).elements(UInt8.self) == Array(good.suffix(20)))
        } catch {
          #expect(error is ABNError)
          refused += 1
        }
      }
    }
    #expect(refused >= (bytes.count - 10) * 3)
  }
}

@Suite("MNIST folders")
struct MNISTTests {
  let folder: TemporaryFolder
  let images = idx([10, 28, 28], randomBytes(7840, seed: 1))
  let labels = idx([10], [5, 0, 4, 1, 9, 2, 1, 3, 1, 4])

  init() throws { folder = try TemporaryFolder() }

  func load() throws -> Dataset { try MNIST.load(directory: folder.path) }

  @Test func readsTheFullSet() throws {
    try folder.write("t10k-images-idx3-ubyte", images)
    try folder.write("t10k-labels-idx1-ubyte.gz", gzipped(labels))
    let few = idx([3, 28, 28], randomBytes(3 * 784, seed: 2))
    try folder.write("train-images.idx3-ubyte", few)
    try folder.write("train-labels-idx1-ubyte", idx([3], [7, 8, 9]))
    let data = try load()
    #expect(data.train.images.elements(UInt8.self)[...] == few.dropFirst(16))
    #expect(data.train.images.shape == [3, 1, 28, 28])
    #expect(data.train.labels == [7, 8, 9])
    #expect(data.test.images.elements(UInt8.self)[...] == images.dropFirst(16))
    #expect(data.test.labels == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4])
    #expect(data.classNames == ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"])
    try folder.remove("train-labels-idx1-ubyte")
    #expect(expectError(.file) { _ = try load() }?.got.contains("train-labels") == true)
  }

  @Test func dividesTheTestSetWhereThereIsNoOther() throws {
    try folder.write("t10k-images-idx3-ubyte.gz", gzipped(images))
    try folder.write("t10k-labels-idx1-ubyte", labels)
    let data = try load()
    #expect(data.train.labels == [5, 0, 4, 1, 9, 2, 1, 3])
    #expect(data.test.labels == [1, 4])
    #expect(
      data.train.images.elements(UInt8.self) + data.test.images.elements(UInt8.self)
        == Array(images.dropFirst(16)))
  }

  /// Labels without their pictures: not taken for a folder without a training set.
  @Test func labelsWithoutPicturesAreNamed() throws {
    try folder.write("t10k-images-idx3-ubyte", images)
    try folder.write("t10k-labels-idx1-ubyte", labels)
    try folder.write("train-labels-idx1-ubyte", labels)
    #expect(expectError(.file) { _ = try load() }?.got == "no file train-images-idx3-ubyte")
  }

  @Test func refusesWhatDoesNotFit() throws {
    expectError(.file) { _ = try MNIST.load(directory: folder.path + "/none") }
    #expect(expectError(.file) { _ = try load() }?.got == "no file t10k-images-idx3-ubyte")
    try folder.write("t10k-images-idx3-ubyte", images)
    #expect(expectError(.file) { _ = try load() }?.got == "no file t10k-labels-idx1-ubyte")
    try folder.write("t10k-labels-idx1-ubyte", idx([9], [5, 0, 4, 1, 9, 2, 1, 3, 1]))
    expectError(.shape) { _ = try load() }
    try folder.write("t10k-labels-idx1-ubyte", idx([10], [5, 0, 4, 1, 10, 2, 1, 3, 1, 0]))
    let error = expectError(.data) { _ = try load() }
    #expect(error?.location == "label 4")
    try folder.write("t10k-labels-idx1-ubyte", idx([10, 1], [5, 0, 4, 1, 9, 2, 1, 3, 1, 0]))
    expectError(.shape) { _ = try load() }
    try folder.write("t10k-labels-idx1-ubyte", labels)
    try folder.write("t10k-images-idx3-ubyte", idx([10, 784], randomBytes(7840, seed: 1)))
    expectError(.shape) { _ = try load() }
    try folder.write("t10k-images-idx3-ubyte", idx([10, 28, 28], randomBytes(7839, seed: 1)))
    expectError(.file) { _ = try load() }
  }

  /// The numbers were computed from the files by numpy.
  @Test(.enabled(if: sharedFolder("data/mnist") != nil, "there is no MNIST beside the package"))
  func readsTheSharedFolder() throws {
    let data = try MNIST.load(directory: #require(sharedFolder("data/mnist")))
    #expect(data.train.images.shape == [8000, 1, 28, 28])
    #expect(data.test.images.shape == [2000, 1, 28, 28])
    let counts = (0..<10).map { label in data.test.labels.count { $0 == label } }
    #expect(counts == [207, 230, 198, 207, 194, 169, 202, 215, 187, 191])
    #expect(abs(data.normalization.mean[0] - 33.17255117984694) < 1e-9)
    #expect(abs(data.normalization.standardDeviation[0] - 78.47594689811582) < 1e-9)
  }
}

@Suite("CIFAR-10 folders")
struct CIFAR10Tests {
  let folder: TemporaryFolder

  init() throws { folder = try TemporaryFolder() }

  func load() throws -> Dataset { try CIFAR10.load(directory: folder.path) }

  func records(_ labels: [UInt8], seed: UInt64) -> [UInt8] {
    labels.enumerated().flatMap { i, label in
      [label] + randomBytes(3072, seed: seed &+ UInt64(i))
    }
  }

  @Test func readsTheFilesInTheOrderOfTheirNumbers() throws {
    let many = (0..<300).map { UInt8($0 % 10) }
    try folder.write("data_batch_10.bin", records([3, 4], seed: 10))
    try folder.write("data_batch_2.bin", records(many, seed: 2))
    try folder.write("data_batch_1.bin", records([9], seed: 1))
    try folder.write("test_batch.bin", records([0, 8], seed: 70))
    let data = try load()
    #expect(data.train.labels == ([9] + many + [3, 4]).map(Int32.init))
    #expect(data.train.images.shape == [303, 3, 32, 32])
    let bytes = data.train.images.elements(UInt8.self)
    #expect(Array(bytes.prefix(3072)) == randomBytes(3072, seed: 1))
    #expect(Array(bytes[(300 * 3072)...].prefix(3072)) == randomBytes(3072, seed: 2 + 299))
    #expect(Array(bytes.suffix(3072)) == randomBytes(3072, seed: 11))
    #expect(data.test.labels == [0, 8])
    #expect(data.classNames == CIFAR10.classNames)
    try folder.write("batches.meta.txt", Array("a\nb\r\nc\nd\ne\nf\ng\nh\ni\nj k\n\n".utf8))
    #expect(try load().classNames == ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j k"])
    try folder.write("batches.meta.txt", Array("a\nb\n".utf8))
    expectError(.file) { _ = try load() }
  }

  @Test func refusesWhatDoesNotFit() throws {
    expectError(.file) { _ = try load() }
    try folder.write("data_batch_1.bin", records([1, 2], seed: 1))
    #expect(expectError(.file) { _ = try load() }?.what.contains("test_batch.bin") == true)
    try folder.write("test_batch.bin", records([1], seed: 1) + [3])
    let error = expectError(.file) { _ = try load() }
    #expect(error?.location == "byte 3073")
    #expect(error?.got == "3074 bytes")
    try folder.write("test_batch.bin", [])
    expectError(.file) { _ = try load() }
    try folder.write("test_batch.bin", records([1, 2, 10], seed: 1))
    let label = expectError(.data) { _ = try load() }
    #expect(label?.location == "byte \(2 * 3073)")
    #expect(label?.got == "label 10")
  }

  /// The numbers were computed from the files by numpy.
  @Test(
    .enabled(if: sharedFolder("data/cifar10") != nil, "there is no CIFAR-10 beside the package"))
  func readsTheSharedFolder() throws {
    let data = try CIFAR10.load(directory: #require(sharedFolder("data/cifar10")))
    #expect(data.train.images.shape == [20000, 3, 32, 32])
    #expect(data.test.images.shape == [5000, 3, 32, 32])
    #expect(data.classNames == CIFAR10.classNames)
    let counts = (0..<10).map { label in data.test.labels.count { $0 == label } }
    #expect(counts == [500, 508, 513, 498, 499, 498, 524, 480, 480, 500])
    let mean = data.normalization.mean.reduce(0, +) / 3
    #expect(abs(mean - Double(3_713_134_222 + 3_703_175_539) / (20000 * 3072)) < 1e-9)
  }
}
