import ABNOperators

extension Reshape: CPULowerable {
  static var takes16Bits: Bool { true }

  func lower(_ c: inout LoweringContext) throws { try lowerView(&c) }
}

extension Flatten: CPULowerable {
  static var takes16Bits: Bool { true }

  func lower(_ c: inout LoweringContext) throws { try lowerView(&c) }
}

extension ReshapeGradient: CPULowerable {
  static var takes16Bits: Bool { true }

  func lower(_ c: inout LoweringContext) throws { try lowerView(&c) }
}

/// Output 0 has the row-major bytes of input 0.
private func lowerView(_ c: inout LoweringContext) throws {
  let arguments = [try c.read(0), c.write(0)]
  c.step(arguments, run: viewStep(bytes: c.outputType(0).bytes))
}
