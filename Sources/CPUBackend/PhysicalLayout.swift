import ABNTensors

/// How a variable's elements stand in memory.
enum PhysicalLayout: Hashable, Sendable, CustomStringConvertible {
  /// Row-major in the order of the variable's dimensions.
  case plain
  /// [N, C, ...] with the channels in blocks: [N, C / block, ..., block]. C is a multiple of block:
  /// nothing is padded, so that an elementwise operation may treat the bytes as a flat array.
  case blocked(Int)

  var description: String {
    switch self {
    case .plain: "plain"
    case .blocked(let block): "nC...\(block)c"
    }
  }
}
