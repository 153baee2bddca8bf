import ABNGraph
import ABNOperators
import ABNTensors

/// Which elements share a slope of `prelu`; a string literal is its name.
public struct PReLUMode: Sendable, Hashable, ExpressibleByStringInterpolation {
  /// The name in Paddle's spelling, as given.
  package let name: String

  /// The mode of this name; whether there is one is checked when a layer uses it.
  public init(stringLiteral value: String) { name = value }

  /// One slope.
  public static let all: PReLUMode = "all"
  /// One slope a channel.
  public static let channel: PReLUMode = "channel"
  /// One slope an element of a sample.
  public static let element: PReLUMode = "element"
}

/// x where x > 0, else slope * x, with learnt slopes that begin at 0.25.
///
/// Shapes: the slopes are [1] (all); [1, C, 1, ...] or [1, ..., 1, C] (channel, NCHW or NHWC);
/// [1] and x's dimensions but the first (element).
///
/// - Throws: `ABNError(.attribute)` for an unknown mode, `.shape` where the dimensions that the
///   slopes take are unknown.
public func prelu(
  _ x: Variable, mode: PReLUMode = .all, paramAttr: ParamAttr = nil,
  dataLayout: DataLayout = .nchw, name: String? = nil, file: StaticString = #fileID,
  line: UInt = #line
) throws -> Variable {
  try layer("prelu", name: name, file: file, line: line) { c in
    let rank = x.shape.rank
    var shape = Shape([1])
    switch mode {
    case .all: break
    case .channel:
      guard rank >= 2 else {
        throw ABNError(
          .shape, "input", got: "shape \(x.shape)", wanted: "rank 2 or more for a slope a channel")
      }
      let axis = dataLayout.channelAxis(rank: rank)
      shape = Shape((0..<rank).map { $0 == axis ? x.shape[axis] : 1 })
    case .element:
      shape = Shape([1] + x.shape.dimensions.dropFirst())
    default:
      throw ABNError(
        unknown: mode.name, "mode", names: [PReLUMode.all, .channel, .element].map(\.name),
        category: .attribute)
    }
    guard shape.isKnown else {
      throw ABNError(
        .shape, "input", got: "shape \(x.shape)",
        wanted: "known sizes for the slopes \(shape) of mode \(mode.name)")
    }
    let slopes = try c.parameter(
      paramAttr, suffix: "w", shape: shape, dtype: x.dtype.accumulation,
      initializer: .constant(0.25))
    return try c.append(PReLU(), x, slopes)
  }
}
