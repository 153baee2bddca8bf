import ABNTestSupport
import InPlaceABN
import Synchronization
import Testing

/// `+`, `-`, `*` and `/` of variables and numbers.
@Suite struct VariableArithmeticTests {
  static let cases: [OperatorCase] = [
    OperatorCase("variables", [.random([2, 3]), .random([3])]) {
      [try ($0[0] + $0[1]) * $0[0] - $0[1]]
    },
    OperatorCase("numbers", [.random([2, 3])]) { [try 3 - (2 * $0[0] + 1) / 4 - 0.5] },
    OperatorCase("a divisor", [.random([2, 3])]) { [try 2 / ($0[0] * $0[0] + 1)] },
  ]

  @Test(arguments: cases) func gradient(_ test: OperatorCase) throws { try test.check() }

  @Test(arguments: [DType.float32, .float64]) func values(_ dtype: DType) throws {
    let x = Tensor([0.1, -7, 3, 0.7] as [Double], shape: [2, 2]).cast(to: dtype)
    let y = Tensor([3, -0.3] as [Double], shape: [2]).cast(to: dtype)
    let got = try evaluate([x, y]) { v in
      let (x, y) = (v[0], v[1])
      return [
        try x + y, try x - y, try x * y, try x / y, try x + 0.1, try 0.1 + x, try x - 0.1,
        try 0.1 - x, try x * 0.1, try 0.1 * x, try x / 0.3, try 0.3 / x,
      ]
    }
    let (a, b) = (x.doubles, y.doubles)
    /// A result as the type holds it. A divisor, or what is divided, is of the type too.
    func held(_ number: Double) -> Double { dtype == .float32 ? Double(Float(number)) : number }
    let (tenth, third) = (0.1, held(0.3))
    for i in 0..<4 {
      let wanted = [
        a[i] + b[i % 2], a[i] - b[i % 2], a[i] * b[i % 2], a[i] / b[i % 2], a[i] + tenth,
        tenth + a[i], a[i] - tenth, tenth - a[i], a[i] * tenth, tenth * a[i], a[i] / third,
        third / a[i],
      ]
      for (tensor, wanted) in zip(got, wanted) { #expect(tensor.doubles[i] == held(wanted)) }
    }
  }

  @Test func aScalarStaysOne() throws {
    let got = try evaluate([Tensor(scalar: Float(5))]) { [try $0[0] / 2, try 2 * $0[0]] }
    #expect(got.allSatisfy { $0.shape.rank == 0 } && got.map { $0.doubles } == [[2.5], [10]])
  }

  @Test func errorsNameTheLaterOperand() throws {
    try ProgramBuilder().build {
      let x = try data("x", shape: [2, 3])
      let y = try data("y", shape: [2, 4])
      expectError(.shape, ["elementwise_add", "VariableArithmeticTests.swift:\(#line - 1)"]) {
        try y + x
      }
      let labels = try data("labels", shape: [2, 3], dtype: .int64)
      expectError(.dtype, ["elementwise_mul", "int64"]) { try x * labels }
    }
    let foreign = try ProgramBuilder().build { try data("z", shape: [2, 3]) }
    try ProgramBuilder().build {
      let x = try data("x", shape: [2, 3])
      expectError(.program, ["\"z\"", "another program"]) { try x - foreign }
    }
  }
}

/// Arguments as a caller has them: numbers in variables, names that are put together.
@Suite struct ConvenientArgumentTests {
  @Test func sizesAreNumbersOrPairs() throws {
    try ProgramBuilder().build {
      let x = try data("x", shape: [1, 2, 12, 10])
      let (size, sizes, sides) = (3, [5, 3], [[2, 2], [1, 1]])
      let a = try conv2d(x, numFilters: 4, filterSize: size, stride: size - 1, padding: size / 2)
      #expect(a.shape == [1, 4, 6, 5])
      let b = try conv2d(
        x, numFilters: 4, filterSize: sizes, stride: [2, 1], padding: .explicit(sides), act: "relu")
      #expect(b.shape == [1, 4, 6, 10])
      let c = try pool2d(x, poolSize: size, poolStride: [2, size], poolPadding: .same)
      #expect(c.shape == [1, 2, 6, 4])
      #expect(try adaptivePool2d(x, poolSize: [size, 2]).shape == [1, 2, 3, 2])
      let given: Padding = .uniform(1)
      #expect(try conv2d(x, numFilters: 1, filterSize: 3, padding: given).shape == [1, 1, 12, 10])
      expectError(.attribute, ["kernel", "[1, 2, 3]"]) {
        try conv2d(x, numFilters: 1, filterSize: [1, 2, 3])
      }
    }
  }

  @Test func namesMayBePutTogether() throws {
    let kind = "elemen"
    expectError(.attribute, ["\"elemenx\"", "Did you mean \"element\"?"]) {
      try ProgramBuilder().build { try prelu(data("x", shape: [2, 3]), mode: "\(kind)x") }
    }
  }

  @Test func elementsOfAnotherTypeAreConvertedWithAWord() throws {
    let found = Mutex<[String]>([])
    let tensor = Tensor([1.5, -2] as [Float])
    UserWarning.$receiver.withValue({ text in found.withLock { $0.append(text) } }) {
      #expect(tensor.elements(Float.self) == [1.5, -2] && tensor.doubles == [1.5, -2])
      #expect(tensor.cast(to: .int32).elements(Int32.self) == [1, -2])
      #expect(found.withLock { $0 } == [])
      #expect(tensor.elements(Double.self) == [1.5, -2])
    }
    let warnings = found.withLock { $0 }
    #expect(warnings.count == 1)
    for word in ["VariableArithmeticTests.swift:\(#line - 4)", "Double", "float32", "doubles"] {
      #expect(warnings.first?.contains(word) == true, "\(word) in \(warnings)")
    }
  }

  /// In a type with a property of the layer's name.
  private struct Named {
    let accuracy: Variable
    init(_ scores: Variable, _ label: Variable) throws { accuracy = try scores.accuracy(label) }
  }

  @Test func layersBesidePropertiesOfTheirName() throws {
    let scores = Tensor([1, 2, 4, 3] as [Float], shape: [2, 2])
    let got = try evaluate([scores, Tensor([Int64(1), 1], shape: [2, 1])]) {
      [try Named($0[0], $0[1]).accuracy, try accuracy($0[0], $0[1])]
    }
    #expect(got.map(\.doubles) == [[0.5], [0.5]])
  }
}
