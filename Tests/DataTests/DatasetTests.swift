import ABNTensors
import Testing

@testable import ABNData

@Suite("Data sets")
struct DatasetTests {
  @Test func splitsAreChecked() throws {
    let images = Tensor(randomBytes(2 * 3 * 4, seed: 1), shape: [2, 1, 3, 4])
    #expect(try DataSplit(images: images, labels: [1, 2]).imageShape == [1, 3, 4])
    expectError(.shape) { _ = try DataSplit(images: images, labels: [1]) }
    expectError(.shape) { _ = try DataSplit(images: images.reshaped([2, 12]), labels: [1, 2]) }
    expectError(.shape) {
      _ = try DataSplit(images: Tensor(zeros: [1, 0, 3, 3], dtype: .uint8), labels: [1])
    }
    expectError(.dtype) { _ = try DataSplit(images: images.cast(to: .float32), labels: [1, 2]) }
  }

  @Test func dataSetsAreChecked() throws {
    let split = try randomSplit([4, 1, 2, 2], seed: 1)
    let other = try randomSplit([4, 1, 2, 3], seed: 1)
    let names = (0..<10).map(String.init)
    let data = try Dataset(name: "x", classNames: names, train: split, test: split)
    #expect(data.classCount == 10)
    #expect(data.imageShape == [1, 2, 2])
    expectError(.shape) {
      _ = try Dataset(name: "x", classNames: names, train: split, test: other)
    }
    expectError(.data) {
      _ = try Dataset(name: "x", classNames: names, train: split, test: split.slice(1..<1))
    }
    let wrong = try DataSplit(images: split.images, labels: [0, 9, 10, -1])
    let error = expectError(.data) {
      _ = try Dataset(name: "x", classNames: names, train: split, test: wrong)
    }
    #expect(error?.location == "picture 2")
    #expect(error?.got == "label 10")
  }

  @Test func slicesAreTheirPictures() throws {
    let split = try randomSplit([9, 2, 3, 2], seed: 4)
    let part = split.slice(3..<7)
    #expect(part.images.elements(UInt8.self) == Array(split.images.elements(UInt8.self)[36..<84]))
    #expect(part.labels == Array(split.labels[3..<7]))
    #expect(part.images.shape == [4, 2, 3, 2])
  }

  @Test func normalizationIsThatOfTheDefinition() throws {
    let split = try randomSplit([50, 3, 5, 4], seed: 9)
    let normalization = ChannelNormalization(of: split)
    for channel in 0..<3 {
      let values = (0..<50).flatMap { picture in
        split.images.elements(UInt8.self)[((picture * 3 + channel) * 20)...].prefix(20).map(
          Double.init)
      }
      let mean = values.reduce(0, +) / 1000
      let variance = values.map { ($0 - mean) * ($0 - mean) }.reduce(0, +) / 1000
      #expect(abs(normalization.mean[channel] - mean) < 1e-10)
      #expect(abs(normalization.standardDeviation[channel] - variance.squareRoot()) < 1e-10)
    }
  }

  @Test func equalBytesHaveDeviationOne() throws {
    let images = Tensor([UInt8](repeating: 77, count: 12), shape: [3, 1, 2, 2])
    let normalization = ChannelNormalization(of: try DataSplit(images: images, labels: [0, 1, 2]))
    #expect(normalization.mean == [77])
    #expect(normalization.standardDeviation == [1])
    expectError(.attribute) { _ = try ChannelNormalization(mean: [1], standardDeviation: [0]) }
    expectError(.attribute) { _ = try ChannelNormalization(mean: [1], standardDeviation: [1, 2]) }
    expectError(.attribute) { _ = try ChannelNormalization(mean: [.nan], standardDeviation: [1]) }
  }
}

