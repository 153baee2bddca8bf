import ABNGraph
import ABNLayers
import ABNTensors
import ABNTestSupport
import Foundation
import Testing

/// softmax along the middle of [outer, length, inner], plainly.
private func plainSoftmax(_ x: [Double], length: Int, inner: Int) -> [Double] {
  var y = x
  for line in 0..<x.count / length {
    let start = line / inner * length * inner + line % inner
    let places = (0..<length).map { start + $0 * inner }
    let top = places.map { x[$0] }.max()!
    let sum = places.reduce(0.0) { $0 + Foundation.exp(x[$1] - top) }
    for place in places { y[place] = Foundation.exp(x[place] - top) / sum }
  }
  return y
}

private func labels(_ values: [Int64], _ shape: Shape) -> CaseInput {
  .fixed(Tensor(values, shape: shape))
}

@Suite struct LossTests {
  static let cases = softmaxes + hard + soft + others

  static func softmaxCase(_ shape: Shape, axis: Int) -> OperatorCase {
    OperatorCase(
      "softmax \(shape) axis \(axis)", [.random(shape, -5, 5)],
      reference: { (x: [Tensor]) -> [[Double]] in
        let inner = shape.strides[axis]
        return [plainSoftmax(x[0].doubles, length: shape[axis], inner: inner)]
      }
    ) { [try softmax($0[0], axis: axis)] }
  }

  static let softmaxes: [OperatorCase] = [
    softmaxCase([5, 7], axis: 1), softmaxCase([3, 100], axis: 1), softmaxCase([2, 1050], axis: 1),
    softmaxCase([5, 7], axis: 0), softmaxCase([2, 3, 70], axis: 1),
    softmaxCase([2, 5, 9, 13], axis: 1), softmaxCase([4, 1], axis: 1),
    OperatorCase("softmax chain", [.random([3, 9])]) {
      [try softmax(tanh(softmax($0[0], axis: 0)))]
    },
  ]

  static let hard: [OperatorCase] = [
    OperatorCase(
      "hard labels", [.random([4, 5], -3, 3), labels([0, 4, 2, 2], [4, 1])],
      reference: { (x: [Tensor]) -> [[Double]] in
        let y = plainSoftmax(x[0].doubles, length: 5, inner: 1)
        return [
          [0, 4, 2, 2].enumerated().map { -Foundation.log(y[$0.offset * 5 + $0.element]) }, y,
        ]
      }
    ) {
      let (loss, softmax) = try softmaxAndCrossEntropy($0[0], $0[1])
      return [loss, softmax]
    },
    OperatorCase("hard labels, loss only", [.random([3, 37]), labels([36, 0, 11], [3, 1])]) {
      [try softmaxWithCrossEntropy($0[0], $0[1])]
    },
    OperatorCase("ignored labels", [.random([4, 5]), labels([0, -100, 2, -100], [4, 1])]) {
      [try softmaxWithCrossEntropy($0[0], $0[1])]
    },
    OperatorCase("ignored class", [.random([4, 5]), labels([0, 3, 2, 3], [4, 1])]) {
      [try softmaxWithCrossEntropy($0[0], $0[1], ignoreIndex: 3)]
    },
    OperatorCase(
      "per pixel", [.random([2, 3, 9, 11]), labels((0..<198).map { $0 % 3 }, [2, 1, 9, 11])],
      reference: { (x: [Tensor]) -> [[Double]] in
        let y = plainSoftmax(x[0].doubles, length: 3, inner: 99)
        return [
          (0..<198).map { pixel in
            -Foundation.log(y[pixel / 99 * 297 + pixel % 3 * 99 + pixel % 99])
          }
        ]
      }
    ) { [try softmaxWithCrossEntropy($0[0], $0[1], axis: 1)] },
    OperatorCase(
      "channels last", [.random([2, 4, 3]), labels([0, 1, 2, 0, 1, 2, 0, -1], [2, 4, 1])]
    ) { [try softmaxWithCrossEntropy($0[0], $0[1], ignoreIndex: -1)] },
  ]

