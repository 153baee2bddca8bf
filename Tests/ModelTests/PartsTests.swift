import ABNTestSupport
import InPlaceABN
import Testing

@testable import ABNModels

/// What models compose of several operators.
@Suite struct PartsTests {
  @Test func blocksOfPixelsAndGroupsOfChannels() throws {
    // Element = 100 channel + 10 row + column.
    let values = (0..<32).map { (i: Int) -> Float in
      let (channel, row, column) = (i / 16, i / 4 % 4, i % 4)
      return Float(100 * channel + 10 * row + column)
    }
    let image = Tensor(values, shape: [1, 2, 4, 4])
    let packed = try evaluate([image]) { [try spaceToDepth($0[0], 2)] }[0]
    #expect(packed.shape == [1, 8, 2, 2])
    // Group 2 row + column within the block, then the channel.
    #expect(Array(packed.doubles[0..<4]) == [0, 2, 20, 22])
    #expect(Array(packed.doubles[4..<8]) == [100, 102, 120, 122])
    #expect(Array(packed.doubles[28..<32]) == [111, 113, 131, 133])

    let spread = try evaluate([packed]) { [try depthToSpace($0[0], 2)] }[0]
    #expect(spread.shape == [1, 2, 4, 4])
    // Four neighbouring channels become 2 x 2 pixels: channels 0, 1 are groups (0, 0), 2, 3 (0, 1).
    #expect(Array(spread.doubles[0..<8]) == [0, 100, 2, 102, 1, 101, 3, 103])
  }

  @Test(arguments: [4, 5]) func blur(size: Int) throws {
    let options = ModelOptions(classes: 1)
    let half = (size + 1) / 2
    func blurred(_ values: [Float]) throws -> Tensor {
      try evaluate([Tensor(values, shape: Shape([1, 1, size, size]))]) {
        [try TResNet(blocks: [], options: options).blurred($0[0])]
      }[0]
    }
    // Mirrored edges leave a constant as it is.
    let constant = try blurred(Array(repeating: 3, count: size * size))
    #expect(constant.shape == Shape([1, 1, half, half]))
    #expect(constant.doubles.allSatisfy { $0 == 3 })
    // A pixel at (1, 1) is seen beside (0, 0), mirrored, (0, 2), (2, 0) and (2, 2).
    var point = [Float](repeating: 0, count: size * size)
    point[size + 1] = 16
    let seen = try blurred(point).doubles
    #expect([seen[0], seen[1], seen[half], seen[half + 1]] == [4, 2, 2, 1])
  }

  @Test(arguments: [(0, 2), (1, 4), (2, 8)]) func dilation(stages: Int, height: Int) throws {
    let builder = ProgramBuilder(seed: 1)
    try builder.build {
      let images = try data("images", shape: [-1, 3, 64, 64])
      let maps = try ResNet(blocks: [1, 1, 1, 2]).features(
        images, ModelOptions(classes: 1), dilated: stages)
      #expect(maps.shape == Shape([-1, 2048, height, height]))
    }
    // The 3 x 3 convolutions of the last stage: the first keeps the dilation of the stage before.
    let dilations = builder.main.operators.compactMap { op -> Int? in
      guard let kind = op.kind as? Conv2D,
        builder.main[op.inputs[1]].shape == [512, 512, 3, 3]
      else { return nil }
      return kind.window.dilation[0]
    }
    #expect(dilations == [[1, 1], [1, 2], [2, 4]][stages])
  }
}
