/// Parameters and multiply-adds counted from a paper's table, where nobody publishes both: layer by
/// layer, with sizes that no program has computed. `DenseNet-121`, which is published, checks it.
struct Ledger {
  var parameters = 0
  var multiplyAdds = 0

  /// A convolution to `height` x `height` pixels.
  mutating func conv(
    _ inputs: Int, _ outputs: Int, _ size: Int, height: Int, bias: Bool = false
  ) {
    conv(inputs, outputs, size, pixels: height * height, bias: bias)
  }

  /// A convolution to so many pixels.
  mutating func conv(
    _ inputs: Int, _ outputs: Int, _ size: Int, pixels: Int, bias: Bool = false
  ) {
    parameters += inputs * outputs * size * size + (bias ? outputs : 0)
    multiplyAdds += pixels * inputs * outputs * size * size
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
  ///
  /// - Parameter halvings: how many of the groups halve the image: 5, or fewer of a dilated one.
  static func wideResNet38(height: Int, halvings: Int) -> Ledger {
    var sum = Ledger()
    sum.conv(3, 64, 3, height: height)
    var (inputs, height) = (64, height)
    let groups = [
      (3, [128, 128]), (3, [256, 256]), (6, [512, 512]), (3, [512, 1024]),
      (1, [512, 1024, 2048]), (1, [1024, 2048, 4096]),
    ]
    for (group, (blocks, channels)) in groups.enumerated() {
      if group < halvings { height /= 2 }
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

  /// He et al. 2016, table 1, bottlenecks, up to the last sum; `stride` pixels of the image for each
  /// of the last maps'.
  static func resNet(_ blocks: [Int], height: Int, stride: Int) -> Ledger {
    var sum = Ledger()
    sum.conv(3, 64, 7, height: height / 2)
    sum.norm(64)
    var (inputs, last) = (64, height / 4)
    for (stage, count) in blocks.enumerated() {
      let (width, own) = (64 << stage, height / min(4 << stage, stride))
      for block in 0..<count {
        sum.conv(inputs, width, 1, height: last)
        sum.conv(width, width, 3, height: own)
        sum.conv(width, 4 * width, 1, height: own)
        for channels in [width, width, 4 * width] { sum.norm(channels) }
        if block == 0 {
          sum.conv(inputs, 4 * width, 1, height: own)
          sum.norm(4 * width)
        }
        (inputs, last) = (4 * width, own)
      }
    }
    return sum
  }

  /// Chen et al. 2018, for 21 classes, behind maps `height` high.
  mutating func deepLabPlusHead(_ inputs: Int, height: Int, lowHeight: Int) {
    for size in [1, 3, 3, 3] { conv(inputs, 256, size, height: height) }
    conv(inputs, 256, 1, height: 1)
    conv(5 * 256, 256, 1, height: height)
    conv(256, 48, 1, height: lowHeight)
    conv(256 + 48, 256, 3, height: lowHeight)
    conv(256, 256, 3, height: lowHeight)
    for channels in Array(repeating: 256, count: 8) + [48] { norm(channels) }
    conv(256, 21, 1, height: lowHeight, bias: true)
  }

  /// Oršić et al., with a ResNet of 18 layers.
  ///
  /// - Parameters:
  ///   - isFine: whether the way up ends half the image high, with half of the channels.
  ///   - pixels: of the maps 2, 4, 8, 16 and 32 times smaller than the image.
  ///   - cells: of the three means.
  static func swiftNet(
    width: Int, up: Int, hasDeepStem: Bool, isFine: Bool, pixels: [Int], cells: [Int], classes: Int
  ) -> Ledger {
    var sum = Ledger()
    func convNorm(_ inputs: Int, _ outputs: Int, _ size: Int, _ pixels: Int) {
      sum.conv(inputs, outputs, size, pixels: pixels)
      sum.norm(outputs)
    }
    if hasDeepStem {
      convNorm(3, width / 2, 3, pixels[0])
      convNorm(width / 2, width / 2, 3, pixels[0])
      convNorm(width / 2, width, 3, pixels[0])
    } else {
      convNorm(3, width, 7, pixels[0])
    }
    for stage in 0..<4 {
      let (own, inputs) = (width << stage, stage == 0 ? width : width << (stage - 1))
      convNorm(inputs, own, 3, pixels[stage + 1])
      for _ in 0..<3 { convNorm(own, own, 3, pixels[stage + 1]) }
      if stage > 0 { convNorm(inputs, own, 1, pixels[stage + 1]) }
    }
    convNorm(8 * width, up, 1, pixels[4])
    for count in cells { convNorm(up, up / 3, 1, count) }
    sum.conv(up + 3 * (up / 3), up, 1, pixels: pixels[4])
    for stage in 0..<3 {
      sum.conv(width << stage, up, 1, pixels: pixels[stage + 1])
      sum.norm(up)
      sum.conv(up, stage == 0 && isFine ? up / 2 : up, 3, pixels: pixels[stage + 1])
    }
    let last = isFine ? up / 2 : up
    if isFine {
      sum.conv(width, last, 1, pixels: pixels[0])
      convNorm(last, last, 3, pixels[0])
    }
    sum.norm(last)
    sum.conv(last, classes, 1, pixels: pixels[isFine ? 0 : 1], bias: true)
    return sum
  }

  /// Ronneberger et al., figure 1, normalized, on one channel and for two classes.
  static func uNet(height: Int, width: Int = 64) -> Ledger {
    var sum = Ledger()
    func two(_ inputs: Int, _ outputs: Int, height: Int) {
      sum.conv(inputs, outputs, 3, height: height)
      sum.conv(outputs, outputs, 3, height: height)
      for _ in 0..<2 { sum.norm(outputs) }
    }
    for depth in 0..<5 {
      two(depth == 0 ? 1 : width << (depth - 1), width << depth, height: height >> depth)
    }
    for depth in (0..<4).reversed() {
      // 2 x 2 pixels of half the channels from each pixel below.
      sum.conv(2 * width << depth, 4 * (width << depth), 1, height: height >> (depth + 1))
      two(2 * width << depth, width << depth, height: height >> depth)
    }
    sum.conv(width, 2, 1, height: height, bias: true)
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
