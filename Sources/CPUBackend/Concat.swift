import ABNGraph
import ABNOperations

extension StridedCopy {
  /// A row-major tensor `part` against the place in `whole` where it starts at `offset` of `axis`.
  static func part(
    _ part: TensorType, of whole: TensorType, axis: Int, offset: Int, isRead: Bool
  ) -> StridedCopy {
    let strides = whole.shape.strides
    let start = offset * strides[axis]
    return isRead
      ? StridedCopy(
        part.shape, from: strides, fromStart: start, to: part.shape.strides,
        elementBytes: part.dtype.bytes)
      : StridedCopy(
        part.shape, from: part.shape.strides, to: strides, toStart: start,
        elementBytes: part.dtype.bytes)
  }
}

extension Concat: CPULowerable {
  static var takes16Bits: Bool { true }

  func lower(_ c: inout LoweringContext) throws {
    let whole = c.outputType(0)
    let axis = axis < 0 ? axis + whole.shape.rank : axis
    var copies: [StridedCopy] = []
    var offset = 0
    for index in 0..<c.inputCount {
      let part = c.inputType(index)
      copies.append(.part(part, of: whole, axis: axis, offset: offset, isRead: false))
      offset += part.shape[axis]
    }
    let arguments = try copies.indices.map { try c.read($0) } + [c.write(0)]
    c.step(arguments) { [copies] p in
      for (index, copy) in copies.enumerated() { copy.run(from: p[index], to: p[copies.count]) }
    }
  }
}

extension ConcatGradient: CPULowerable {
  static var takes16Bits: Bool { true }

  func lower(_ c: inout LoweringContext) throws {
    let whole = c.inputType(0)
    let axis = axis < 0 ? axis + whole.shape.rank : axis
    let offset = (0..<index).reduce(0) { $0 + c.inputType($1 + 1).shape[axis] }
    let copy = StridedCopy.part(
      c.outputType(0), of: whole, axis: axis, offset: offset, isRead: true)
    let arguments = [try c.read(0), c.write(0)]
    c.step(arguments) { p in copy.run(from: p[0], to: p[1]) }
  }
}
