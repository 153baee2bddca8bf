/// Parameters and multiply-adds counted from a paper's table, where nobody publishes both: layer by
/// layer, with sizes that no program has computed. `DenseNet-121`, which is published, checks it.
struct Ledger {
  var parameters = 0
  var multiplyAdds = 0

  /// A convolution to `height` x `height` pixels.
  mutating func conv(
    _ inputs: Int, _ outputs: Int, _ size: Int, height: Int, bias: Bool = false
  ) {
    parameters += inputs * outputs * size * size + (bias ? outputs : 0)
    multiplyAdds += height * height * inputs * outputs * size * size
  }

  /// Scale and shift.
  mutating func norm(_ channels: Int) { parameters += 2 * channels }

  /// A fully connected layer to the 1,000 classes of ImageNet.
  mutating func classes(_ inputs: Int) {
    parameters += inputs * 1000 + 1000
    multiplyAdds += inputs * 1000
  }

  /// Huang et al., table 1, growth 32, at 224 x 224.
  static func denseNet(_ layers: [Int]) -> Ledger {
    var sum = Ledger()
    var (channels, height) = (64, 56)
    sum.conv(3, 64, 7, height: 112)
    sum.norm(64)
    for (block, count) in layers.enumerated() {
      if block > 0 {
        sum.norm(channels)
        sum.conv(channels, channels / 2, 1, height: height)
        (channels, height) = (channels / 2, height / 2)
      }
      for _ in 0..<count {
        sum.norm(channels)
        sum.conv(channels, 128, 1, height: height)
        sum.norm(128)
        sum.conv(128, 32, 3, height: height)
        channels += 32
      }
    }
    sum.norm(channels)
    sum.classes(channels)
    return sum
  }

  /// Wu et al., table 1, model A, up to the last normalization.
  static func wideResNet38(height: Int, isDilated: Bool) -> Ledger {
    var sum = Ledger()
    sum.conv(3, 64, 3, height: height)
    var (inputs, height) = (64, height)
    let groups = [
      (3, [128, 128]), (3, [256, 256]), (6, [512, 512]), (3, [512, 1024]),
      (1, [512, 1024, 2048]), (1, [1024, 2048, 4096]),
    ]
    for (group, (blocks, channels)) in groups.enumerated() {
      if group < (isDilated ? 3 : 5) { height /= 2 }
      for block in 0..<blocks {
        let widths = [inputs] + channels
        for (index, width) in channels.enumerated() {
          sum.norm(widths[index])
          let isSpatial = channels.count == 2 || index == 1
          sum.conv(widths[index], width, isSpatial ? 3 : 1, height: height)
        }
        // Every group but the sixth changes its channels or halves the image, and that one does too.
        if block == 0 { sum.conv(inputs, channels.last!, 1, height: height) }
        inputs = channels.last!
      }
    }
    sum.norm(inputs)
    return sum
  }

  /// Chen et al., section 3.3, with a 3 x 3 more, for 21 classes.
  mutating func deepLabHead(_ inputs: Int, height: Int) {
    for size in [1, 3, 3, 3] { conv(inputs, 256, size, height: height) }
    conv(inputs, 256, 1, height: 1)
    conv(5 * 256, 256, 1, height: height)
    conv(256, 256, 3, height: height)
    for _ in 0..<7 { norm(256) }
    conv(256, 21, 1, height: height, bias: true)
  }

  /// Ronneberger et al., figure 1, normalized, on one channel and for two classes.
  static func uNet(height: Int) -> Ledger {
    var sum = Ledger()
    func two(_ inputs: Int, _ outputs: Int, height: Int) {
      sum.conv(inputs, outputs, 3, height: height)
      sum.conv(outputs, outputs, 3, height: height)
      for _ in 0..<2 { sum.norm(outputs) }
    }
    for depth in 0..<5 {
      two(depth == 0 ? 1 : 32 << depth, 64 << depth, height: height >> depth)
    }
    for depth in (0..<4).reversed() {
      // 2 x 2 pixels of half the channels from each pixel below.
      sum.conv(128 << depth, 4 * (64 << depth), 1, height: height >> (depth + 1))
      two(128 << depth, 64 << depth, height: height >> depth)
    }
    sum.conv(64, 2, 1, height: height, bias: true)
    return sum
  }

  /// Ridnik et al., table 2, M, at 224 x 224; the blur's filters are not trained.
  static func tResNetM() -> Ledger {
    var sum = Ledger()
    var (inputs, height) = (64, 56)
    sum.conv(48, 64, 3, height: height)
    sum.norm(64)
    func excitation(_ channels: Int, _ hidden: Int) {
      sum.conv(channels, hidden, 1, height: 1, bias: true)
      sum.conv(hidden, channels, 1, height: 1, bias: true)
    }
    for (stage, blocks) in [3, 4, 11, 3].enumerated() {
      let width = 64 << stage
      let outputs = stage < 2 ? width : 4 * width
      for block in 0..<blocks {
        let before = height
        if stage > 0 && block == 0 {
          height /= 2
          sum.multiplyAdds += height * height * width * 9
        }
        if stage < 2 {
          sum.conv(inputs, width, 3, height: before)
          sum.conv(width, width, 3, height: height)
          for _ in 0..<2 { sum.norm(width) }
          excitation(width, 64)
        } else {
          sum.conv(inputs, width, 1, height: before)
          sum.conv(width, width, 3, height: before)
          sum.conv(width, outputs, 1, height: height)
          for channels in [width, width, outputs] { sum.norm(channels) }
          if stage == 2 { excitation(width, 128) }
        }
        if inputs != outputs {
          sum.conv(inputs, outputs, 1, height: height)
          sum.norm(outputs)
        }
        inputs = outputs
      }
    }
    sum.classes(inputs)
    return sum
  }
}
