import ABNGraph
import ABNLayers
import ABNTensors

/// Ridnik, Lawen, Noy, Ben Baruch, Sharir, Friedman, "TResNet: High Performance GPU-Dedicated
/// Architecture" (WACV 2021, arXiv 2003.13630), table 2: blocks of 4 x 4 pixels as channels, basic
/// blocks in the first two stages and bottlenecks in the last two, squeeze and excitation in the
/// first three, and a fixed blur where the image is halved.
///
/// The authors train it with in-place normalization and leaky_relu of slope 0.001, and relu after
/// sums; here the activation of the options stands in all these places.
struct TResNet {
  /// Blocks in the four stages.
  let blocks: [Int]
  /// The width of the first stage; each later one is twice as wide.
  var width = 64
  let options: ModelOptions

  /// From images [N, 3, H, W], H and W multiples of 4, to logits [N, classes].
  func logits(_ images: Variable) throws -> Variable {
    var x = try options.convNorm(spaceToDepth(images, 4), width, 3)
    for (stage, count) in blocks.enumerated() {
      for index in 0..<count {
        x = try block(
          x, width << stage, stride: stage > 0 && index == 0 ? 2 : 1, isBottleneck: stage >= 2,
          isSqueezed: stage < 3)
      }
    }
    return try options.classified(x)
  }

  /// From x [N, C, H, W] to [N, outputs, H / stride, W / stride].
  func block(
    _ x: Variable, _ width: Int, stride: Int, isBottleneck: Bool, isSqueezed: Bool
  ) throws -> Variable {
    let outputs = isBottleneck ? 4 * width : width
    var y = isBottleneck ? try options.convNorm(x, width, 1) : x
    y = try options.convNorm(y, width, 3)
    if stride == 2 { y = try blurred(y) }
    if isBottleneck {
      if isSqueezed { y = try excited(y, squeezedTo: max(outputs / 8, 64)) }
      y = try options.convNorm(y, outputs, 1, act: .identity)
    } else {
      y = try options.convNorm(y, width, 3, act: .identity)
      if isSqueezed { y = try excited(y, squeezedTo: max(outputs / 4, 64)) }
    }
    var shortcut = x
    if stride == 2 {
      shortcut = try pool2d(
        x, poolSize: 2, poolType: .average, poolStride: 2, ceilMode: true, exclusive: true)
    }
    if stride == 2 || x.shape[1] != outputs {
      shortcut = try options.convNorm(shortcut, outputs, 1, act: .identity)
    }
    return try options.activated(elementwiseAdd(y, shortcut))
  }

  /// Each channel times a gate of the means of all: Hu, Shen, Sun, "Squeeze-and-Excitation
  /// Networks" (CVPR 2018, arXiv 1709.01507), section 3.
  func excited(_ x: Variable, squeezedTo width: Int) throws -> Variable {
    let mean = try pool2d(x, poolType: .average, globalPooling: true)
    let hidden = try conv2d(mean, numFilters: width, filterSize: 1, act: .relu)
    let gate = try conv2d(hidden, numFilters: x.shape[1], filterSize: 1, act: .sigmoid)
    return try elementwiseMul(x, gate)
  }

  /// Every other pixel of x after [1, 2, 1] / 4 along both axes, the image mirrored at its edges:
  /// Zhang, "Making Convolutional Networks Shift-Invariant Again" (ICML 2019, arXiv 1904.11486).
  func blurred(_ x: Variable) throws -> Variable {
    let channels = x.shape[1]
    var padded = x
    for axis in [2, 3] {
      let size = x.shape[axis]
      let first = try slice(padded, axes: [axis], starts: [1], ends: [2])
      let last = try slice(padded, axes: [axis], starts: [size - 2], ends: [size - 1])
      // Windows of 3 in steps of 2 do not reach the last pixel of an even size.
      padded = try concat([first, padded] + (size % 2 == 0 ? [] : [last]), axis: axis)
    }
    let taps = [1, 2, 1, 2, 4, 2, 1, 2, 1].map { Float($0) / 16 }
    let filters = Tensor(
      (0..<channels * 9).map { taps[$0 % 9] }, shape: [channels, 1, 3, 3])
    return try conv2d(
      padded, numFilters: channels, filterSize: 3, stride: 2, groups: channels,
      paramAttr: ParamAttr(initializer: .array(filters), trainable: false, doModelAverage: false),
      biasAttr: .absent)
  }
}

extension Model {
  /// TResNet-M: 31,389,032 parameters. See `TResNet`.
  public static let tresnetm = Model(
    name: "tresnetm", summary: "residual network with blurs and gates, made for in-place norms",
    image: [3, 224, 224], classes: 1000, sizes: ImageSizes(multiple: 4, least: 20)
  ) { images, options in
    try TResNet(blocks: [3, 4, 11, 3], options: options).logits(images)
  }
}
