import ABNOperators
import ABNRuntime
import ABNTensors

extension LabelShares: CPULowerable {
  func lower(_ c: inout LoweringContext) throws {
    let count = c.inputType(0).shape.elementCount
    let (weights, ignored) = (weights, Int64(ignoreIndex))
    let arguments = [try c.read(0), c.write(0)]
    func run<T: CPUFloat>(_: T.Type) -> @Sendable (StepPointers) throws -> Void {
      { p in
        nonisolated(unsafe) let (labels, out) = (p(0, as: Int64.self), p(1, as: T.self))
        try checkLabels(labels, count: count, classes: weights.count, ignored: ignored)
        withUnsafeTemporaryAllocation(of: Double.self, capacity: weights.count) { shares in
          // By class first: numbers are counted exactly, in whatever order.
          shares.initialize(repeating: 0)
          for i in 0..<count where labels[i] != ignored { shares[Int(labels[i])] += 1 }
          var total = 0.0
          for (k, weight) in weights.enumerated() { total += weight * shares[k] }
          for (k, weight) in weights.enumerated() { shares[k] = total > 0 ? weight / total : 0 }
          nonisolated(unsafe) let table = UnsafePointer(shares.baseAddress!)
          Parallel.ranges(count) { range in
            for i in range { out[i] = labels[i] == ignored ? 0 : T(table[Int(labels[i])]) }
          }
        }
      }
    }
    c.step(arguments, run: try c.float(c.outputType(0).dtype, run(Float.self), run(Double.self)))
  }
}
