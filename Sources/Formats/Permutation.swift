import ABNTensors

extension Tensor {
  /// The tensor with its dimensions in reverse order.
  var reversedDimensions: Tensor { permuted(Array((0..<shape.rank).reversed())).tensor }

  /// The tensor whose dimension `i` is dimension `axes[i]` of this one.
  ///
  /// - Returns: beside the tensor the number of steps that took: at most two for each element and
  ///   one for each dimension, whatever the dimensions are.
  func permuted(_ axes: [Int]) -> (tensor: Tensor, steps: Int) {
    let result = Shape(axes.map { shape[$0] })
    // A dimension of 1 moves nothing, and would be looked at again for every element. Of others
    // there are 63 at most, and each is looked at half as often as the one behind it.
    let moving = axes.filter { shape[$0] != 1 }
    let isInOrder = zip(moving, moving.dropFirst()).allSatisfy { $0 < $1 }
    if isInOrder || elementCount == 0 { return (reshaped(result), shape.rank) }
    let strides = shape.strides
    var tensor = Tensor(uninitialized: result, dtype: dtype)
    var steps = shape.rank
    withUnsafeBytes { from in
      tensor.withUnsafeMutableBytes { to in
        let (sizes, strides) = (moving.map { shape[$0] }, moving.map { strides[$0] })
        switch dtype.bytes {
        case 1: steps += move(UInt8.self, from, to, sizes, strides)
        case 2: steps += move(UInt16.self, from, to, sizes, strides)
        case 4: steps += move(UInt32.self, from, to, sizes, strides)
        default: steps += move(UInt64.self, from, to, sizes, strides)
        }
      }
    }
    return (tensor, steps)
  }
}

/// Copies the elements in the order of the target; gives the number of steps.
private func move<Word: FixedWidthInteger>(
  _ type: Word.Type, _ from: UnsafeRawBufferPointer, _ to: UnsafeMutableRawBufferPointer,
  _ sizes: [Int], _ strides: [Int]
) -> Int {
  let from = from.bindMemory(to: Word.self)
  let to = to.bindMemory(to: Word.self)
  var index = [Int](repeating: 0, count: sizes.count)
  var place = 0
  var steps = 0
  for element in to.indices {
    to[element] = from[place]
    for axis in stride(from: sizes.count - 1, through: 0, by: -1) {
      steps += 1
      index[axis] += 1
      place += strides[axis]
      if index[axis] < sizes[axis] { break }
      place -= sizes[axis] * strides[axis]
      index[axis] = 0
    }
  }
  return steps
}
