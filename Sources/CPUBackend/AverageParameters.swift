import ABNOperations
import ABNRuntime
import ABNTensors

extension AverageAccumulate: CPULowerable {
  func lower(_ c: inout LoweringContext) throws {
    let count = c.inputType(0).shape.elementCount
    let inputs = try (0..<7).map { try c.read($0) }
    let arguments = [inputs[0]] + (0..<6).map { c.write($0) }
    let kind = self
    func run<T: CPUFloat>(_: T.Type) -> @Sendable (StepPointers) -> Void {
      { p in
        let x = p(0, as: T.self)
        let (sum1, sum2, sum3) = (p(1, as: T.self), p(2, as: T.self), p(3, as: T.self))
        let (accumulated, old) = (p(4, as: Int64.self), p(5, as: Int64.self))
        let updates = p(6, as: Int64.self)
        updates[0] += 1
        accumulated[0] += 1
        let movesOn = updates[0] % 16384 == 0
        let closes = kind.closesWindow(accumulated: accumulated[0], updates: updates[0])
        Parallel.ranges(count) { range in
          for i in range { sum1[i] += x[i] }
          if movesOn {
            for i in range {
              sum2[i] += sum1[i]
              sum1[i] = 0
            }
          }
          if closes {
            for i in range {
              sum3[i] = sum1[i] + sum2[i]
              sum1[i] = 0
              sum2[i] = 0
            }
          }
        }
        if closes {
          old[0] = accumulated[0]
          accumulated[0] = 0
        }
      }
    }
    c.step(
      arguments, run: try c.float(c.inputType(0).dtype, run(Float.self), run(Double.self)))
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
    let count = type.shape.elementCount
    // The backup is not read: it need not be there before.
    _ = try c.read(0)
    let written = [c.write(0), c.write(1)]
    let arguments = written + (try (2..<7).map { try c.read($0) })
    func run<T: CPUFloat>(_: T.Type) -> @Sendable (StepPointers) -> Void {
      { p in
        let (x, backup) = (p(0, as: T.self), p(1, as: T.self))
        let (sum1, sum2, sum3) = (p(2, as: T.self), p(3, as: T.self), p(4, as: T.self))
        let updates = p(5, as: Int64.self)[0] + p(6, as: Int64.self)[0]
        backup.update(from: x, count: count)
        guard updates > 0 else { return }
        let divisor = T(updates)
        Parallel.ranges(count) { range in
          for i in range { x[i] = (sum1[i] + sum2[i] + sum3[i]) / divisor }
        }
      }
    }
    c.step(arguments, run: try c.float(type.dtype, run(Float.self), run(Double.self)))
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
