import ABNTensors

/// How a variable's elements stand in memory.
package enum PhysicalLayout: Hashable, Sendable, CustomStringConvertible {
  /// Row-major in the order of the variable's dimensions.
  case plain
  /// [N, C, ...] with axis 1 in blocks: [N, C / block, ..., block]. C is a multiple of block:
  /// nothing is padded, so that an elementwise operator may treat the bytes as a flat array.
  case blocked(Int)

  package var description: String {
    switch self {
    case .plain: "plain"
    case .blocked(let block): "nC...\(block)c"
    }
  }
}

extension PhysicalLayout {
  /// The layout in oneDNN's words, for a variable [N, C, ...].
  package var dnnlFormat: DNNLFormat {
    switch self {
    case .plain: .plain
    case .blocked(let block): .blocked(block)
    }
  }

  /// The layout that these bytes have, where elementwise operators can walk it; nil for others.
  ///
  /// A blocked layout whose channels are no multiple of the block has padding and is not one.
  package init?(_ descriptor: DNNLDescriptor) {
    if descriptor.matches(.plain) {
      self = .plain
    } else if descriptor.matches(.blocked16) && descriptor.dims[1] % 16 == 0 {
      self = .blocked(16)
    } else if descriptor.matches(.blocked8) && descriptor.dims[1] % 8 == 0 {
      self = .blocked(8)
    } else {
      return nil
    }
  }
}