  static let soft: [OperatorCase] = [
    OperatorCase("soft labels", [.random([4, 5]), .random([4, 5], 0, 1, differentiated: false)]) {
      let (loss, softmax) = try softmaxAndCrossEntropy($0[0], $0[1], softLabel: true)
      return [loss, softmax]
    },
    OperatorCase(
      "soft labels per pixel",
      [.random([2, 3, 5, 17]), .random([2, 3, 5, 17], 0, 1, differentiated: false)]
    ) { [try softmaxWithCrossEntropy($0[0], $0[1], softLabel: true, axis: 1)] },
  ]

  static let others: [OperatorCase] = [
    OperatorCase(
      "square_error_cost", [.random([3, 7]), .random([3, 7])],
      reference: { (x: [Tensor]) -> [[Double]] in
        [zip(x[0].doubles, x[1].doubles).map { ($0 - $1) * ($0 - $1) }]
      }
    ) { [try squareErrorCost($0[0], $0[1])] },
    OperatorCase("square error of one variable and its scale", [.random([3, 7])]) {
      [try squareErrorCost($0[0], scale($0[0], factor: 3)), try squareErrorCost($0[0], $0[0])]
    },
    OperatorCase("mse_loss", [.random([5, 9]), .random([5, 9], differentiated: false)]) {
      [try mseLoss($0[0], $0[1])]
    },
    OperatorCase("square", [.random([3, 7])]) { [try square($0[0])] },
    OperatorCase("sqrt", [.random([3, 7], 0.5, 3)]) { [try sqrt($0[0])] },
    OperatorCase("exp", [.random([3, 7])]) { [try exp($0[0])] },
    OperatorCase("log", [.random([3, 7], 0.5, 3)]) { [try log($0[0])] },
    OperatorCase("abs", [.random([3, 7])], reference: { [$0[0].doubles.map { $0.magnitude }] }) {
      [try abs($0[0])]
    },
  ]

  @Test(arguments: cases) func op(_ test: OperatorCase) throws { try test.check() }

  @Test(arguments: [DType.float32, .float64], [1, 3])
  func largeLogitsDoNotOverflow(_ dtype: DType, inner: Int) throws {
    let numbers: [Double] = [1000, 998, -1000, 0]
    let values: [Double] = numbers.flatMap { Array(repeating: $0, count: inner) }
    let logits = Tensor(values, shape: [1, 4, inner]).cast(to: dtype)
    let label = Tensor([Int64](repeating: 1, count: inner), shape: [1, 1, inner])
    let got = try evaluate([logits, label]) {
      let (loss, softmax) = try softmaxAndCrossEntropy($0[0], $0[1], axis: 1)
      return [loss, softmax]
    }
    let wanted = 2 + Foundation.log(1 + Foundation.exp(-2.0))
    expectClose(got[0].doubles, Array(repeating: wanted, count: inner), tolerance: 1e-6)
    let top = 1 / (1 + Foundation.exp(-2.0))
    let shares: [Double] = [top, 1 - top, 0, 0]
    let row: [Double] = shares.flatMap { Array(repeating: $0, count: inner) }
    expectClose(got[1].doubles, row, tolerance: 1e-6)
  }

