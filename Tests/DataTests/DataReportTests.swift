import ABNImages
import ABNTensors
import Testing

@testable import ABNData

@Suite struct DataReportTests {
  @Test func countsSizesAndBrokenFiles() throws {
    let folder = try TemporaryFolder()
    try folder.writeClasses()
    try folder.write("train/class2/0.jpg", [])
    try folder.write("val/class10/1.png", Array("text".utf8))
    try folder.write("val/class10/x.gif", [1])
    let source = DataSource.folder(directory: folder.path)
    let report = try DataReport(source, DataOptions())
    #expect(report.classNames == ["class2", "class10"])
    #expect(report.parts.map(\.pictures) == [8, 4] && report.brokenCount == 2)
    #expect(report.parts[0].classCounts == [3, 5] && report.parts[1].classCounts == [3, 1])
    #expect(report.parts[0].broken[0].contains("train/class2/0.jpg\": got an empty file"))
    #expect(report.parts[1].broken[0].contains("text that begins with"))
    #expect(report.parts[0].kinds == ["JPEG": 4, "PNG": 4])
    // 23 x 38 comes twice and has 874 pixels, 32 x 32 has 1024.
    #expect(report.parts[0].sizes.first == PictureSize(height: 20, width: 40))
    #expect(report.parts[0].sizes.last == PictureSize(height: 32, width: 32))
    #expect(report.notes.count == 1)
    // Mean and deviation, in another way.
    var values: [[Double]] = [[], [], []]
    let data = try source.load(DataOptions())
    for index in 0..<data.train.count where index != 0 {
      let bytes = try data.train.source.original(index).picture.pixels
      for (i, byte) in bytes.enumerated() { values[i % 3].append(Double(byte)) }
    }
    for c in 0..<3 {
      let mean = values[c].reduce(0, +) / Double(values[c].count)
      let variance =
        values[c].reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(values[c].count)
      #expect(abs(report.mean[c] - mean) < 1e-9)
      #expect(abs(report.deviation[c] - variance.squareRoot()) < 1e-9)
    }
  }

  @Test func arraysHaveTheirOwnNumbers() throws {
    let report = try DataReport(.digits, DataOptions())
    let known = Digits.dataset.normalization
    #expect(report.parts.map(\.pictures) == [1437, 360])
    #expect(abs(report.mean[0] - known.mean[0]) < 1e-9)
    #expect(abs(report.deviation[0] - known.standardDeviation[0]) < 1e-9)
  }

  /// A sheet shows the bytes of the pictures, side by side.
  @Test func sheets() throws {
    let split = try randomSplit([5, 3, 4, 6], seed: 3)
    let normalization = ChannelNormalization(of: split)
    let batch = try BatchLoader(
      split, normalization: normalization, options: .init(batchSize: 5, isShuffled: false)
    ).batch(0, ofEpoch: 0)
    let rule = PictureRule(channels: 3, geometry: split.geometry, normalization: normalization)
    let sheet = try ContactSheet.make(batch.images, rule, columns: 3)
    #expect(sheet.size == PictureSize(height: 2 * 6 + 2, width: 3 * 8 + 2))
    for i in 0..<5 {
      let picture = try split.source.picture(i)
      let part = PictureRegion(top: 2 + i / 3 * 6, left: 2 + i % 3 * 8, size: picture.size)
      #expect(sheet.cut(part) == picture)
    }
    #expect(sheet[0, 0] == [255, 255, 255] && sheet[13, 25] == [255, 255, 255])
  }
}
