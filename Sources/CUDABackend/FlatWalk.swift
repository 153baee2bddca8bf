import ABNTensors

/// How operands are walked beside a row-major result when they are broadcast to it: dimensions that
/// all walk alike are merged.
struct FlatWalk: Sendable {
  /// The most dimensions that may be left.
  static var mostDimensions: Int { 8 }

  /// The merged dimensions, outermost first; at least one.
  private(set) var sizes: [Int] = []
  /// Per operand, the stride of each, in elements; 0 where the operand has one for all.
  private(set) var strides: [[Int]]

  /// - Parameters:
  ///   - dimensions: of the result, as it stands in memory.
  ///   - operands: per operand the stride of each dimension.
  init(_ dimensions: [Int], _ operands: [[Int]]) {
    strides = operands.map { _ in [] }
    for axis in dimensions.indices where dimensions[axis] != 1 {
      let merges =
        !sizes.isEmpty
        && operands.indices.allSatisfy {
          strides[$0].last! == operands[$0][axis] * dimensions[axis]
        }
      if merges {
        sizes[sizes.count - 1] *= dimensions[axis]
        for k in operands.indices { strides[k][sizes.count - 1] = operands[k][axis] }
      } else {
        sizes.append(dimensions[axis])
        for k in operands.indices { strides[k].append(operands[k][axis]) }
      }
    }
    if sizes.isEmpty {
      sizes = [1]
      strides = operands.map { _ in [1] }
    }
  }

  /// Operands that are broadcast to a result.
  ///
  /// - Parameters:
  ///   - shape: of the result, which stands in `order`.
  ///   - operands: aligned at the right of `shape`, each dimension that of `shape` or 1, and the
  ///     order in which each stands.
  init(_ shape: Shape, in order: ImageOrder, _ operands: [(shape: Shape, order: ImageOrder)]) {
    let axes = order.axes(rank: shape.rank)
    self.init(
      axes.map { shape[$0] },
      operands.map { operand in
        let strides = operand.order.strides(operand.shape)
        return axes.map { axis in
          let own = axis - (shape.rank - operand.shape.rank)
          return own < 0 || operand.shape[own] == 1 ? 0 : strides[own]
        }
      })
  }

  /// Whether every operand is an array with all elements of the result.
  var isDense: Bool { sizes.count == 1 && strides.allSatisfy { $0[0] == 1 } }

  /// Whether groups of `width` elements never cross from one innermost row to the next, and stand
  /// at multiples of it in every operand that is no repetition of one element.
  func takes(width: Int) -> Bool {
    sizes.last!.isMultiple(of: width)
      && strides.allSatisfy { own in
        own.last! == 0
          || own.last! == 1 && own.dropLast().allSatisfy { $0.isMultiple(of: width) }
      }
  }

  /// What each operand does along the innermost dimension.
  var steps: [FlatStep] { strides.map { $0.last! == 0 ? .same : .array } }

  /// The struct `Walk` of `FlatFormula.broadcastText`, for groups of `width`.
  func bytes(width: Int, isLarge: Bool) -> [UInt8] {
    var bytes: [UInt8] = []
    func append<T: FixedWidthInteger>(_ value: T) {
      while bytes.count % MemoryLayout<T>.size != 0 { bytes.append(0) }
      withUnsafeBytes(of: value) { bytes += Array($0) }
    }
    func padded(_ values: [Int], _ rest: Int) -> [Int] {
      values + Array(repeating: rest, count: Self.mostDimensions - values.count)
    }
    append(Int32(sizes.count))
    for size in padded(sizes.dropLast() + [sizes.last! / width], 1) {
      if isLarge { append(Int64(size)) } else { append(UInt32(size)) }
    }
    for own in strides {
      // The innermost stride counts groups.
      for stride in padded(own.dropLast() + [own.last! * width], 0) { append(Int64(stride)) }
    }
    return bytes
  }
}

extension ImageOrder {
  /// The dimensions of a variable, outermost in memory first.
  func axes(rank: Int) -> [Int] {
    self == .channelsLast && rank >= 3 ? [0] + Array(2..<rank) + [1] : Array(0..<rank)
  }

  /// The stride of each dimension of a variable, in elements.
  func strides(_ shape: Shape) -> [Int] {
    var strides = Array(repeating: 1, count: shape.rank)
    var stride = 1
    for axis in axes(rank: shape.rank).reversed() {
      strides[axis] = stride
      stride *= shape[axis]
    }
    return strides
  }
}
