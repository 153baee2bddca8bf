import InPlaceABN
import Testing

@testable import ABNModels

/// What models compose of several operations.
@Suite struct PartsTests {
  @Test(arguments: [(0, 2), (1, 4), (2, 8)]) func dilation(stages: Int, height: Int) throws {
    let builder = ProgramBuilder(seed: 1)
    try builder.build {
      let images = try data("images", shape: [-1, 3, 64, 64])
      let maps = try ResNet(blocks: [1, 1, 1, 2]).features(
        images, ModelOptions(classes: 1), dilated: stages)
      #expect(maps.shape == Shape([-1, 2048, height, height]))
    }
    // The 3 x 3 convolutions of the last stage: the first keeps the dilation of the stage before.
    let dilations = builder.main.operations.compactMap { operation -> Int? in
      guard let kind = operation.kind as? Conv2D,
        builder.main[operation.inputs[1]].shape == [512, 512, 3, 3]
      else { return nil }
      return kind.window.dilation[0]
    }
    #expect(dilations == [[1, 1], [1, 2], [2, 4]][stages])
  }
}
