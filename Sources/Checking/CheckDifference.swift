import ABNTensors

/// The worst of the errors of a case, by how far it is beyond its bound.
struct CheckDifference {
  private(set) var error = 0.0
  private(set) var bound: Double?
  private(set) var text = ""

  var isWithin: Bool { error <= (bound ?? .infinity) }

  /// Takes a result and what it should be.
  ///
  /// - Parameter axis: the axis of channels, each of which is measured by itself; nil: none.
  mutating func take(
    _ got: Tensor, _ wanted: Tensor, _ allowed: CheckBound, axis: Int?, _ label: String
  ) {
    guard got.shape == wanted.shape else {
      note(.infinity, 0, "\(label): shape \(got.shape.text), wanted \(wanted.shape.text)")
      return
    }
    guard got.dtype.isFloatingPoint else {
      if got != wanted.cast(to: got.dtype) { note(.infinity, 0, "\(label): other numbers") }
      return
    }
    let (a, b) = (got.doubles, wanted.doubles)
    let channels = axis.map { got.shape[$0] } ?? 1
    let inner = axis.map { got.shape.dimensions[($0 + 1)...].reduce(1, *) } ?? 1
    func channel(_ index: Int) -> Int { channels == 1 ? 0 : index / inner % channels }
    // By channel: the size, and the sums of squares of values and errors.
    var sizes = [Double](repeating: 0, count: channels)
    var errors = sizes
    var places = [Int](repeating: 0, count: channels)
    for index in a.indices {
      let c = channel(index)
      let (x, y) = (a[index], b[index])
      // A number that the type cannot hold is infinite in it.
      let isEqual = x == y || x.isNaN && y.isNaN || x.isInfinite && x == got.dtype.held(y)
      let error = isEqual ? 0 : x.isFinite && y.isFinite ? Swift.abs(x - y) : .infinity
      switch allowed.measure {
      case .largest:
        if y.isFinite { sizes[c] = Swift.max(sizes[c], Swift.abs(y)) }
        if !(error <= errors[c]) { (errors[c], places[c]) = (error, index) }
      case .rootMeanSquare:
        if y.isFinite { sizes[c] += y * y }
        errors[c] += error * error
        if error > Swift.abs(a[places[c]] - b[places[c]]) { places[c] = index }
      }
    }
    if allowed.measure == .rootMeanSquare {
      let count = Double(max(1, a.count / channels))
      (sizes, errors) = (
        sizes.map { ($0 / count).squareRoot() }, errors.map { ($0 / count).squareRoot() }
      )
    }
    sizes = sizes.map { max($0, allowed.least) }
    for c in 0..<channels {
      let relative = errors[c] == 0 ? 0 : errors[c] / sizes[c]
      let index = places[c]
      note(
        relative, allowed.value,
        "\(label): element \(index) is \(a.isEmpty ? .nan : a[index]), wanted "
          + "\(b.isEmpty ? .nan : b[index])\(axis == nil ? "" : ", channel \(c)"); error "
          + "\(errors[c]) of \(sizes[c]), \(allowed.measure.rawValue)")
    }
  }

  private mutating func note(_ relative: Double, _ allowed: Double, _ label: String) {
    func share(_ error: Double, _ bound: Double) -> Double { error == 0 ? 0 : error / bound }
    guard let bound else {
      (error, bound, text) = (relative, allowed, label)
      return
    }
    if !(share(relative, allowed) <= share(error, bound)) {
      (error, self.bound, text) = (relative, allowed, label)
    }
  }
}

extension DType {
  /// The number rounded to this type.
  fileprivate func held(_ value: Double) -> Double {
    Tensor([value]).cast(to: self).doubles[0]
  }
}
