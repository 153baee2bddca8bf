import ABNDNNL
import ABNGraph
import ABNOperators
import ABNTensors

extension StridedCopy {
  /// A tensor `part` against the place in `whole` where it starts at `offset` of `axis`, both in
  /// one layout.
  static func part(
    _ part: TensorType, of whole: TensorType, in layout: PhysicalLayout = .plain, axis: Int,
    offset: Int, isRead: Bool
  ) -> StridedCopy {
    let shape = layout.physicalShape(part.shape)
    let strides = layout.physicalShape(whole.shape).strides
    let start = layout.physicalOffset(offset, axis: axis) * strides[axis]
    return isRead
      ? StridedCopy(
        shape, from: strides, fromStart: start, to: shape.strides, elementBytes: part.dtype.bytes)
      : StridedCopy(
        shape, from: shape.strides, to: strides, toStart: start, elementBytes: part.dtype.bytes)
  }
}

extension LoweringContext {
  /// The layout in which the parts of a whole are cut out or put together: the image's, if every
  /// part has whole blocks.
  func partsLayout(ofInput index: Int, parts: [TensorType], axis: Int) -> PhysicalLayout {
    let layout = layout(ofInput: index)
    let isWhole = parts.allSatisfy {
      $0.shape.rank >= 3 && $0.shape[1] % layout.block == 0 && !layout.isPlain($0.shape)
    }
    return isWhole ? layout : .plain
  }
}

extension Concat: CPULowerable {
  var walk: ImageWalk { .anyOrder }
  static var takes16Bits: Bool { true }

  func lower(_ c: inout LoweringContext) throws {
    let whole = c.outputType(0)
    let axis = axis < 0 ? axis + whole.shape.rank : axis
    let parts = (0..<c.inputCount).map { c.inputType($0) }
    let layout = c.partsLayout(ofInput: 0, parts: parts, axis: axis)
    var copies: [StridedCopy] = []
    var offset = 0
    for part in parts {
      copies.append(.part(part, of: whole, in: layout, axis: axis, offset: offset, isRead: false))
      offset += part.shape[axis]
    }
    let arguments =
      try copies.indices.map { try c.read($0, in: layout) } + [c.write(0, in: layout)]
    c.step(arguments) { [copies] p in
      for (index, copy) in copies.enumerated() { copy.run(from: p[index], to: p[copies.count]) }
    }
  }
}

extension ConcatGradient: CPULowerable {
  var walk: ImageWalk { .anyOrder }
  static var takes16Bits: Bool { true }

  func lower(_ c: inout LoweringContext) throws {
    let whole = c.inputType(0)
    let axis = axis < 0 ? axis + whole.shape.rank : axis
    let offset = (0..<index).reduce(start) { $0 + c.inputType($1 + 1).shape[axis] }
    // The other parts count too: one of them may have no whole blocks.
    let parts = (1..<c.inputCount).map { c.inputType($0) }
    let wanted = c.partsLayout(ofInput: 0, parts: parts, axis: axis)
    let layout = axis == 1 && start % wanted.block != 0 ? .plain : wanted
    let copy = StridedCopy.part(
      c.outputType(0), of: whole, in: layout, axis: axis, offset: offset, isRead: true)
    let arguments = [try c.read(0, in: layout), c.write(0, in: layout)]
    c.step(arguments) { p in copy.run(from: p[0], to: p[1]) }
  }
}
