import ABNOperators
import ABNRuntime
import ABNTensors

extension Accuracy: CPULowerable {
  func lower(_ c: inout LoweringContext) throws {
    let (rows, classes) = (c.inputType(0).shape[0], c.inputType(0).shape[1])
    let k = k
    let arguments = [try c.read(0), try c.read(1), c.write(0)]
    func run<T: CPUFloat>(_: T.Type) -> @Sendable (StepPointers) throws -> Void {
      { p in
        let (scores, labels) = (p(0, as: T.self), p(1, as: Int64.self))
        try checkLabels(labels, count: rows, classes: classes, ignored: Int64(Self.noClass))
        var hits = 0
        for row in 0..<rows where labels[row] != Self.noClass {
          let x = scores + row * classes
          let label = Int(labels[row])
          let own = x[label]
          guard own == own else { continue }
          var before = 0
          for i in 0..<label { before += x[i] >= own ? 1 : 0 }
          for i in label..<classes { before += x[i] > own ? 1 : 0 }
          if before < k { hits += 1 }
        }
        p(2, as: Float.self)[0] = Float(hits) / Float(rows)
      }
    }
    c.step(arguments, run: try c.float(c.inputType(0).dtype, run(Float.self), run(Double.self)))
  }
}
