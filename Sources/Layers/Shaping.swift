import ABNGraph
import ABNOperators
import ABNTensors

/// x in another element type. See `Cast` for how numbers are rounded.
public func cast(
  _ x: Variable, to dtype: DType, name: String? = nil, file: StaticString = #fileID,
  line: UInt = #line
) throws -> Variable {
  try layer("cast", name: name, file: file, line: line) { c in try c.append(Cast(to: dtype), x) }
}

/// The same value under a name of its own.
public func assign(
  _ x: Variable, name: String? = nil, file: StaticString = #fileID, line: UInt = #line
) throws -> Variable {
  try layer("assign", name: name, file: file, line: line) { c in try c.append(Assign(), x) }
}

/// The inputs one after the other along an axis.
///
/// Shapes: alike except along `axis`, where the sizes add up. Any element type.
///
/// - Throws: `ABNError(.shape)` or `.dtype` where they do not fit together.
public func concat(
  _ inputs: [Variable], axis: Int = 0, name: String? = nil, file: StaticString = #fileID,
  line: UInt = #line
) throws -> Variable {
  try layer("concat", name: name, file: file, line: line) { c in
    try c.append(Concat(axis: axis), inputs)[0]
  }
}

/// x cut along an axis: `split(x, 3)` into three equal parts, `split(x, [2, -1])` into parts of
/// these sizes, -1 for what the others leave.
///
/// - Throws: `ABNError(.shape)` where the sizes do not add up to the axis.
public func split(
  _ x: Variable, _ parts: SplitParts, axis: Int = -1, name: String? = nil,
  file: StaticString = #fileID, line: UInt = #line
) throws -> [Variable] {
  try layer("split", name: name, file: file, line: line) { c in
    try c.append(Split(parts, axis: axis), [x])
  }
}

/// The elements of x in row-major order under another shape.
///
/// - Parameter shape: 0 copies x's dimension at this position, -1 (once) is what the others leave:
///   `reshape(x, [0, -1])` is a matrix with a row for each sample, whatever the batch.
/// - Throws: `ABNError(.shape)` where the elements do not fit.
public func reshape(
  _ x: Variable, _ shape: [Int], name: String? = nil, file: StaticString = #fileID,
  line: UInt = #line
) throws -> Variable {
  try layer("reshape", name: name, file: file, line: line) { c in
    try c.append(Reshape(shape), x)
  }
}

/// x as a matrix: the dimensions before `axis` multiplied, and those from it on.
public func flatten(
  _ x: Variable, axis: Int = 1, name: String? = nil, file: StaticString = #fileID,
  line: UInt = #line
) throws -> Variable {
  try layer("flatten", name: name, file: file, line: line) { c in
    try c.append(Flatten(axis: axis), x)
  }
}

/// x with its axes in another order: axis i of the result is axis `permutation[i]` of x.
public func transpose(
  _ x: Variable, _ permutation: [Int], name: String? = nil, file: StaticString = #fileID,
  line: UInt = #line
) throws -> Variable {
  try layer("transpose", name: name, file: file, line: line) { c in
    try c.append(Transpose(permutation), x)
  }
}

/// x from `starts` up to, not including, `ends` along `axes`; negative ones count from the end,
/// and both are clamped to the axis.
///
/// - Throws: `ABNError(.shape)` where nothing is left.
public func slice(
  _ x: Variable, axes: [Int], starts: [Int], ends: [Int], name: String? = nil,
  file: StaticString = #fileID, line: UInt = #line
) throws -> Variable {
  try layer("slice", name: name, file: file, line: line) { c in
    try c.append(Slice(axes: axes, starts: starts, ends: ends), x)
  }
}

/// x with `value` around it.
///
/// - Parameter paddings: [before axis 0, after axis 0, before axis 1, ...].
public func pad(
  _ x: Variable, _ paddings: [Int], value: Double = 0, name: String? = nil,
  file: StaticString = #fileID, line: UInt = #line
) throws -> Variable {
  try layer("pad", name: name, file: file, line: line) { c in
    guard paddings.count == 2 * x.shape.rank else {
      throw ABNError(
        .attribute, "paddings", got: "\(paddings.count) numbers",
        wanted: "\(2 * x.shape.rank), two for each axis of \(x.shape)")
    }
    let before = stride(from: 0, to: paddings.count, by: 2).map { paddings[$0] }
    let after = stride(from: 1, to: paddings.count, by: 2).map { paddings[$0] }
    return try c.append(Pad(before: before, after: after, value: value), x)
  }
}

/// An image with `value` around it.
///
/// Shapes: [N, C, H, W] (NCHW) or [N, H, W, C] (NHWC).
///
/// - Parameter paddings: [top, bottom, left, right].
public func pad2d(
  _ x: Variable, _ paddings: [Int], value: Double = 0, dataLayout: DataLayout = .nchw,
  name: String? = nil, file: StaticString = #fileID, line: UInt = #line
) throws -> Variable {
  try layer("pad2d", name: name, file: file, line: line) { c in
    guard paddings.count == 4, x.shape.rank == 4 else {
      throw ABNError(
        .attribute, "paddings", got: "\(paddings.count) numbers for an input \(x.shape)",
        wanted: "[top, bottom, left, right] for an input of rank 4")
    }
    let axis = dataLayout == .nchw ? 2 : 1
    var before = [0, 0, 0, 0]
    var after = before
    (before[axis], after[axis]) = (paddings[0], paddings[1])
    (before[axis + 1], after[axis + 1]) = (paddings[2], paddings[3])
    return try c.append(Pad(before: before, after: after, value: value), x)
  }
}
