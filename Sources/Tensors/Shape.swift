/// The dimensions of a tensor, outermost first. `[]` is a scalar.
///
/// A dimension may be `Shape.unknown` in a program (the batch dimension, as a rule); it is known
/// when the program is compiled.
public struct Shape: Hashable, Sendable, ExpressibleByArrayLiteral, CustomStringConvertible {
  /// Stands for a dimension that is known only when the program is compiled.
  public static let unknown = -1

  /// The dimensions.
  public var dimensions: [Int]

  /// A shape with these dimensions.
  public init(_ dimensions: [Int]) { self.dimensions = dimensions }

  /// A shape with these dimensions.
  public init(arrayLiteral elements: Int...) { dimensions = elements }

  /// The number of dimensions.
  public var rank: Int { dimensions.count }

  /// Whether no dimension is unknown.
  public var isKnown: Bool { !dimensions.contains { $0 < 0 } }

  /// The product of the dimensions, 1 for a scalar.
  ///
  /// - Precondition: every dimension is known.
  public var elementCount: Int {
    precondition(isKnown, "elementCount of \(self), which has an unknown dimension")
    return dimensions.reduce(1, *)
  }

  /// The product of the dimensions, or nil where one is unknown or the product overflows.
  public var checkedElementCount: Int? {
    var product = 1
    for dimension in dimensions {
      if dimension < 0 { return nil }
      let (next, overflow) = product.multipliedReportingOverflow(by: dimension)
      if overflow { return nil }
      product = next
    }
    return product
  }

  /// The dimension at `axis`.
  public subscript(axis: Int) -> Int {
    get { dimensions[axis] }
    set { dimensions[axis] = newValue }
  }

  /// Row-major strides in elements.
  public var strides: [Int] {
    var strides = [Int](repeating: 1, count: rank)
    for axis in stride(from: rank - 2, through: 0, by: -1) {
      strides[axis] = strides[axis + 1] * dimensions[axis + 1]
    }
    return strides
  }

  /// Whether a concrete shape is one that this shape, with its unknown dimensions, allows.
  public func admits(_ concrete: Shape) -> Bool {
    rank == concrete.rank && zip(dimensions, concrete.dimensions).allSatisfy { $0 < 0 || $0 == $1 }
  }

  public var description: String {
    "[" + dimensions.map { $0 < 0 ? "?" : String($0) }.joined(separator: ", ") + "]"
  }
}

/// Where the channels of an image tensor stand.
public enum DataLayout: String, Sendable, Hashable, CaseIterable, Codable {
  /// Channels second: [N, C, ...].
  case nchw = "NCHW"
  /// Channels last: [N, ..., C].
  case nhwc = "NHWC"

  /// The layout of this name, in either case: for names that come from a file or a command line.
  ///
  /// - Throws: `ABNError(.attribute)` for any other name.
  public init(named name: String) throws {
    guard let found = DataLayout(rawValue: name.uppercased()) else {
      let names = Self.allCases.map(\.rawValue)
      throw ABNError(
        .attribute, "data layout", got: "\"\(name)\"", wanted: names.joined(separator: " or "),
        fix: nearestMatch(to: name.uppercased(), in: names).map { "Did you mean \"\($0)\"?" } ?? "")
    }
    self = found
  }

  /// The channel axis of a tensor of this rank.
  public func channelAxis(rank: Int) -> Int { self == .nchw ? 1 : rank - 1 }
}
