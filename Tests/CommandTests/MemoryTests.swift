import Foundation
import Testing

/// Measured against planned memory, each in a fresh process: `scripts/memory` does it for all models.
@Suite(.serialized) struct MemoryTests {
  static let cases = [
    "lenet inplace 1500 28", "lenet standard 1500 28", "resnet20 inplace 128 32",
    "resnet20 standard 64 32", "mobilenetv2 inplace 96 48",
  ]

  /// Three training steps need what was planned, within 3 % above and below.
  @Test(arguments: cases) func thePlanIsTheTruth(_ text: String) throws {
    let words = text.split(separator: " ").map(String.init)
    let run = try Workplace().abn(
      "bench", "memory", "--model", words[0], "--norm", words[1], "--batch-size", words[2],
      "--image-size", words[3], "--steps", "3", "--json")
    #expect(run.status == 0, "\(run.errors)")
    let json = try run.json()
    func bytes(_ key: String) throws -> Double { Double(try #require(json[key] as? Int, "\(key)")) }
    let measured = try bytes("measuredPeakBytes") - bytes("baseBytes")
    let ratio = try measured / bytes("plannedPeakBytes")
    #expect((0.97...1.03).contains(ratio), "\(text): \(ratio) of the plan")
    #expect(try bytes("loadedBytes") <= bytes("baseBytes"))
  }

  /// A training run needs what it says before it starts: steps, batches ahead, evaluation, saving.
  @Test func aTrainingRunNeedsWhatItSays() throws {
    let place = try Workplace()
    // Random photographs in the form of CIFAR-10: a byte for the class, three planes of 32 x 32.
    var state: UInt64 = 1
    func photographs(_ count: Int) -> [UInt8] {
      (0..<count * 3073).map { position in
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return UInt8(truncatingIfNeeded: position % 3073 == 0 ? state >> 33 % 10 : state >> 33)
      }
    }
    try place.write("data/data_batch_1.bin", photographs(1024))
    try place.write("data/test_batch.bin", photographs(192))
    try place.write("data/batches.meta.txt", Array((0..<10).map { "class\($0)\n" }.joined().utf8))
    let run = try place.abn(
      "train", "--data", "cifar10:data", "--model", "resnet20", "--batch-size", "256", "--epochs",
      "2", "--output", "run", "--json")
    #expect(run.status == 0, "\(run.errors)")
    let json = try run.lastJSON()
    func bytes(_ key: String) throws -> Double { Double(try #require(json[key] as? Int, "\(key)")) }
    // Four batches of 3 MiB beside the step; an epoch has as many. The 3 MiB of code and stacks that first
    // steps touch, more in unoptimized code, are a hundredth of such a plan.
    #expect(try bytes("plannedPeakBytes") - bytes("plannedStepBytes") > 4 * 256 * 3072 * 4)
    let measured = try bytes("measuredPeakBytes") - bytes("baseBytes")
    let ratio = try measured / bytes("plannedPeakBytes")
    #expect((0.97...1.03).contains(ratio), "\(ratio) of the plan")
  }
}
