import ABNKernels
import ABNOperators
import ABNRuntime
import ABNTensors

extension AverageAccumulate: CPULowerable {
  func lower(_ c: inout LoweringContext) throws {
    let count = c.inputType(0).shape.elementCount
    let inputs = try (0..<7).map { try c.read($0) }
    let arguments = [inputs[0]] + (0..<6).map { c.write($0) }
    let kind = self
    let element = try c.element(c.inputType(0).dtype)
    let add = try FlatKernel(.add, in: element)
    let bytes = count * element.bytes
    c.step(arguments) { p in
      let (accumulated, old) = (p(4, as: Int64.self), p(5, as: Int64.self))
      let updates = p(6, as: Int64.self)
      updates[0] += 1
      accumulated[0] += 1
      func array(_ index: Int) -> FlatOperand { FlatOperand(p[index], element) }
      add(FlatOperands(array(1), array(0), array(1)), count: count)
      if updates[0] % 16384 == 0 {
        add(FlatOperands(array(2), array(1), array(2)), count: count)
        p[1].initializeMemory(as: UInt8.self, repeating: 0, count: bytes)
      }
      guard kind.closesWindow(accumulated: accumulated[0], updates: updates[0]) else { return }
      add(FlatOperands(array(1), array(2), array(3)), count: count)
      for sum in 1...2 { p[sum].initializeMemory(as: UInt8.self, repeating: 0, count: bytes) }
      old[0] = accumulated[0]
      accumulated[0] = 0
    }
  }
}

extension AverageAccumulate {
  /// Whether the window is long enough.
  fileprivate func closesWindow(accumulated: Int64, updates: Int64) -> Bool {
    accumulated >= Int64(minimumWindow)
      && Double(accumulated) >= min(Double(maximumWindow), Double(updates) * rate)
  }
}

extension ApplyAverage: CPULowerable {
  func lower(_ c: inout LoweringContext) throws {
    let type = c.inputType(0)
    let (count, element) = (type.shape.elementCount, try c.element(type.dtype))
    // The backup is not read: it need not be there before.
    _ = try c.read(0)
    let written = [c.write(0), c.write(1)]
    let arguments = written + (try (2..<7).map { try c.read($0) })
    c.step(arguments) { p in
      let updates = p(5, as: Int64.self)[0] + p(6, as: Int64.self)[0]
      parallelCopy(from: p[0], to: p[1], bytes: count * element.bytes)
      guard updates > 0 else { return }
      func array(_ index: Int) -> FlatOperand { FlatOperand(p[index], element) }
      try FlatKernel(.meanOfThree(divisor: Double(updates)), in: element)(
        FlatOperands(array(2), array(3), array(4), array(0)), count: count)
    }
  }
}

extension RestoreParameter: CPULowerable {
  static var takes16Bits: Bool { true }

  func lower(_ c: inout LoweringContext) throws {
    let bytes = c.inputType(0).bytes
    let arguments = [c.write(0), try c.read(1)]
    c.step(arguments) { p in p[0].copyMemory(from: p[1], byteCount: bytes) }
  }
}
