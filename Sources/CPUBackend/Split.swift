import ABNOperators

extension Split: CPULowerable {
  var walk: ImageWalk { .anyOrder }
  static var takes16Bits: Bool { true }

  func lower(_ c: inout LoweringContext) throws {
    let whole = c.inputType(0)
    let axis = axis < 0 ? axis + whole.shape.rank : axis
    let parts = (0..<c.outputCount).map { c.outputType($0) }
    let layout = c.partsLayout(ofInput: 0, parts: parts, axis: axis)
    var copies: [StridedCopy] = []
    var offset = 0
    for part in parts {
      copies.append(.part(part, of: whole, in: layout, axis: axis, offset: offset, isRead: true))
      offset += part.shape[axis]
    }
    let arguments =
      [try c.read(0, in: layout)] + copies.indices.map { c.write($0, in: layout) }
    c.step(arguments) { [copies] p in
      for (index, copy) in copies.enumerated() { copy.run(from: p[0], to: p[index + 1]) }
    }
  }
}
