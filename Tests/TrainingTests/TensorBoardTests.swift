import ABNTestSupport
import Foundation
import InPlaceABN
import Testing

@testable import ABNImages
@testable import ABNTraining

/// TensorBoard itself reads what is written for it, where `python3` has it.
@Suite struct TensorBoardTests {
  /// Whether it is installed; says so where it is not.
  private static let isInstalled: Bool = {
    let isThere = (try? run(["-c", "import tensorboard"]).status) == 0
    if !isThere { print("skipped: python3 has no tensorboard") }
    return isThere
  }()

  private static func run(_ words: [String]) throws -> (status: Int32, output: Data) {
    let process = Process()
    process.executableURL = URL(filePath: "/usr/bin/env")
    process.arguments = ["python3"] + words
    let pipe = Pipe()
    process.standardOutput = pipe
    process.standardError = FileHandle.nullDevice
    try process.run()
    let output = pipe.fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    return (process.terminationStatus, output)
  }

  /// Everything that TensorBoard knows of a folder.
  private static let script = """
    import json, sys
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    all = dict(scalars=0, images=0, histograms=0, tensors=0, compressedHistograms=1)
    a = EventAccumulator(sys.argv[1], size_guidance=all)
    a.Reload()
    tags = a.Tags()
    print(json.dumps(dict(
      scalars={t: [[e.step, e.value] for e in a.Scalars(t)] for t in tags["scalars"]},
      images={t: [[e.step, e.width, e.height, list(e.encoded_image_string)]
                  for e in a.Images(t)] for t in tags["images"]},
      histograms={t: [[e.step, e.histogram_value.min, e.histogram_value.max,
                       e.histogram_value.num, e.histogram_value.sum,
                       sum(e.histogram_value.bucket)] for e in a.Histograms(t)]
                  for t in tags["histograms"]},
      texts={t: [e.tensor_proto.string_val[0].decode() for e in a.Tensors(t)]
             for t in tags["tensors"]})))
    """

  @Test func readsARunThatWentOn() throws {
    guard Self.isInstalled else { return }
    try withTemporaryFolder { folder in
      try RecordTests.writeRun(folder)
      let (status, output) = try Self.run(["-c", Self.script, folder])
      #expect(status == 0)
      let found = try #require(JSONSerialization.jsonObject(with: output) as? [String: Any])
      let scalars = try #require(found["scalars"] as? [String: [[Double]]])
      // The points after the resumed step are there once.
      #expect(scalars["train/loss"]?.map { $0[0] } == [2, 4, 6, 8, 10, 12, 14, 16, 18, 20])
      #expect(scalars["train/loss"]?[3] == [8, 0.25])
      #expect(scalars["val/accuracy"] == [[7, 0.125], [14, 0.25], [21, 0.375]])
      let rates = scalars["learning_rate"]?.map { Int(($0[0] * $0[1] * 1000).rounded()) }
      #expect(rates == Array(repeating: 100, count: 10))
      let images = try #require(found["images"] as? [String: [[Any]]])
      #expect(images["train/0"]?.map { $0[0] as? Int } == [7, 14, 21])
      let png = try #require(images["train/0"]?[0][3] as? [Int])
      try Data(png.map { UInt8($0) }).write(to: URL(filePath: folder + "/picture.png"))
      #expect(try Picture.read(folder + "/picture.png") == RecordTests.picture)
      let histograms = try #require(found["histograms"] as? [String: [[Double]]])
      #expect(histograms.keys.sorted() == ["weights/fc.w"])
      #expect(histograms["weights/fc.w"]?.first == [7, -0.5, 7, 3, 6.75, 3])
      let texts = try #require(found["texts"] as? [String: [String]])
      #expect(texts["settings"]?.first?.contains("| lr | 0.1 |") == true)
    }
  }
}
