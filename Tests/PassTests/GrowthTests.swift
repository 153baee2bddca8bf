import InPlaceABN
import Testing

/// What compiling looks at grows about as the program does, whatever its form: counted, not timed.
@Suite struct GrowthTests {
  /// A network of some size whose every layer is like the others.
  struct Form: Sendable, CustomTestStringConvertible {
    let testDescription: String
    let build: @Sendable (Variable, Int) throws -> Variable
  }

  static let forms = [
    Form(testDescription: "a chain of in-place layers") { x, count in
      var x = x
      for _ in 0..<count { x = try inplaceABN(fc(x, size: 4), act: .leakyReLU(slope: 0.1)) }
      return x
    },
    Form(testDescription: "a chain of relu") { x, count in
      var x = x
      for _ in 0..<count { x = try fc(relu(x), size: 4) }
      return x
    },
    Form(testDescription: "residual blocks") { x, count in
      var x = x
      for _ in 0..<count {
        x = try relu(elementwiseAdd(inplaceABN(fc(x, size: 4)), x))
      }
      return x
    },
    Form(testDescription: "one sum of many branches") { x, count in
      try sums((0..<count).map { _ in try relu(fc(x, size: 4)) })
    },
    Form(testDescription: "many readers of a value that is overwritten") { x, count in
      let y = try fc(x, size: 4)
      let readers = try (0..<count).map { _ in try square(y) }
      return try sums([inplaceABN(y, act: .elu())] + readers)
    },
    Form(testDescription: "many sums with one value") { x, count in
      let shortcut = try fc(x, size: 4)
      return try sums(
        (0..<count).map { _ in try elementwiseAdd(inplaceABN(fc(x, size: 4)), shortcut) })
    },
    Form(testDescription: "one concatenation") { x, count in
      try concat((0..<count).map { _ in try relu(fc(x, size: 4)) }, axis: 1)
    },
    Form(testDescription: "views of views") { x, count in
      var x = try fc(x, size: 4)
      for index in 0..<count { x = try index % 2 == 0 ? assign(x) : reshape(x, [0, 4]) }
      return x
    },
    Form(testDescription: "in-place layers on one value") { x, count in
      let y = try fc(x, size: 4)
      return try sums((0..<count).map { _ in try inplaceABN(y, act: .elu()) })
    },
    Form(testDescription: "in-place layers on views of one value") { x, count in
      let y = try fc(x, size: 4)
      return try sums((0..<count).map { _ in try inplaceABN(reshape(y, [0, 4]), act: .elu()) })
    },
    Form(testDescription: "sums with views of one value") { x, count in
      let y = try fc(x, size: 4)
      return try sums(
        (0..<count).map { _ in try elementwiseAdd(inplaceABN(fc(x, size: 4)), assign(y)) })
    },
    Form(testDescription: "one gradient under many shapes") { x, count in
      var y = try fc(x, size: 4)
      for index in 0..<count {
        let row = try reduceMean(fc(x, size: 4), axes: [0], keepDimensions: true)
        y = try elementwiseAdd(y, row)
        if index % 3 == 0 { y = try relu(y) }
      }
      return y
    },
    Form(testDescription: "normalized convolutions that many read") { x, count in
      func conv(_ x: Variable) throws -> Variable {
        try conv2d(x, numFilters: 4, filterSize: 1, biasAttr: .absent)
      }
      let image = try reshape(x, [0, 4, 1, 1])
      let y = try conv(image)
      let z = try inplaceABN(y, act: .leakyReLU(slope: 0.1))
      return try sums(
        (0..<count).map { index in
          let own = try inplaceABN(conv(index % 2 == 0 ? z : image))
          return try leakyReLU(elementwiseAdd(own, index % 3 == 0 ? y : z), alpha: 0.1)
        })
    },
    Form(testDescription: "in-place layers recomputed") { x, count in
      var x = x
      for _ in 0..<count { x = try inplaceABN(fc(x, size: 4), act: .relu) }
      return x
    },
  ]

  private static func program(_ form: Form, _ count: Int) throws -> (
    program: Program, loss: Variable
  ) {
    let builder = ProgramBuilder()
    let loss = try builder.build {
      let loss = try mean(form.build(data("x", shape: [8, 4]), count))
      _ = try SGD(learningRate: 0.1).minimize(loss)
      return loss
    }
    return (builder.main, loss)
  }

  /// Twice the layers: at most 2.4 times as much is looked at by each pass.
  @Test(arguments: forms) func passes(_ form: Form) throws {
    func looked(_ count: Int) throws -> [Int] {
      var (program, loss) = try Self.program(form, count)
      return try CPUBackend().passes.map { pass in
        let result = try pass.rewrite(program, fetches: [loss.id])
        program = result.program
        return result.looked
      }
    }
    let (half, whole) = (try looked(100), try looked(200))
    for (pass, (a, b)) in zip(CPUBackend().passes, zip(half, whole)) {
      #expect(Double(b) <= 2.4 * Double(a) + 100, "\(pass.name): \(a), then \(b)")
    }
  }

  /// The same of programs without gradients, whose passes fold and fuse.
  @Test(arguments: forms) func inference(_ form: Form) throws {
    func looked(_ count: Int) throws -> [Int] {
      let builder = ProgramBuilder()
      let y = try builder.build { try form.build(data("x", shape: [8, 4]), count) }
      var program = builder.main.cloned(forTest: true)
      return try CPUBackend().passes.map { pass in
        let result = try pass.rewrite(program, fetches: [y.id])
        program = result.program
        return result.looked
      }
    }
    let (half, whole) = (try looked(100), try looked(200))
    for (pass, (a, b)) in zip(CPUBackend().passes, zip(half, whole)) {
      #expect(Double(b) <= 2.4 * Double(a) + 100, "\(pass.name): \(a), then \(b)")
    }
  }

  /// The inputs of all operators, gradients among them.
  @Test(arguments: forms) func operators(_ form: Form) throws {
    func inputs(_ count: Int) throws -> Int {
      try Self.program(form, count).program.operators.reduce(0) { $0 + $1.inputs.count }
    }
    let (half, whole) = (try inputs(100), try inputs(200))
    #expect(whole <= 2 * half + 100)
  }
}
