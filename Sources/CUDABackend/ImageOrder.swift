import ABNTensors

/// How a variable [N, C, ...] of rank 3 or more stands in memory.
///
/// The rank and the sizes of a variable never change: a variable of NCHW operators that stands
/// channels last has the bytes that NHWC has. Variables of NHWC operators are always row-major.
enum ImageOrder: Sendable, Hashable {
  /// In the order of the variable's dimensions.
  case rowMajor
  /// [N, ..., C]: the channels of axis 1 beside one another.
  case channelsLast
}

/// How the kernels of an operator walk its images, and with that in which order they take them.
enum ImageWalk: Sendable, Hashable {
  /// By axes, as the dimensions number them: row-major images alone.
  case rowMajor
  /// Element by element: all images of the operator stand in one order, which does not matter.
  case anyOrder
  /// Channel by channel, the channels being where the layout has them.
  case channels(DataLayout)

  /// Whether images of this rank may stand channels last.
  func takesChannelsLast(rank: Int) -> Bool {
    guard rank >= 3 else { return false }
    return switch self {
    case .rowMajor: false
    case .anyOrder: true
    case .channels(let layout): layout.channelAxis(rank: rank) == 1
    }
  }
}

/// An image as kernels walk it: [batch][channels][spatial], or [batch][spatial][channels].
struct ImageGeometry: Sendable, Hashable {
  let batch: Int
  let channels: Int
  /// Elements of one channel of one sample.
  let spatial: Int
  /// Whether the channels stand beside one another.
  let isChannelsLast: Bool

  /// - Parameters:
  ///   - layout: where the operator has the channels.
  ///   - order: how the variable stands in memory.
  init(_ shape: Shape, _ layout: DataLayout, _ order: ImageOrder) {
    let axis = layout.channelAxis(rank: shape.rank)
    batch = shape[0]
    channels = shape[axis]
    spatial = shape.dimensions.enumerated().reduce(1) {
      $1.offset == 0 || $1.offset == axis ? $0 : $0 * $1.element
    }
    // One element a channel of a sample: both are the same bytes, and rows are walked faster.
    isChannelsLast = order == .channelsLast || axis != 1 || spatial == 1
  }
}