@Suite("The built-in digits")
struct DigitsTests {
  /// The numbers come from scikit-learn's `load_digits`.
  @Test func areThoseOfTheSource() {
    let digits = Digits.dataset
    #expect(digits.train.images.shape == [1437, 1, 8, 8])
    #expect(digits.test.images.shape == [360, 1, 8, 8])
    #expect(digits.train.labels.prefix(12) == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1])
    #expect(digits.test.labels.suffix(8) == [8, 8, 4, 9, 0, 8, 9, 8])
    let train = digits.train.images.elements(UInt8.self)
    let test = digits.test.images.elements(UInt8.self)
    #expect(train[8..<16] == [0, 0, 13, 15, 10, 15, 5, 0])
    #expect(test.suffix(8) == [0, 1, 8, 12, 14, 12, 1, 0])
    let all = (train + test).map(Int.init)
    #expect(all.reduce(0, +) == 561_718)
    #expect(all.max() == 16)
    #expect(all.enumerated().reduce(0) { $0 + $1.element * ($1.offset % 64 + 1) } == 18_222_371)
    #expect(all.enumerated().reduce(0) { $0 + $1.element * ($1.offset / 64) } == 503_342_547)
    #expect(abs(digits.normalization.mean[0] - 4.886177800974252) < 1e-12)
    #expect(abs(digits.normalization.standardDeviation[0] - 6.00811374129213) < 1e-12)
  }

  @Test func everyClassIsInBothParts() {
    func histogram(_ split: DataSplit) -> [Int] {
      (0..<10).map { label in split.labels.count { $0 == label } }
    }
    #expect(histogram(Digits.dataset.train) == [143, 146, 142, 146, 144, 145, 144, 143, 141, 143])
    #expect(histogram(Digits.dataset.test) == [35, 36, 35, 37, 37, 37, 37, 36, 33, 37])
  }

  @Test func damageOfTheResourceIsFound() {
    let bytes = PackageResources.digits_bin
    expectError(.file) { _ = try Digits.decoded(Array(bytes.dropLast())) }
    var copy = bytes
    copy[copy.count / 2] ^= 0x10
    expectError(.file) { _ = try Digits.decoded(copy) }
  }
}

@Suite("Data sources")
struct DataSourceTests {
  @Test func parsesEveryForm() throws {
    #expect(try DataSource.parse("digits") == .digits)
    #expect(try DataSource.parse("mnist:a/b c") == .mnist(directory: "a/b c"))
    #expect(try DataSource.parse("cifar10:../x:y") == .cifar10(directory: "../x:y"))
    #expect(try DataSource.parse("npy:a.npy,b.npy") == .npy(paths: "a.npy,b.npy"))
    let forms = ["cifar100:x", "idx:x", "npy:x", "folder:x/y"]
    for text in ["digits", "mnist:a", "cifar10:b:c"] + forms {
      #expect(try DataSource.parse(text).description == text)
    }
    #expect(try DataSource.digits.load().name == "digits")
    expectError(.file) { _ = try DataSource.mnist(directory: "no/such/folder").load() }
    expectError(.file) { _ = try DataSource.cifar10(directory: "no/such/folder").load() }
  }

  @Test(arguments: [
    ("digit", "Did you mean \"digits\"?"), ("mnits:x", "Did you mean \"mnist:DIR\"?"),
    ("CIFAR-10:x", "Did you mean \"cifar10:DIR\"?"), ("imagenet:x", ""),
    ("floder:x", "Did you mean \"folder:DIR\"?"), ("", ""), (":", ""),
    ("mnist", "Name the folder: mnist:DIR."), ("cifar10:", "Name the folder: cifar10:DIR."),
    ("digits:x", "The digits are built in and take no folder."),
  ])
  func listsTheFormsForAnotherText(text: String, fix: String) {
    let error = expectError(.name) { _ = try DataSource.parse(text) }
    #expect(error?.wanted == DataSource.forms.joined(separator: ", "))
    #expect(error?.fix == fix)
  }
}
