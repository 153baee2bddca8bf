import ABNGraph
import ABNTensors

/// Zeros around an image, for windows that slide over it.
public struct Padding: Sendable, Hashable, CustomStringConvertible {
  package enum Sides: Sendable, Hashable {
    case uniform(Int)
    case explicit([[Int]])
    case same
    case valid
  }

  package let sides: Sides

  public var description: String {
    switch sides {
    case .uniform(let count): "\(count)"
    case .explicit(let sides): "\(sides)"
    case .same: "SAME"
    case .valid: "VALID"
    }
  }
}

/// What can be given as a padding: a number for each side of each axis, or a `Padding`.
public protocol PaddingConvertible: Sendable {
  /// The zeros that it stands for.
  var asPadding: Padding { get }
}

extension Padding: PaddingConvertible {
  public var asPadding: Padding { self }
}
extension Int: PaddingConvertible {
  public var asPadding: Padding { Padding(sides: .uniform(self)) }
}

// Of the protocol, so that a layer that asks for anything convertible takes `.same`.
extension PaddingConvertible where Self == Padding {
  /// As many at each side of each axis.
  public static func uniform(_ count: Int) -> Padding { Padding(sides: .uniform(count)) }
  /// Per spatial axis: before, after.
  public static func explicit(_ sides: [[Int]]) -> Padding { Padding(sides: .explicit(sides)) }
  /// So that the output is ceil(input / stride).
  public static var same: Padding { Padding(sides: .same) }
  /// None.
  public static var valid: Padding { Padding(sides: .valid) }
}

/// Throws unless there is such a spatial axis, and an image of this size along it.
func requireSpatial(_ axis: Int, input: Int) throws {
  guard axis == 0 || axis == 1 else {
    throw ABNError(
      .attribute, "spatial axis", got: "\(axis)", wanted: "0 for the height or 1 for the width")
  }
  guard (0...largestWindowSize).contains(input) else {
    throw ABNError(
      .shape, "image", got: "\(input) pixels along an axis", wanted: "0...\(largestWindowSize)")
  }
}

/// A window that slides over the two spatial axes of an image.
package struct Window2D: Sendable, Hashable {
  /// Height and width.
  package var kernel: [Int]
  /// Steps between windows.
  package var stride: [Int]
  /// Distance between the taps; 1: dense.
  package var dilation: [Int]
  /// Zeros around the image.
  package var padding: Padding
  /// Whether a last, partial window counts (pooling).
  package var ceilMode: Bool

  /// A window; `stride` and `dilation` per axis.
  package init(
    kernel: [Int], stride: [Int] = [1, 1], dilation: [Int] = [1, 1],
    padding: some PaddingConvertible = 0,
    ceilMode: Bool = false
  ) {
    self.kernel = kernel
    self.stride = stride
    self.dilation = dilation
    self.padding = padding.asPadding
    self.ceilMode = ceilMode
  }

  /// - Throws: `ABNError(.attribute)` for counts or values that make no window.
  func validate() throws {
    for (name, values) in [("kernel", kernel), ("stride", stride), ("dilation", dilation)]
    where values.count != 2 || !values.allSatisfy((1...largestWindowSize).contains) {
      throw ABNError(
        .attribute, name, got: "\(values)", wanted: "two numbers in 1...\(largestWindowSize)")
    }
    let range = 0...largestWindowSize
    switch padding.sides {
    case .uniform(let count) where !range.contains(count):
      throw ABNError(
        .attribute, "padding", got: "\(count)", wanted: "a number in 0...\(largestWindowSize)")
    case .explicit(let sides)
    where sides.count != 2 || !sides.allSatisfy({ $0.count == 2 && $0.allSatisfy(range.contains) }):
      throw ABNError(
        .attribute, "padding", got: "\(sides)",
        wanted: "[[top, bottom], [left, right]], each in 0...\(largestWindowSize)")
    default: break
    }
  }

  /// Zeros before and after along spatial axis `axis` (0: height) of an image of this size.
  ///
  /// - Throws: `ABNError(.attribute)` for counts or values that make no window, another axis than 0
  ///   and 1, or a size that no image has.
  package func sides(_ axis: Int, input: Int) throws -> (before: Int, after: Int) {
    try validate()
    try requireSpatial(axis, input: input)
    let span = dilation[axis] * (kernel[axis] - 1) + 1
    var (before, after) = (0, 0)
    switch padding.sides {
    case .uniform(let count): (before, after) = (count, count)
    case .explicit(let given): (before, after) = (given[axis][0], given[axis][1])
    case .valid: break
    case .same:
      let output = (input + stride[axis] - 1) / stride[axis]
      let total = max(0, (output - 1) * stride[axis] + span - input)
      (before, after) = (total / 2, total - total / 2)
    }
    if ceilMode {
      let rest = (input + before + after - span) % stride[axis]
      // The last window must start inside the image or its leading padding.
      if rest > 0, input + before + after - span - rest + stride[axis] < input + before {
        after += stride[axis] - rest
      }
    }
    return (before, after)
  }

  /// The number of windows along an axis; unknown for an unknown input.
  ///
  /// - Throws: as `sides`, and `ABNError(.shape)` where not one window fits.
  package func outputSize(_ axis: Int, input: Int) throws -> Int {
    guard input != Shape.unknown else { return Shape.unknown }
    let (before, after) = try sides(axis, input: input)
    let span = dilation[axis] * (kernel[axis] - 1) + 1
    let room = input + before + after - span
    guard room >= 0 else {
      throw ABNError(
        .shape, "window", got: "a window of \(span) on \(input) + \(before + after) pixels",
        wanted: "a window within the padded image", fix: "Use more padding or a smaller kernel.")
    }
    return room / stride[axis] + 1
  }
}
