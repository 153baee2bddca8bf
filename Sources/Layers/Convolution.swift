import ABNActivations
import ABNGraph
import ABNOperators
import ABNTensors

/// A number for both spatial axes (`3`), or one for each (`[3, 1]`: height, width).
public protocol Pair: Sendable {
  /// Height and width; as given where there are not two.
  var heightAndWidth: [Int] { get }
}

extension Int: Pair {
  public var heightAndWidth: [Int] { [self, self] }
}

extension Array: Pair where Element == Int {
  public var heightAndWidth: [Int] { count == 1 ? [self[0], self[0]] : self }
}

/// A two-dimensional convolution (cross-correlation) with bias and activation. See `Conv2D`.
///
/// Weight `conv2d_<n>.w_0` of shape [numFilters, C / groups, kh, kw] in both layouts, by default
/// normal with deviation sqrt(2 / (C kh kw)) as in Paddle; bias `conv2d_<n>.b_0` of shape
/// [numFilters], by default 0.
///
/// - Parameters:
///   - input: [N, C, H, W], or [N, H, W, C] for `.nhwc`; C must be known.
///   - filterSize: kh and kw.
///   - padding: zeros around the image; `.same` for an output of ceil(input / stride).
///   - groups: splits channels and filters into groups that do not see each other.
///   - biasAttr: `ParamAttr.absent` for no bias, as before a normalization.
///   - act: applied last; prelu, which has a parameter, is an error. A name in its place, as
///     `"relu"`: with the number that `Activation` has unless told.
public func conv2d(
  _ input: Variable, numFilters: Int, filterSize: some Pair, stride: some Pair = 1,
  padding: some PaddingConvertible = 0,
  dilation: some Pair = 1, groups: Int = 1, paramAttr: ParamAttr = nil, biasAttr: ParamAttr = nil,
  act: Activation? = nil, name: String? = nil, dataLayout: DataLayout = .nchw,
  file: StaticString = #fileID, line: UInt = #line
) throws -> Variable {
  try layer("conv2d", name: name, file: file, line: line) { c in
    guard numFilters > 0, groups > 0, numFilters % groups == 0 else {
      throw c.error(
        .attribute, "numFilters", got: "\(numFilters) in \(groups) groups",
        wanted: "a positive multiple of the groups")
    }
    guard input.shape.rank == 4, input.shape[dataLayout.channelAxis(rank: 4)] > 0 else {
      throw c.error(
        .shape, "input", got: "\(input.shape)", wanted: "rank 4 with known channels",
        fix: "Layout is \(dataLayout.rawValue).")
    }
    let channels = input.shape[dataLayout.channelAxis(rank: 4)]
    guard channels % groups == 0 else {
      throw c.error(
        .shape, "input", got: "\(channels) channels", wanted: "a multiple of \(groups) groups")
    }
    let kernel = filterSize.heightAndWidth
    let kind = try Conv2D(
      window: Window2D(
        kernel: kernel, stride: stride.heightAndWidth, dilation: dilation.heightAndWidth,
        padding: padding.asPadding),
      groups: groups, layout: dataLayout)
    // Not yet known to be the sizes of a weight.
    let taps = Double(channels) * Double(kernel[0]) * Double(kernel[1])
    let weight = try c.weight(
      paramAttr, suffix: "w",
      shape: [numFilters, channels / groups, kernel[0], kernel[1]], dtype: input.dtype,
      initializer: .normal(deviation: (2 / taps).squareRoot()))
    var inputs = [input, weight]
    if !biasAttr.isAbsent {
      inputs.append(
        try c.weight(
          biasAttr, suffix: "b", shape: [numFilters], dtype: input.dtype,
          initializer: .constant(0)))
    }
    return try activated(c.append(kind, inputs)[0], act, in: c)
  }
}
