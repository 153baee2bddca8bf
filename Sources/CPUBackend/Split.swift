import ABNOperations

extension Split: CPULowerable {
  static var takes16Bits: Bool { true }

  func lower(_ c: inout LoweringContext) throws {
    let whole = c.inputType(0)
    let axis = axis < 0 ? axis + whole.shape.rank : axis
    var copies: [StridedCopy] = []
    var offset = 0
    for index in 0..<c.outputCount {
      let part = c.outputType(index)
      copies.append(.part(part, of: whole, axis: axis, offset: offset, isRead: true))
      offset += part.shape[axis]
    }
    let arguments = [try c.read(0)] + copies.indices.map { c.write($0) }
    c.step(arguments) { [copies] p in
      for (index, copy) in copies.enumerated() { copy.run(from: p[0], to: p[index + 1]) }
    }
  }
}
