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

  /// The most elements that a tensor of a program may have, 2^44: a float64 tensor of so many fills
  /// the 2^47 bytes of address space that a process has on x86-64.
  ///
  /// Far enough below 2^63 that sums of sizes, and a size times a byte count, cannot overflow.
  package static let mostElements = 1 << 44

  /// The product of the dimensions, 1 for a scalar; Int.max where it is larger, and `Shape.unknown`
  /// where a dimension is.
  public var elementCount: Int { isKnown ? checkedElementCount ?? .max : Self.unknown }

  /// The product of the dimensions, or nil where one is unknown or the product overflows.
  package var checkedElementCount: Int? {
    guard isKnown else { return nil }
    return dimensions.contains(0) ? 0 : Self.product(dimensions)
  }

  /// The product of numbers of which none is negative; nil where it overflows.
  private static func product(_ numbers: some Sequence<Int>) -> Int? {
    var product = 1
    for number in numbers {
      let (next, overflow) = product.multipliedReportingOverflow(by: number)
      if overflow { return nil }
      product = next
    }
    return product
  }

  /// The shape itself, if a tensor of a program can have it: dimensions of at least 0, or unknown,
  /// whose product is at most `mostElements`, those of 0 and unknown ones left out.
  ///
  /// So the product of any of its dimensions stays in bounds, not only that of all.
  ///
  /// - Throws: `ABNError(.shape)` for any other.
  package func validated(_ what: String = "shape") throws -> Shape {
    guard dimensions.allSatisfy({ $0 >= 0 || $0 == Self.unknown }) else {
      throw ABNError(
        .shape, what, got: "\(dimensions)",
        wanted: "dimensions of at least 0, or \(Self.unknown) for one that each run chooses")
    }
    guard let count = Self.product(dimensions.filter { $0 > 0 }), count <= Self.mostElements else {
      throw ABNError(
        .shape, what, got: "shape \(self)", wanted: "at most 2^44 elements",
        fix: "Choose smaller sizes.")
    }
    return self
  }

  /// The dimension at `axis`.
  public subscript(axis: Int) -> Int {
    get { dimensions[axis] }
    set { dimensions[axis] = newValue }
  }

  /// Row-major strides in elements; Int.max where one is larger.
  package var strides: [Int] {
    var strides = [Int](repeating: 1, count: rank)
    for axis in stride(from: rank - 2, through: 0, by: -1) {
      let (product, overflow) = strides[axis + 1]
        .multipliedReportingOverflow(by: dimensions[axis + 1])
      strides[axis] = overflow ? .max : product
    }
    return strides
  }

  /// Whether a concrete shape is one that this shape, with its unknown dimensions, allows.
  package func admits(_ concrete: Shape) -> Bool {
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
      throw ABNError(
        unknown: name, "data layout", names: Self.allCases.map(\.rawValue), category: .attribute)
    }
    self = found
  }

  /// The channel axis of a tensor of this rank.
  package func channelAxis(rank: Int) -> Int { self == .nchw ? 1 : rank - 1 }
}

/// The product, Int.max where it is larger: for counts that are only told.
package func saturatingProduct(_ factors: Int...) -> Int {
  factors.reduce(1) { product, factor in
    let (next, overflow) = product.multipliedReportingOverflow(by: factor)
    return overflow ? .max : next
  }
}