  /// Nothing is read out of bounds, and the error says which row has which label.
  @Test(arguments: [Int64(5), -1, .max, .min], [1, 2])
  func labelsOutOfRangeAreErrors(_ bad: Int64, inner: Int) throws {
    let logits = Tensor((0..<15 * inner).map { Float($0 % 4) }, shape: [3, 5, inner])
    var numbers = [Int64](repeating: 2, count: 3 * inner)
    numbers[inner] = bad
    let label = Tensor(numbers, shape: [3, 1, inner])
    let builder = ProgramBuilder()
    let (loss, gradient) = try builder.build {
      let x = try data("x", shape: logits.shape, stopsGradient: false)
      let y = try data("y", shape: label.shape, dtype: .int64)
      let loss = try softmaxWithCrossEntropy(x, y, axis: 1)
      return (loss, (x, try reduceSum(loss)))
    }
    expectError(.data, ["row \(inner) (", "got \(bad),", "0..<5", "LossTests.swift:"]) {
      try run(
        builder, feed: ["x": logits, "y": label], loss: gradient.1, of: gradient.0, fetch: [loss])
    }
    numbers[inner] = -100
    let ignored = Tensor(numbers, shape: [3, 1, inner])
    let got = try run(
      builder, feed: ["x": logits, "y": ignored], loss: gradient.1, of: gradient.0, fetch: [loss])
    #expect(got.fetched[0].doubles[inner] == 0 && !got.gradient.doubles.contains(where: \.isNaN))
  }

  @Test func accuracyCountsHits() throws {
    let scores = Tensor(
      [0.1, 0.9, 0.5, 0.7, 0.2, 0.1, 0.3, 0.3, 0.3, .nan, 0.2, 0.1] as [Float], shape: [4, 3])
    func share(_ labels: [Int64], k: Int) throws -> Float {
      let label = Tensor(labels, shape: [4, 1])
      let all = try [DType.float32, .float64, .float16, .bfloat16].map { dtype in
        let got = try evaluate([scores.cast(to: dtype), label]) {
          [try accuracy($0[0], $0[1], k: k)]
        }[0]
        #expect(got.shape == [1] && got.dtype == .float32)
        return got.elements(Float.self)[0]
      }
      #expect(Set(all).count == 1)
      return all[0]
    }
    #expect(try share([1, 0, 0, 1], k: 1) == 1)
    // A tie goes to the lower class; NaN at the label, and a row without a class, are misses.
    #expect(try share([1, 0, 1, 0], k: 1) == 0.5)
    #expect(try share([2, 1, 1, 2], k: 2) == 1)
    #expect(try share([0, 2, 2, -100], k: 2) == 0)
    #expect(try share([0, 2, 2, -100], k: 3) == 0.75)
    expectError(.data, ["row 3", "got 7", "0..<3", "LossTests.swift:"]) {
      try share([0, 2, 2, 7], k: 2)
    }
    expectError(.data, ["row 0", "got -1", "There are 2"]) { try share([-1, 2, 2, 3], k: 2) }
  }

  @Test func errorsSayWhatDoesNotFit() throws {
    try ProgramBuilder().build {
      let x = try data("x", shape: [-1, 10])
      let image = try data("image", shape: [-1, 3, 8, 8])
      let label = try data("label", shape: [-1, 1], dtype: .int64)
      let flat = try data("flat", shape: [-1], dtype: .int64)
      let real = try data("real", shape: [-1, 1])
      expectError(.dtype, ["label", "float32", "int64", "softLabel: true"]) {
        try softmaxWithCrossEntropy(x, real)
      }
      expectError(.dtype, ["label", "int64", "float32", "cast"]) {
        try softmaxWithCrossEntropy(x, label, softLabel: true)
      }
      expectError(.shape, ["label", "[?]", "[?, 1]", "axis 1"]) {
        try softmaxWithCrossEntropy(x, flat)
      }
      expectError(.shape, ["[?, 1, 8, 8]"]) { try softmaxWithCrossEntropy(image, label, axis: 1) }
      expectError(.attribute, ["axis", "2"]) { try softmax(x, axis: 2) }
      expectError(.shape, ["[?, 10] and [?, 1]"]) { try squareErrorCost(x, real) }
      expectError(.attribute, ["k", "11", "10 classes"]) { try accuracy(x, label, k: 11) }
      expectError(.dtype, ["float32", "int64"]) { try accuracy(x, real) }
      expectError(.dtype, ["int64", "cast"]) { try softmax(label) }
    }
  }
}
