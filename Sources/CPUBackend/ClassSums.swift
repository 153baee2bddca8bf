import ABNOperators
import ABNRuntime
import ABNTensors

/// How probabilities [N, K, ...] stand in memory: `images` times `classes` planes of `places`.
struct ClassPlanes: Sendable {
  let images, classes, places: Int

  init(_ shape: Shape) {
    images = shape[0]
    classes = shape[1]
    places = shape.dimensions[2...].reduce(1, *)
  }

  /// The number of labels.
  var count: Int { images * places }
}

extension ClassSums: CPULowerable {
  func lower(_ c: inout LoweringContext) throws {
    let planes = ClassPlanes(c.inputType(0).shape)
    let ignored = Int64(ignoreIndex)
    let arguments =
      try [c.read(0), c.read(1)] + (0..<3).map { c.write($0) }
      // Three sums for each plane.
      + [c.scratch(bytes: 24 * max(1, planes.images * planes.classes))]
    func run<T: CPUFloat>(_: T.Type) -> @Sendable (StepPointers) throws -> Void {
      { p in
        nonisolated(unsafe) let (x, labels) = (p(0, as: T.self), p(1, as: Int64.self))
        nonisolated(unsafe) let parts = p(5, as: Double.self)
        try checkLabels(labels, count: planes.count, classes: planes.classes, ignored: ignored)
        Parallel.run(planes.images * planes.classes) { plane in
          let (image, k) = plane.quotientAndRemainder(dividingBy: planes.classes)
          let (y, label) = (x + plane * planes.places, labels + image * planes.places)
          var (overlap, mass, count) = (0.0, 0.0, 0.0)
          for i in 0..<planes.places where label[i] != ignored {
            mass += Double(y[i])
            if label[i] == Int64(k) {
              overlap += Double(y[i])
              count += 1
            }
          }
          (parts[3 * plane], parts[3 * plane + 1], parts[3 * plane + 2]) = (overlap, mass, count)
        }
        for k in 0..<planes.classes {
          for sum in 0..<3 {
            var total = 0.0
            for image in 0..<planes.images {
              total += parts[3 * (image * planes.classes + k) + sum]
            }
            p(2 + sum, as: T.self)[k] = T(total)
          }
        }
      }
    }
    c.step(arguments, run: try c.float(c.inputType(0).dtype, run(Float.self), run(Double.self)))
  }
}

extension ClassSumsGradient: CPULowerable {
  func lower(_ c: inout LoweringContext) throws {
    let planes = ClassPlanes(c.outputType(0).shape)
    let ignored = Int64(forward.ignoreIndex)
    let arguments = [try c.read(1), try c.read(2), try c.read(3), c.write(0)]
    func run<T: CPUFloat>(_: T.Type) -> @Sendable (StepPointers) -> Void {
      { p in
        nonisolated(unsafe) let labels = p(0, as: Int64.self)
        nonisolated(unsafe) let (overlap, mass) = (p(1, as: T.self), p(2, as: T.self))
        nonisolated(unsafe) let out = p(3, as: T.self)
        Parallel.run(planes.images * planes.classes) { plane in
          let (image, k) = plane.quotientAndRemainder(dividingBy: planes.classes)
          let (dx, label) = (out + plane * planes.places, labels + image * planes.places)
          let (inside, outside) = (overlap[k] + mass[k], mass[k])
          for i in 0..<planes.places {
            dx[i] = label[i] == ignored ? 0 : label[i] == Int64(k) ? inside : outside
          }
        }
      }
    }
    c.step(arguments, run: try c.float(c.outputType(0).dtype, run(Float.self), run(Double.self)))
  }
}
