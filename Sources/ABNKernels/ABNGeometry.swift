/// Where the channel stands in memory.
public enum ABNLayout: Hashable, Sendable {
  /// `[outer, channels, spatial]`: NC, NCL, NCHW, NCDHW.
  case channelSecond
  /// `[outer, spatial, channels]`: NC, NLC, NHWC, NDHWC.
  case channelLast
  /// `[outer, ceil(channels / size), spatial, size]`: nChw8c, nChw16c; size is 8 or 16. Lanes past
  /// the last channel are padding: read but never used, and zero after every function that writes.
  case blocked(Int)
}

/// The shape of a tensor as the layer sees it: `outer` (batch) times `channels` times `spatial`
/// (product of the rest), densely packed in `layout`. Rank 2 has `spatial` 1.
public struct ABNGeometry: Hashable, Sendable {
  /// Product of the dimensions before the channel: the batch.
  public let outer: Int
  /// Number of channels; scale, bias and statistics have this many values.
  public let channels: Int
  /// Product of the remaining dimensions; 1 for rank 2.
  public let spatial: Int
  /// Where the channel stands.
  public let layout: ABNLayout
  /// Elements of the buffer, padding of blocked layouts included.
  public let elementCount: Int

  /// Checks the sizes. Zero is allowed anywhere: an empty tensor.
  ///
  /// Throws `KernelError` for a negative size, a block other than 8 and 16, and sizes whose product
  /// (those that are 0 taken as 1) has 2^60 elements or more, or more than 2^45 channels: no
  /// machine addresses these, and nothing that is computed from a size may overflow.
  public init(outer: Int, channels: Int, spatial: Int, layout: ABNLayout) throws(KernelError) {
    for (name, value) in [("outer", outer), ("channels", channels), ("spatial", spatial)]
    where value < 0 {
      throw KernelError(
        what: "geometry: \(name)", got: "\(value)", wanted: "0 or more",
        fix: "Pass the size of a tensor whose shape is known.")
    }
    var padded = channels
    if case .blocked(let size) = layout {
      guard size == 8 || size == 16 else {
        throw KernelError(
          what: "geometry: block size", got: "\(size)", wanted: "8 or 16",
          fix: "Use .blocked(8) or .blocked(16), or reorder the tensor.")
      }
      let (sum, overflow) = max(1, channels).addingReportingOverflow(size - 1)
      padded = overflow ? Int.max : sum / size * size
    }
    let (a, overA) = max(1, outer).multipliedReportingOverflow(by: max(1, padded))
    let (b, overB) = a.multipliedReportingOverflow(by: max(1, spatial))
    if overA || overB || b >= 1 << 60 || channels > 1 << 45 {
      throw KernelError(
        what: "geometry: \(outer) x \(channels) x \(spatial)", got: "too many elements",
        wanted: "fewer than 2^60 elements, and at most 2^45 channels", fix: "Check the shape.")
    }
    self.outer = outer
    self.channels = channels
    self.spatial = spatial
    self.layout = layout
    elementCount = channels == 0 ? 0 : outer * padded * spatial
  }

  /// Elements that share one channel, `outer * spatial`: the m of the formulas.
  public var countPerChannel: Int { outer * spatial }
}

extension ABNGeometry {
  /// The channel of an element of the buffer, and its number in the channel: `outer`, then
  /// `spatial`.
  func place(_ offset: Int) -> (channel: Int, index: Int) {
    switch layout {
    case .channelSecond:
      let (run, inside) = offset.quotientAndRemainder(dividingBy: spatial)
      let (sample, channel) = run.quotientAndRemainder(dividingBy: channels)
      return (channel, sample * spatial + inside)
    case .channelLast:
      let (index, channel) = offset.quotientAndRemainder(dividingBy: channels)
      return (channel, index)
    case .blocked(let size):
      let (vector, lane) = offset.quotientAndRemainder(dividingBy: size)
      let (run, inside) = vector.quotientAndRemainder(dividingBy: spatial)
      let (sample, block) = run.quotientAndRemainder(dividingBy: (channels + size - 1) / size)
      return (block * size + lane, sample * spatial + inside)
    }
  }

  /// The element of the buffer that is number `index` of a channel: undoes `place`.
  func offset(_ channel: Int, _ index: Int) -> Int {
    switch layout {
    case .channelSecond:
      let (sample, inside) = index.quotientAndRemainder(dividingBy: spatial)
      return (sample * channels + channel) * spatial + inside
    case .channelLast: return index * channels + channel
    case .blocked(let size):
      let (sample, inside) = index.quotientAndRemainder(dividingBy: spatial)
      let (block, lane) = channel.quotientAndRemainder(dividingBy: size)
      return ((sample * ((channels + size - 1) / size) + block) * spatial + inside) * size + lane
    }
  }
}
